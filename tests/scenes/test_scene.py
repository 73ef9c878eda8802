import json
import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest
import rasterio
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from rasterio.enums import ColorInterp, Resampling

from geoseg.config.scene import MaskEntry, SceneEntry
from geoseg.core.errors import SceneError
from geoseg.core.geometry import Window
from geoseg.scenes import sources
from geoseg.scenes.opening import open_scene, reopen_scene
from geoseg.scenes.scene import SAMPLE_SIZE, Scene
from geoseg.scenes.versions import FileVersion
from tests.conftest import write_raster

WEST, NORTH = 3_000.0, 9_000.0
SIDE = 1_200  # metres of ground: 120, 60 and 20 pixels


def coordinates(folder, name, gsd, shift=(0.0, 0.0), side=SIDE):
    """Write a file whose two bands hold the easting and northing of their pixel centres."""
    count = int(side / gsd)
    west, north = WEST + shift[0], NORTH + shift[1]
    x = west + (np.arange(count) + 0.5) * gsd
    y = north - (np.arange(count) + 0.5) * gsd
    values = np.stack([np.tile(x, (count, 1)), np.tile(y[:, None], (1, count))]).astype(np.float32)
    return write_raster(folder / name, values, gsd=gsd, origin=(west, north))


def scene_of(folder, bands, **fields):
    """Open a scene; `bands` maps a name to (file, band number)."""
    entry = SceneEntry(bands={n: {"uri": str(p), "band": b} for n, (p, b) in bands.items()}, **fields)
    return open_scene(entry, "toy", folder)


def whole(scene):
    return scene.read(Window.of(0, 0, *scene.shape))


def one_band(folder, values, *, fields=None, **options):
    path = write_raster(folder / "one.tif", values, **options)
    return scene_of(folder, {"red": (path, 1)}, **(fields or {}))


@pytest.fixture(scope="module")
def ground(tmp_path_factory):
    """One ground at 10, 20 (its origin shifted by half a coarse pixel) and 60 m: x and y of each."""
    folder = tmp_path_factory.mktemp("ground")
    files = [
        coordinates(folder, "10.tif", 10),
        coordinates(folder, "20.tif", 20, (-10, 10)),
        coordinates(folder, "60.tif", 60),
    ]
    return scene_of(folder, {f"{axis}{f.stem}": (f, b) for f in files for b, axis in ((1, "x"), (2, "y"))})


@pytest.mark.parametrize("gsd", [10, 20, 30, 60])
@pytest.mark.parametrize(("file_gsd", "shift"), [(10, 0), (20, 0), (20, -10), (20, 10), (60, 0), (60, -30)])
def test_a_pixel_whose_value_is_its_place_is_read_at_its_place(tmp_path, gsd, file_gsd, shift):
    fine = coordinates(tmp_path, "fine.tif", 10)
    other = coordinates(tmp_path, "other.tif", file_gsd, (shift, -shift))
    scene = scene_of(tmp_path, {"a": (fine, 1), "x": (other, 1), "y": (other, 2)}, gsd=gsd)
    values = whole(scene).values
    count = SIDE // gsd
    assert values.shape == (3, count, count)
    x = WEST + (np.arange(count) + 0.5) * gsd
    y = NORTH - (np.arange(count) + 0.5) * gsd
    # Beyond the outermost centres of the file there is nothing to interpolate with.
    inside = SIDE - file_gsd
    low_x, high_y = WEST + shift + file_gsd / 2, NORTH - shift - file_gsd / 2
    if gsd <= file_gsd:
        x, y = x.clip(low_x, low_x + inside), y.clip(high_y - inside, high_y)
        middle = slice(None)
    else:
        middle = slice(1, -1)
    # A pixel that is cut by the mean's edge pulls the mean aside by up to a twelfth of its size.
    near = 0.01 if gsd <= file_gsd or gsd % file_gsd == 0 else file_gsd / 12 + 0.01
    assert np.abs(values[1] - x)[:, middle].max() < near
    assert np.abs(values[2] - y[:, None])[middle].max() < near


@settings(max_examples=80, deadline=None)
@given(data=st.data())
def test_any_window_equals_the_slice_of_the_whole(ground, data):
    full = whole(ground)
    row, col = (data.draw(st.integers(0, 119)) for _ in "rc")
    window = Window.of(row, col, data.draw(st.integers(1, 120 - row)), data.draw(st.integers(1, 120 - col)))
    found = ground.read(window)
    rows, cols = window.relative_to(Window.of(0, 0, 120, 120))
    assert (found.values == full.values[:, rows, cols]).all()
    assert (found.valid == full.valid[rows, cols]).all()


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_any_window_of_a_part_is_that_of_the_whole_also_beyond_the_part(ground, data):
    height, width = ground.shape

    def window(height, width, beyond=0):
        top, left = (data.draw(st.integers(-beyond, n - 1)) for n in (height, width))
        high, wide = (data.draw(st.integers(1, n - p + beyond)) for n, p in ((height, top), (width, left)))
        return Window.of(top, left, high, wide)

    there = window(height, width)
    part = ground.cut(there)
    inner = window(*part.shape)
    parts = part, part.cut(inner)
    corners = [
        (there.rows.start, there.cols.start),
        (there.rows.start + inner.rows.start, there.cols.start + inner.cols.start),
    ]
    for cut, (row, col) in zip(parts, corners, strict=True):
        assert cut.whole == ground.geobox
        assert cut.geobox.transform @ (0, 0) == ground.geobox.transform @ (col, row)
        asked = window(*cut.shape, beyond=60)
        found, expected = cut.read(asked), ground.read(asked.shift(row, col))
        np.testing.assert_array_equal(found.values, expected.values)
        np.testing.assert_array_equal(found.valid, expected.valid)


@pytest.mark.parametrize("longest", [20, 45, 300])
def test_pictures_and_samples_of_a_part_show_the_part(tmp_path, longest):
    path = coordinates(tmp_path, "10.tif", 10)
    with rasterio.open(path, "r+") as dst:
        dst.build_overviews([2, 4])
    scene = scene_of(tmp_path, {"x": (path, 1), "y": (path, 2)})
    part = scene.cut(Window.of(30, 20, 80, 60))
    for found in (part.preview(longest), part.overview(longest), part.sample()):
        x, y = found.values
        for places, middle, side in ((x, WEST + 500, 300), (y, NORTH - 700, 400)):
            assert middle - side < places.min() < places.max() < middle + side
            assert abs((places.min() + places.max()) / 2 - middle) <= 20
    assert max(part.preview(longest).valid.shape) <= max(2 * longest, 80)


@pytest.mark.parametrize(("rows", "cols"), [(300, 520), (1500, 2500)])
def test_the_sample_of_a_part_lies_in_it_and_in_internal_tiles(tmp_path, rows, cols):
    scene = one_band(tmp_path, np.zeros((1700, 2800), np.uint8))
    part = scene.cut(Window.of(100, 200, rows, cols))
    windows = part.sample_windows()
    assert all(w.clip(part.shape) == w for w in windows)
    there = [part.in_whole(w) for w in windows]
    if cols < 2048:  # all of it
        assert sum(np.prod(w.shape) for w in windows) == rows * cols
        assert all(w.cols.start // SAMPLE_SIZE == (w.cols.stop - 1) // SAMPLE_SIZE for w in there)
    else:
        starts = sorted({w.cols.start for w in there})
        assert len(starts) == 8
        assert (starts[0], starts[-1]) == (200, 200 + cols - SAMPLE_SIZE)
        assert all(s % SAMPLE_SIZE == 0 for s in starts[1:-1])


def test_a_part_is_opened_again_from_its_identity(ground):
    part = ground.cut(Window.of(7, 11, 40, 50))
    found, changed = reopen_scene(json.loads(json.dumps(part.identity())))
    assert (found.geobox, found.part, changed) == (part.geobox, part.part, False)
    np.testing.assert_array_equal(whole(found).values, whole(part).values)
    assert "part" not in ground.identity()


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.integers(1, 7), st.integers(1, 7), st.tuples(*[st.integers(0, 20)] * 4), st.sampled_from(["n", "0"])
)
def test_beyond_the_border_the_scene_is_reflected_like_numpy_pads(tmp_path, height, width, margins, kind):
    top, bottom, left, right = margins
    values = np.arange(height * width, dtype=np.float32).reshape(height, width) + 1
    values[0, 0] = np.nan if kind == "n" else 1
    path = write_raster(tmp_path / f"{height}x{width}{kind}.tif", values)
    scene = scene_of(tmp_path, {"red": (path, 1)})
    found = scene.read(Window.of(-top, -left, height + top + bottom, width + left + right))
    expected = np.pad(values, ((top, bottom), (left, right)), mode="reflect")
    assert np.array_equal(found.values[0], expected, equal_nan=True)
    assert (found.valid == ~np.isnan(expected)).all()


def vrt(path, bands, mask_of=None):
    """Write a VRT of bands (GDAL type, file, band number); `mask_of` has m.tif for its own mask."""
    mask = (
        '<MaskBand><VRTRasterBand dataType="Byte"><SimpleSource><SourceFilename relativeToVRT="1">m.tif'
        "</SourceFilename><SourceBand>1</SourceBand></SimpleSource></VRTRasterBand></MaskBand>"
    )
    with rasterio.open(path.parent / bands[0][1]) as src:
        place = ", ".join(map(str, src.transform.to_gdal()))
        srs = src.crs.to_wkt().replace('"', "&quot;")
        height, width = src.shape
    text = f'<VRTDataset rasterXSize="{width}" rasterYSize="{height}"><SRS>{srs}</SRS><GeoTransform>{place}'
    text += "</GeoTransform>"
    for i, (kind, name, number) in enumerate(bands, start=1):
        text += f'<VRTRasterBand dataType="{kind}" band="{i}">{mask if mask_of == i else ""}<SimpleSource>'
        text += f'<SourceFilename relativeToVRT="1">{name}</SourceFilename><SourceBand>{number}</SourceBand>'
        text += "</SimpleSource></VRTRasterBand>"
    path.write_text(text + "</VRTDataset>")
    return path


def test_numbers_of_another_type_than_the_first_band_keep_their_nodata(tmp_path):
    write_raster(tmp_path / "qa.tif", np.ones((1, 8, 8), np.uint16))
    values = np.full((1, 8, 8), 5, np.int16)
    values[0, :3] = -9999
    write_raster(tmp_path / "b.tif", values)
    mixed = vrt(tmp_path / "mixed.vrt", [("UInt16", "qa.tif", 1), ("Int16", "b.tif", 1)])
    scene = scene_of(tmp_path, {"red": (mixed, 2)}, nodata=-9999)
    found = scene.read(Window.of(-2, 0, 10, 8))
    assert found.valid.sum(axis=1).tolist() == [0, 0, 0, 0, 0, 8, 8, 8, 8, 8]


def test_bands_of_several_files_and_a_mask_are_reflected_alike(tmp_path):
    rng = np.random.default_rng(0)
    red, green = rng.integers(1, 9, (2, 9, 7)).astype(np.uint8)
    a = write_raster(tmp_path / "a.tif", red[None])
    b = write_raster(tmp_path / "b.tif", green[None].astype(np.float32) / 8)
    clouds = rng.integers(0, 2, (1, 9, 7)).astype(np.uint8)
    mask = MaskEntry(uri=str(write_raster(tmp_path / "m.tif", clouds)), invalid_values=[1])
    scene = scene_of(tmp_path, {"red": (a, 1), "green": (b, 1)}, mask=mask)
    found, margins = scene.read(Window.of(-3, -2, 16, 12)), ((3, 4), (2, 3))
    assert (found.values[0] == np.pad(red, margins, mode="reflect")).all()
    assert (found.values[1] == np.pad(green / np.float32(8), margins, mode="reflect")).all()
    assert (found.valid == np.pad(clouds[0] == 0, margins, mode="reflect")).all()


def test_a_vrt_over_files_on_a_server_is_remote(ground):
    assert not ground.remote
    band = ground.bands[0]
    far = replace(band.source, parts=(FileVersion("/vsicurl/https://example.org/a.tif", 1, "etag"),))
    assert replace(ground, bands=(replace(band, source=far),)).remote


def test_a_window_entirely_beyond_the_border_is_reflected_too(ground):
    padded = np.pad(whole(ground).values, ((0, 0), (30, 30), (30, 30)), mode="reflect")
    assert (ground.read(Window.of(-25, -20, 10, 5)).values == padded[:, 5:15, 10:15]).all()
    assert (ground.read(Window.of(125, 122, 10, 9)).values == padded[:, 155:165, 152:161]).all()


def picture(dtype="uint16"):
    values = np.arange(1, 37).reshape(6, 6).astype(dtype)
    values[2, 3] = 0
    return values


def test_nodata_of_the_file_is_invalid(tmp_path):
    assert np.argwhere(~whole(one_band(tmp_path, picture(), nodata=0)).valid).tolist() == [[2, 3]]


def test_nodata_of_the_catalog_wins_over_the_file(tmp_path):
    scene = one_band(tmp_path, picture(), nodata=0, fields={"nodata": 1})
    assert np.argwhere(~whole(scene).valid).tolist() == [[0, 0]]


@pytest.mark.parametrize("empty", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("nodata", [None, np.nan, -1.0])
def test_what_is_not_finite_is_invalid(tmp_path, empty, nodata):
    values = picture("float32")
    values[2, 3] = empty
    assert np.argwhere(~whole(one_band(tmp_path, values, nodata=nodata)).valid).tolist() == [[2, 3]]


def test_the_smallest_float_is_recognised_as_nodata(tmp_path):
    values = picture("float32")
    values[2, 3] = np.finfo(np.float32).min
    scene = one_band(tmp_path, values, nodata=float(np.finfo(np.float32).min))
    assert np.argwhere(~whole(scene).valid).tolist() == [[2, 3]]


def test_nodata_in_one_band_makes_the_pixel_invalid(tmp_path):
    planes = np.full((2, 6, 6), 5, np.uint8)
    planes[0, 1, 1] = planes[1, 4, 2] = 0
    path = write_raster(tmp_path / "two.tif", planes, nodata=0)
    separate = write_raster(tmp_path / "three.tif", np.where(np.eye(6) > 0, 0, 7).astype(np.uint8), nodata=0)
    assert np.argwhere(~whole(scene_of(tmp_path, {"red": (path, 1), "nir": (path, 2)})).valid).tolist() == [
        [1, 1],
        [4, 2],
    ]
    three = whole(scene_of(tmp_path, {"red": (path, 2), "nir": (separate, 1)}))
    assert (~three.valid).sum() == 7


def test_a_band_with_its_own_nodata(tmp_path):
    path = write_raster(tmp_path / "two.tif", np.arange(72, dtype=np.uint8).reshape(2, 6, 6))
    entry = SceneEntry(
        uri=str(path), bands={"red": {"band": 1, "nodata": 3}, "nir": {"band": 2, "nodata": 36}}
    )
    valid = whole(open_scene(entry, "toy", tmp_path)).valid
    assert np.argwhere(~valid).tolist() == [[0, 0], [0, 3]]


def test_an_alpha_band_says_what_is_invalid(tmp_path):
    planes = np.full((2, 6, 6), 255, np.uint8)
    planes[1, 4, 5] = 0
    path = write_raster(tmp_path / "a.tif", planes, photometric="minisblack", alpha="yes")
    assert np.argwhere(~whole(scene_of(tmp_path, {"red": (path, 1)})).valid).tolist() == [[4, 5]]


def test_an_internal_mask_says_what_is_invalid(tmp_path):
    import rasterio

    path = write_raster(tmp_path / "m.tif", np.full((1, 6, 6), 9, np.uint8))
    mask = np.full((6, 6), 255, np.uint8)
    mask[0, 1] = 0
    with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True), rasterio.open(path, "r+") as dst:
        dst.write_mask(mask)
    assert np.argwhere(~whole(scene_of(tmp_path, {"red": (path, 1)})).valid).tolist() == [[0, 1]]


def with_quality(folder, quality, gsd=10, **rules):
    image = write_raster(folder / "image.tif", np.full((1, 12, 12), 9, np.uint8))
    write_raster(folder / "quality.tif", quality, gsd=gsd)
    return scene_of(folder, {"red": (image, 1)}, mask=MaskEntry(uri=str(folder / "quality.tif"), **rules))


QUALITY = np.arange(144, dtype=np.uint16).reshape(12, 12)


def test_values_of_a_quality_band_are_invalid(tmp_path):
    valid = whole(with_quality(tmp_path, QUALITY, invalid_values=(3, 100, 9999))).valid
    assert np.flatnonzero(~valid.ravel()).tolist() == [3, 100]


def test_bits_of_a_quality_band_are_invalid_alone_or_together(tmp_path):
    valid = whole(with_quality(tmp_path, QUALITY, invalid_bits=(7, (0, 1, 4)))).valid
    expected = ((QUALITY & 128) > 0) | ((QUALITY & 0b10011) == 0b10011)
    assert (~valid == expected).all()
    assert expected.any()
    assert not expected.all()


@pytest.mark.parametrize("dtype", ["uint8", "int16", "uint32"])
def test_bits_beyond_the_quality_bands_data_type_are_never_set(tmp_path, dtype):
    scene = with_quality(tmp_path, QUALITY.astype(dtype), invalid_bits=(0, 15))
    assert (whole(scene).valid == (QUALITY % 2 == 0)).all()


def test_the_sign_of_a_quality_band_sets_no_bits_beyond_its_data_type(tmp_path):
    scene = with_quality(tmp_path, QUALITY.astype(np.int8), invalid_bits=(7, 15))
    assert (whole(scene).valid == (QUALITY < 128)).all()


@pytest.mark.parametrize("never", [{"invalid_bits": (10, (0, 11))}, {"invalid_values": (-1, 256)}])
def test_a_quality_band_that_can_mask_nothing_is_refused(tmp_path, never):
    with pytest.raises(SceneError, match=r"holds uint8, which never has .* nothing would be masked"):
        with_quality(tmp_path, QUALITY.astype(np.uint8), **never)


def test_a_coarser_quality_band_is_taken_at_the_pixel_centre(tmp_path):
    quality = np.arange(36, dtype=np.uint8).reshape(6, 6)
    valid = whole(with_quality(tmp_path, quality, gsd=20, invalid_values=(7,))).valid
    assert np.argwhere(~valid).tolist() == [[2, 2], [2, 3], [3, 2], [3, 3]]


def test_nodata_of_a_coarser_band_covers_its_pixels(tmp_path):
    fine = write_raster(tmp_path / "f.tif", np.ones((1, 8, 8), np.uint16))
    values = np.full((4, 4), 50, np.uint16)
    values[1, 2] = 0
    coarse = write_raster(tmp_path / "c.tif", values, gsd=20, nodata=0)
    pixels = whole(scene_of(tmp_path, {"red": (fine, 1), "swir16": (coarse, 1)}))
    expected = np.ones((8, 8), bool)
    expected[2:4, 4:6] = False
    assert (pixels.valid == expected).all()
    assert (pixels.values[1][expected] == 50).all()


def test_physical_values_carry_scale_offset_and_nan(tmp_path):
    scene = one_band(tmp_path, picture(), nodata=0, fields={"scale": 0.0001, "offset": -0.1})
    physical = scene.physical(whole(scene))
    assert np.isnan(physical[0, 2, 3])
    assert physical[0, 0, 4] == pytest.approx(5 * 0.0001 - 0.1)
    assert physical.dtype == np.float32


def test_data_types_meet_in_one_that_holds_all(tmp_path):
    a = write_raster(tmp_path / "a.tif", np.full((1, 4, 4), 60_000, np.uint16))
    b = write_raster(tmp_path / "b.tif", np.full((1, 4, 4), -5, np.int16))
    values = whole(scene_of(tmp_path, {"red": (a, 1), "nir": (b, 1)})).values
    assert values.dtype == np.int32
    assert values[:, 0, 0].tolist() == [60_000, -5]


def test_threads_that_read_at_once_agree_with_a_whole_read(ground):
    full = whole(ground).values
    rng = np.random.default_rng(0)
    windows = [Window.of(*(int(v) for v in rng.integers([0, 0, 1, 1], [80, 80, 40, 40]))) for _ in range(200)]
    with ThreadPoolExecutor(8) as pool:
        for window, pixels in zip(windows, pool.map(ground.read, windows), strict=True):
            rows, cols = window.relative_to(Window.of(0, 0, 120, 120))
            assert (pixels.values == full[:, rows, cols]).all()


def test_a_truncated_file_is_told(tmp_path):
    path = write_raster(tmp_path / "t.tif", np.ones((1, 200, 200), np.uint16))
    path.write_bytes(path.read_bytes()[:30_000])
    with pytest.raises(SceneError, match=r"t\.tif: cannot be read at rows 0-200"):
        whole(scene_of(tmp_path, {"red": (path, 1)}))


def test_gsd_is_measured_or_declared(tmp_path):
    assert one_band(tmp_path, picture()).gsd_m == pytest.approx(10)
    bare = write_raster(tmp_path / "bare.tif", picture(), crs=None)
    assert scene_of(tmp_path, {"red": (bare, 1)}).gsd_m is None
    assert scene_of(tmp_path, {"red": (bare, 1)}, gsd=0.5).gsd_m == 0.5


def test_the_sample_of_a_small_scene_is_all_of_it(tmp_path):
    values = np.arange(300 * 280, dtype=np.uint32).reshape(300, 280) + 1
    values[5, 5] = 0
    scene = one_band(tmp_path, values, nodata=0)
    pixels = scene.sample()
    assert pixels.values.shape == (1, 1, 300 * 280)
    assert pixels.valid.shape == (1, 300 * 280)
    assert sorted(pixels.values.ravel()) == sorted(values.ravel())
    assert pixels.values[~pixels.valid[None]].tolist() == [0]


def test_the_sample_of_a_large_scene_reaches_from_corner_to_corner(ground):
    large = replace(ground, geobox=ground.geobox.zoom_to((10_000, 3_000)))
    windows = large.sample_windows()
    assert len(windows) == 64
    assert all(w.shape == (SAMPLE_SIZE, SAMPLE_SIZE) for w in windows)
    assert windows[0].rows.start == windows[0].cols.start == 0
    assert (windows[-1].rows.stop, windows[-1].cols.stop) == (10_000, 3_000)
    starts = {w.rows.start for w in windows} - {windows[-1].rows.start}
    assert len(starts) == 7
    assert all(start % SAMPLE_SIZE == 0 for start in starts)


@pytest.mark.parametrize(("longest", "step"), [(120, 1), (60, 2), (50, 3), (7, 18)])
def test_an_overview_picks_every_nth_pixel(ground, longest, step):
    pixels = ground.overview(longest)
    assert max(pixels.values.shape[1:]) <= longest
    picks = np.minimum(np.arange(-(-120 // step)) * step + step // 2, 119)
    assert (pixels.values == whole(ground).values[:, picks[:, None], picks]).all()
    assert pixels.valid.shape == pixels.values.shape[1:]


def with_overviews(path, factors=(2, 4)):
    with rasterio.open(path, "r+") as dst:
        dst.build_overviews(factors, Resampling.average)
    return path


@pytest.mark.parametrize(("longest", "step"), [(120, 1), (60, 2), (40, 3), (30, 4), (17, 8)])
def test_a_preview_comes_from_overviews_and_lies_where_the_scene_lies(tmp_path, longest, step):
    fine = with_overviews(coordinates(tmp_path, "fine.tif", 10))
    coarse = with_overviews(coordinates(tmp_path, "coarse.tif", 20))
    scene = scene_of(tmp_path, {"x10": (fine, 1), "y10": (fine, 2), "x20": (coarse, 1), "y20": (coarse, 2)})
    pixels = scene.preview(longest)
    count = 120 // step
    assert pixels.values.shape[1:] == (count, count)
    middles = (np.arange(count) + 0.5) * SIDE / count
    inside = slice(2, -2)  # at the border a coarse band repeats its outermost pixel
    for x, y in (pixels.values[:2], pixels.values[2:]):
        for found, line in ((x, WEST + middles), (y.T, NORTH - middles)):
            expected = np.tile(line, (count, 1))
            # Overview pixels of 20 m do not divide pixels of 30 m: a tenth of a pixel is lost.
            tolerance = 3 if step == 3 else 1e-3
            np.testing.assert_allclose(found[inside, inside], expected[inside, inside], atol=tolerance)
    assert pixels.valid.all()


def test_a_preview_reads_the_smallest_overview_that_will_do(tmp_path, monkeypatch):
    path = with_overviews(write_raster(tmp_path / "a.tif", np.ones((1, 512, 512), np.uint8)))
    scene, read, seen = scene_of(tmp_path, {"red": (path, 1)}), sources.read, []

    def counted(source, indexes, window, *out):
        seen.append((source.level, np.prod(window.shape)))
        return read(source, indexes, window, *out)

    monkeypatch.setattr(sources, "read", counted)
    assert scene.preview(128).values.shape == (1, 128, 128)
    assert scene.preview(100).values.shape == (1, 86, 86)
    assert {level for level, _ in seen} == {1}
    assert sum(n for _, n in seen) < 2.5 * 128 * 128


def test_a_preview_takes_an_overview_of_the_whole_as_it_is(tmp_path):
    values = np.random.default_rng(0).integers(0, 99, (2, 512, 400), np.uint8)
    path = with_overviews(write_raster(tmp_path / "a.tif", values))
    scene = scene_of(tmp_path, {"red": (path, 1), "green": (path, 2)})
    with rasterio.open(path, overview_level=1) as src:
        np.testing.assert_array_equal(scene.preview(180).values, src.read())


def test_a_preview_keeps_nodata_and_needs_no_overviews(tmp_path):
    values = np.full((1, 90, 70), 7, np.uint16)
    values[0, :45] = 0
    plain = write_raster(tmp_path / "plain.tif", values, nodata=0)
    small = write_raster(tmp_path / "small.tif", values, nodata=0)
    for path in (plain, with_overviews(small)):
        pixels = scene_of(tmp_path, {"red": (path, 1)}).preview(45)
        assert pixels.valid.shape == (45, 35)
        assert not pixels.valid[:22].any()
        assert pixels.valid[23:].all()
        assert (pixels.values[0][pixels.valid] == 7).all()


@pytest.fixture
def reads(monkeypatch):
    """Count the windows that scenes read."""
    seen, read = [], Scene.read

    def counted(scene, window):
        seen.append(window)
        return read(scene, window)

    monkeypatch.setattr(Scene, "read", counted)
    return seen


def test_identity_tells_scenes_apart(tmp_path):
    a = write_raster(tmp_path / "a.tif", np.ones((2, 6, 6), np.uint8))
    b = write_raster(tmp_path / "b.tif", np.ones((2, 6, 6), np.uint8))
    variants = [
        scene_of(tmp_path, {"red": (a, 1)}),
        scene_of(tmp_path, {"red": (a, 2)}),
        scene_of(tmp_path, {"nir": (a, 1)}),
        scene_of(tmp_path, {"red": (b, 1)}),
        scene_of(tmp_path, {"red": (a, 1)}, scale=0.5),
        scene_of(tmp_path, {"red": (a, 1)}, nodata=4),
        scene_of(tmp_path, {"red": (a, 1)}, gsd=20),
        scene_of(tmp_path, {"red": (a, 1)}, mask=MaskEntry(uri=str(b), invalid_values=(1,))),
        scene_of(tmp_path, {"red": (a, 1)}, mask=MaskEntry(uri=str(b), invalid_values=(2,))),
    ]
    identities = [repr(s.identity()) for s in variants]
    assert len(set(identities)) == len(identities)
    assert repr(scene_of(tmp_path, {"red": (a, 1)}).identity()) == identities[0]


def test_a_file_that_changed_on_disk_is_seen(tmp_path):
    # As in a notebook, where one process opens a scene, the file is made anew, and the scene is opened again.
    before = one_band(tmp_path, np.full((6, 6), 1, np.uint8))
    assert whole(before).values.max() == 1
    after = one_band(tmp_path, np.full((9, 9), 2, np.uint8))
    assert after.identity() != before.identity()
    assert whole(after).values.shape == (1, 9, 9)
    assert whole(after).values.min() == 2


def test_a_change_behind_a_vrt_changes_the_identity(tmp_path):
    from tests.make_scenes import repeat

    def scene():
        return open_scene(SceneEntry(uri=str(vrt)), "v", tmp_path)

    small = write_raster(tmp_path / "small.tif", np.full((1, 8, 8), 7, np.uint16), names=["blue"])
    vrt = repeat(small, 16)
    before = scene().identity()
    assert scene().identity() == before
    write_raster(small, np.full((1, 8, 8), 9, np.uint16), names=["blue"], compress="zstd")
    assert scene().identity() != before
    assert (scene().read(Window.of(0, 0, 16, 16)).values == 9).all()


def numbers(height=12, width=10, bands=2, seed=0):
    return np.random.default_rng(seed).integers(300, 60_000, (bands, height, width)).astype(np.uint16)


def test_wide_numbers_behind_a_byte_band_are_not_cut(tmp_path):
    write_raster(tmp_path / "qa.tif", np.full((1, 12, 10), 7, np.uint8))
    write_raster(tmp_path / "o.tif", numbers())
    path = vrt(tmp_path / "s.vrt", [("Byte", "qa.tif", 1), ("UInt16", "o.tif", 1), ("UInt16", "o.tif", 2)])
    scene = scene_of(tmp_path, {"red": (path, 2), "nir": (path, 3)})
    assert scene.dtype == np.uint16
    assert (whole(scene).values == numbers()).all()


@pytest.mark.parametrize(
    ("types", "common"),
    [
        (("UInt16", "Int32"), "int32"),
        (("UInt16", "Int16"), "int32"),
        (("Byte", "UInt16"), "uint16"),
        (("Int16", "Float32"), "float32"),
        (("Float64", "UInt32"), "float64"),
    ],
)
def test_bands_of_two_types_meet_in_one_that_holds_both(tmp_path, types, common):
    small = (numbers() // 256).astype(np.uint16)
    write_raster(tmp_path / "o.tif", small)
    path = vrt(tmp_path / "s.vrt", [(types[0], "o.tif", 1), (types[1], "o.tif", 2)])
    scene = scene_of(tmp_path, {"red": (path, 1), "nir": (path, 2)})
    assert scene.dtype == common
    pixels = scene.read(Window.of(-2, -2, 16, 14))
    assert (pixels.values == np.pad(small, ((0, 0), (2, 2), (2, 2)), mode="reflect")).all()
    assert (scene_of(tmp_path, {"nir": (path, 2), "red": (path, 1)}).read(Window.of(3, 2, 5, 4)).values
            == small[::-1, 3:8, 2:6]).all()  # fmt: skip


def test_complex_numbers_in_a_band_that_is_not_wanted_do_no_harm(tmp_path):
    write_raster(tmp_path / "o.tif", numbers())
    path = vrt(tmp_path / "s.vrt", [("CFloat32", "o.tif", 1), ("UInt16", "o.tif", 2)])
    assert (whole(scene_of(tmp_path, {"red": (path, 2)})).values[0] == numbers()[1]).all()


@pytest.mark.parametrize("bands", [2, 3, 4, 5, 7])
def test_an_alpha_band_masks_files_of_any_number_of_bands(tmp_path, bands):
    planes = numbers(bands=bands)
    planes[-1] = 255
    planes[-1, 4, 5] = 0
    path = write_raster(tmp_path / "a.tif", planes, photometric="minisblack")
    with rasterio.open(path, "r+") as dst:
        dst.colorinterp = [ColorInterp.undefined] * (bands - 1) + [ColorInterp.alpha]
    for gsd in (None, 5):
        fields = {} if gsd is None else {"gsd": gsd}
        scene = open_scene(SceneEntry(uri=str(path), **fields), "toy", tmp_path)
        assert len(scene.bands) == bands - 1
        assert (~whole(scene).valid).sum() == (1 if gsd is None else 4)


def test_a_band_that_is_named_is_data_whatever_gdal_calls_it(tmp_path):
    planes = numbers(bands=4)
    planes[3, 2:5] = 0
    path = write_raster(tmp_path / "a.tif", planes, photometric="rgb", alpha="yes")
    named = {"red": (path, 1), "green": (path, 2), "nir": (path, 4)}
    scene = scene_of(tmp_path, named)
    assert whole(scene).valid.all()
    assert (whole(scene).values[2] == planes[3]).all()
    entry = SceneEntry(uri=str(path), bands={"red": 1, "nir": 4})
    only_red = open_scene(entry, "toy", tmp_path, ["red"])
    assert whole(only_red).valid.all()  # also where a network does not want it
    again, _ = reopen_scene(json.loads(json.dumps(only_red.identity())))
    assert whole(again).valid.all()
    unnamed = open_scene(SceneEntry(uri=str(path)), "toy", tmp_path, ["red"])
    assert (~whole(unnamed).valid).sum() == 3 * 10
    again, _ = reopen_scene(json.loads(json.dumps(unnamed.identity())))
    assert (~whole(again).valid).sum() == 3 * 10


def test_the_description_of_a_band_may_say_that_it_is_no_alpha(tmp_path):
    path = write_raster(
        tmp_path / "a.tif",
        numbers(bands=4),
        photometric="rgb",
        alpha="yes",
        names=("red", "green", "blue", "nir"),
    )
    scene = open_scene(SceneEntry(uri=str(path)), "toy", tmp_path)
    assert [b.common_name for b in scene.bands] == ["red", "green", "blue", "nir"]


@pytest.mark.parametrize("masked", [1, 2])
def test_the_mask_of_one_band_hides_the_pixel(tmp_path, masked):
    write_raster(tmp_path / "o.tif", numbers())
    mask = np.full((1, 12, 10), 255, np.uint8)
    mask[0, :3, :4] = 0
    write_raster(tmp_path / "m.tif", mask)
    path = vrt(tmp_path / "s.vrt", [("UInt16", "o.tif", 1), ("UInt16", "o.tif", 2)], mask_of=masked)
    scene = scene_of(tmp_path, {"red": (path, 1), "nir": (path, 2)})
    assert (whole(scene).valid == (mask[0] > 0)).all()
    assert whole(scene_of(tmp_path, {"red": (path, 3 - masked)})).valid.all()


@pytest.mark.parametrize("unknown", ["nodata", "nan", "mask"])
def test_unknown_quality_is_nodata(tmp_path, unknown):
    quality = np.zeros((1, 12, 12), np.float32 if unknown == "nan" else np.uint8)
    quality[0, :3] = {"nodata": 255, "nan": np.nan, "mask": 0}[unknown]
    options = {"nodata": 255} if unknown == "nodata" else {}
    image = write_raster(tmp_path / "image.tif", np.full((1, 12, 12), 9, np.uint8))
    path = write_raster(tmp_path / "quality.tif", quality, **options)
    if unknown == "mask":
        write_raster(
            tmp_path / "m.tif", np.where(np.arange(12)[:, None] < 3, 0, 255).repeat(12, 1).astype("u1")
        )
        path = vrt(tmp_path / "quality.vrt", [("Byte", "quality.tif", 1)], mask_of=1)
    mask = MaskEntry(uri=str(path), invalid_values=(1,))
    scene = scene_of(tmp_path, {"red": (image, 1)}, mask=mask)
    assert (~whole(scene).valid).sum(axis=1).tolist() == [12] * 3 + [0] * 9


def test_numbers_that_are_infinite_in_single_precision_are_invalid(tmp_path):
    values = np.ones((6, 6))
    values[1, 2] = 1e300
    values[3, 4] = -1e300
    scene = one_band(tmp_path, values)
    assert np.argwhere(~whole(scene).valid).tolist() == [[1, 2], [3, 4]]


@pytest.mark.parametrize(("mirrored_rows", "mirrored_cols"), [(True, False), (False, True), (True, True)])
def test_a_file_with_south_or_east_first_is_read_north_up(tmp_path, mirrored_rows, mirrored_cols):
    from affine import Affine

    values = numbers(bands=1)
    north_up = one_band(tmp_path, values, nodata=int(values[0, 1, 1]))
    stored = values[:, :: -1 if mirrored_rows else 1, :: -1 if mirrored_cols else 1]
    place = north_up.geobox.transform
    if mirrored_rows:
        place = place @ Affine.translation(0, 12) @ Affine.scale(1, -1)
    if mirrored_cols:
        place = place @ Affine.translation(10, 0) @ Affine.scale(-1, 1)
    path = tmp_path / "turned.tif"
    with rasterio.open(
        path, "w", driver="GTiff", count=1, height=12, width=10, dtype="uint16", crs="EPSG:32633",
        transform=place, nodata=int(values[0, 1, 1]),
    ) as dst:  # fmt: skip
        dst.write(stored)
    scene = scene_of(tmp_path, {"red": (path, 1)})
    assert scene.geobox == north_up.geobox
    for window in (Window.of(0, 0, 12, 10), Window.of(2, 3, 4, 5), Window.of(-3, -2, 9, 14)):
        assert (scene.read(window).values == north_up.read(window).values).all()
        assert (scene.read(window).valid == north_up.read(window).valid).all()
    coarse = replace(north_up, geobox=north_up.geobox.zoom_to((6, 5)))
    turned = replace(scene, geobox=coarse.geobox)
    assert (whole(turned).values == whole(coarse).values).all()


@pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
@pytest.mark.parametrize("form", ["jpg", "png", "webp", "tif"])
@pytest.mark.parametrize("tag", range(1, 9))
def test_a_photograph_is_turned_as_its_camera_was_held(tmp_path, form, tag):
    from PIL import Image, ImageOps

    picture = Image.fromarray((np.arange(24 * 32) % 251).astype(np.uint8).reshape(24, 32)).convert("RGB")
    exif = Image.Exif()
    exif[0x0112] = tag
    path = tmp_path / f"photo.{form}"
    options = {"webp": {"exif": exif, "lossless": True}, "tif": {"tiffinfo": {0x0112: tag}}}
    picture.save(path, **options.get(form, {"exif": exif}))
    upright = np.moveaxis(np.asarray(ImageOps.exif_transpose(Image.open(path)).convert("RGB")), -1, 0)
    scene = open_scene(SceneEntry(uri=str(path)), "photo", tmp_path)
    assert scene.shape == upright.shape[1:]
    assert (whole(scene).values == upright).all()
    assert (scene.read(Window.of(3, 5, 7, 4)).values == upright[:, 3:10, 5:9]).all()


def test_a_file_that_was_replaced_by_one_of_the_same_size_and_time_is_seen(tmp_path):
    before = one_band(tmp_path, np.full((6, 6), 1, np.uint8))
    path, time = tmp_path / "one.tif", (tmp_path / "one.tif").stat()
    said = before.identity()
    other = write_raster(tmp_path / "other.tif", np.full((6, 6), 2, np.uint8))
    os.utime(other, ns=(time.st_atime_ns, time.st_mtime_ns))
    other.replace(path)
    assert (path.stat().st_size, path.stat().st_mtime_ns) == (time.st_size, time.st_mtime_ns)
    after = scene_of(tmp_path, {"red": (path, 1)})
    assert after.identity() != said
    assert (whole(after).values == 2).all()
