"""Mosaics: members on the grid, off it and in other CRS, with their own scales, masks and order."""

import json
import pickle

import numpy as np
import pytest
import rasterio
from affine import Affine
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from odc.geo.geobox import GeoBox
from rasterio.crs import CRS
from rasterio.enums import Resampling
from rasterio.warp import reproject

from geoseg.config.scene import SceneEntry
from geoseg.core.errors import SceneError
from geoseg.core.geometry import Window
from geoseg.scenes import handles
from geoseg.scenes.catalog import resolve_scene
from geoseg.scenes.mosaic import Mosaic
from geoseg.scenes.opening import open_scene, reopen_scene
from tests.conftest import UTM, write_raster

WEST, NORTH = 500_000.0, 4_500_000.0
EAST_ZONE = "EPSG:32634"


def tile(path, values, at=(0, 0), gsd=10.0, **options):
    """Write a tile whose upper-left corner lies `at` (row, column) pixels from that of the mosaic."""
    origin = (WEST + at[1] * gsd, NORTH - at[0] * gsd)
    return write_raster(path, values, origin=origin, gsd=gsd, **options)


def mosaic_of(members, *, gsd=None, wanted=None, **fields):
    members = members if isinstance(members, str) else [m if isinstance(m, dict) else str(m) for m in members]
    return resolve_scene(SceneEntry.model_validate({"mosaic": members, **fields}), "toy", wanted, gsd)


def whole(scene):
    return scene.read(Window.of(0, 0, *scene.shape))


def noise(shape, seed=0, dtype=np.uint16):
    return np.random.default_rng(seed).integers(1, 250, shape).astype(dtype)


def smooth(x, y):
    """Return a surface that a bilinear interpolation follows, at places in metres of the first zone."""
    return 500 + 200 * np.sin((x - WEST) / 900) + 200 * np.cos((y - NORTH) / 700)


def in_zone(path, crs, origin, shape, gsd=10.0, dtype=np.float32):
    """Write a tile in a CRS whose pixels are those of the surface at their places."""
    cols, rows = np.meshgrid(np.arange(shape[1]) + 0.5, np.arange(shape[0]) + 0.5)
    x, y = origin[0] + cols * gsd, origin[1] - rows * gsd
    to_first = GeoBox((1, 1), Affine.identity(), crs).crs.transformer_to_crs(
        GeoBox((1, 1), Affine.identity(), UTM).crs
    )
    return write_raster(path, smooth(*to_first(x, y)).astype(dtype), crs=crs, origin=origin, gsd=gsd)


def beside(crs, x, y):
    """Return a place of the first zone in another CRS, on multiples of 10 m."""
    first = GeoBox((1, 1), Affine.identity(), UTM).crs
    found = first.transformer_to_crs(GeoBox((1, 1), Affine.identity(), crs).crs)(x, y)
    return tuple(round(float(v), -1) for v in found)


def test_a_folder_of_tiles_is_the_stacked_array(tmp_path):
    values = noise((4, 40, 30), dtype=np.uint8)
    for row, col in ((0, 0), (0, 15), (20, 0), (20, 15)):
        part = values[:, row : row + 20, col : col + 15]
        # Otherwise GDAL takes the fourth band for alpha.
        tile(tmp_path / f"m_{row}_{col}.tif", part, (row, col), photometric="MINISBLACK")
    (tmp_path / "readme.txt").write_text("not a tile")
    for members in (str(tmp_path), str(tmp_path / "m_*.tif")):
        scene = mosaic_of(members)
        pixels = whole(scene)
        assert (scene.dtype, scene.shape) == (np.uint8, (40, 30))
        assert pixels.valid.all()
        np.testing.assert_array_equal(pixels.values, values)


def test_gaps_between_members_are_nodata(tmp_path):
    a, b = tile(tmp_path / "a.tif", noise((9, 9))), tile(tmp_path / "b.tif", noise((9, 9), 1), (20, 30))
    scene = mosaic_of([a, b])
    expected = np.zeros((29, 39), bool)
    expected[:9, :9] = expected[20:, 30:] = True
    np.testing.assert_array_equal(whole(scene).valid, expected)


def test_a_mosaic_of_one_scene_is_that_scene(tmp_path):
    fine = tile(tmp_path / "s/x_B04.tif", noise((12, 12)), nodata=7)
    tile(tmp_path / "s/x_B11.tif", noise((6, 6), 1), gsd=20)
    one = open_scene(SceneEntry(uri=str(fine.parent)), "one", tmp_path)
    for gsd in (None, 20, 35):
        alone = resolve_scene(str(fine.parent), "one", ["red", "swir16"], gsd)
        scene = mosaic_of([fine.parent], wanted=["red", "swir16"], gsd=gsd)
        assert scene.geobox == alone.geobox
        window = Window.of(-3, -2, *(n + 5 for n in alone.shape))
        found, expected = scene.read(window), alone.read(window)
        np.testing.assert_array_equal(found.valid, expected.valid)
        np.testing.assert_array_equal(found.values[:, found.valid], expected.values[:, found.valid])
    assert isinstance(scene, Mosaic)
    assert [b.common_name for b in scene.bands] == ["red", "swir16"]
    assert one.members == (one,)


def test_the_first_valid_member_gives_the_pixel(tmp_path):
    cloudy, clear = noise((8, 8)), noise((8, 8), 1)
    mask = np.zeros((8, 8), np.uint8)
    mask[2:5] = 9
    for name, values, quality in (("cloudy", cloudy, mask), ("clear", clear, np.zeros_like(mask))):
        tile(tmp_path / name / "x_B04.tif", values)
        tile(tmp_path / name / "SCL.tif", quality)
    scene = mosaic_of(
        [tmp_path / "cloudy", tmp_path / "clear"],
        wanted=["red"],
        mask={"uri": "SCL.tif", "invalid_values": [9]},
    )
    pixels = whole(scene)
    assert pixels.valid.all()
    np.testing.assert_array_equal(pixels.values[0], np.where(mask == 9, clear, cloudy))


@pytest.mark.parametrize(
    ("order", "expected"),
    [("listed", 1), ("newest", 2), ("oldest", 3), ("cloud", 1.5)],
)
def test_the_order_decides_who_is_first(tmp_path, order, expected):
    values = {"a": 1.0, "b": 2.0, "c": 3.0, "d": 1.5}
    facts = {
        "a": ("2024-06-02", 30), "b": ("2024-06-03", 20), "c": ("2024-06-01", 10), "d": ("2024-06-02", 0),
    }  # fmt: skip
    for name, value in values.items():
        tile(tmp_path / f"{name}.tif", np.full((4, 4), value, np.float32))
    members = [
        {"uri": str(tmp_path / f"{n}.tif"), "datetime": t, "cloud_cover": c} for n, (t, c) in facts.items()
    ]
    assert (whole(mosaic_of(members, order=order)).values == expected).all()


def test_a_member_without_the_fact_that_orders_is_named(tmp_path):
    paths = [tile(tmp_path / f"{n}.tif", noise((4, 4))) for n in "ab"]
    dated = {"uri": str(paths[0]), "datetime": "2024-06-01"}
    with pytest.raises(SceneError, match=r"order: newest needs the datetime of every member, and .*b\.tif"):
        mosaic_of([dated, paths[1]], order="newest")
    with pytest.raises(
        SceneError, match=r"order: cloud needs the cloud_cover .*member 1 has none \(and 1 more"
    ):
        mosaic_of([dated, paths[1]], order="cloud")
    assert mosaic_of([dated, paths[1]]).shape == (4, 4)
    assert mosaic_of([dated, paths[1]]).period is None
    later = {"uri": str(paths[1]), "datetime": "2024-06-05"}
    assert [t.day for t in mosaic_of([later, dated]).period] == [1, 5]
    assert mosaic_of([dated, dated]).acquired.day == 1


def test_members_with_other_offsets_have_their_own_physical_values(tmp_path):
    old, new = noise((6, 6)), noise((6, 6), 1) + 1000
    a, b = tile(tmp_path / "a.tif", old), tile(tmp_path / "b.tif", new, (0, 6))
    members = [
        {"uri": str(a), "scale": 1e-4, "offset": 0.0},
        {"uri": str(b), "scale": 1e-4, "offset": -0.1},
    ]
    scene = mosaic_of(members)
    alone = [resolve_scene(SceneEntry.model_validate(m), "alone") for m in members]
    expected = np.concatenate([s.physical(whole(s)) for s in alone], axis=2)
    np.testing.assert_array_equal(scene.physical(whole(scene)), expected)
    same = mosaic_of([a, b], scale=1e-4, offset=-0.1)
    assert (scene.dtype, same.dtype) == (np.float32, np.uint16)
    assert whole(same).values[0, 0, 0] == old[0, 0]


def test_keys_beside_mosaic_hold_for_each_member_and_its_own_keys_win(tmp_path):
    a, b = (tile(tmp_path / f"{n}.tif", noise((2, 4, 4)), (0, 4 * i)) for i, n in enumerate("ab"))
    entry = {"uri": str(b), "scale": 0.5}
    scene = mosaic_of([a, entry], scale=0.25, offset=1, nodata=3, bands={"nir": 2})
    assert [[(x.scale, x.offset, x.nodata, x.index) for x in m.bands] for m in scene.members] == [
        [(0.25, 1, 3, 2)],
        [(0.5, 1, 3, 2)],
    ]


def test_folders_have_their_bands_and_masks_by_the_same_names(tmp_path):
    for i, name in enumerate(("one", "two")):
        tile(tmp_path / name / "r.tif", noise((4, 4), i), (0, 4 * i))
        tile(tmp_path / name / "q.tif", np.full((4, 4), i, np.uint8), (0, 4 * i))
    scene = mosaic_of(
        str(tmp_path / "*"), bands={"red": "r.tif"}, mask={"uri": "q.tif", "invalid_values": [1]}
    )
    assert whole(scene).valid.all(axis=0).tolist() == [True] * 4 + [False] * 4
    with pytest.raises(
        SceneError, match=r"r\.tif: the mask q\.tif beside mosaic is looked for in each member"
    ):
        mosaic_of([tmp_path / "one/r.tif"], mask={"uri": "q.tif", "invalid_values": [1]})


def test_members_may_be_names_of_the_catalog(tmp_path):
    a, b = (tile(tmp_path / f"{n}.tif", noise((4, 4), i), (0, 4 * i)) for i, n in enumerate("ab"))
    catalog = tmp_path / "data_catalog.yaml"
    catalog.write_text(
        "scenes:\n  left: {uri: a.tif}\n  both: {mosaic: [left, b.tif]}\n  again: {mosaic: [both]}\n"
    )
    scene = resolve_scene("both", "x", catalog=catalog)
    np.testing.assert_array_equal(whole(scene).values[0], np.hstack([noise((4, 4)), noise((4, 4), 1)]))
    assert (a.exists(), b.exists()) == (True, True)
    with pytest.raises(SceneError, match="both: is a mosaic itself"):
        resolve_scene("again", "x", catalog=catalog)


def test_the_items_of_a_search_are_members_that_know_their_facts(tmp_path):
    items = []
    for i, (cover, offset) in enumerate(((80.0, -0.1), (5.0, 0.0), (20.0, -0.1))):
        tile(tmp_path / f"{i}.tif", np.full((4, 4), 1000 * (i + 1), np.uint16))
        band = {"name": "B04", "eo:common_name": "red", "raster:scale": 1e-4, "raster:offset": offset}
        asset = {"href": f"./{i}.tif", "type": "image/tiff; application=geotiff", "bands": [band]}
        facts = {"datetime": f"2024-06-0{9 - i}T00:00:00Z", "eo:cloud_cover": cover}
        items.append({"type": "Feature", "id": f"item-{i}", "properties": facts, "assets": {"red": asset}})
    search = tmp_path / "search.json"
    search.write_text(json.dumps({"type": "FeatureCollection", "features": items}))
    for order, first in (("listed", "item-0"), ("cloud", "item-1"), ("oldest", "item-2")):
        assert mosaic_of(str(search), order=order, wanted=["red"]).members[0].name == first
    scene = mosaic_of([search], order="cloud")
    np.testing.assert_allclose(scene.physical(whole(scene)), 0.2)
    np.testing.assert_allclose(whole(mosaic_of([search], scale=2.0, offset=0)).values, 1000)


@pytest.mark.parametrize(
    ("other", "message"),
    [
        ({"values": noise((2, 4, 4))}, "is of another layout than .*a.tif: it has 2 bands and not 1"),
        ({"gsd": 25}, "its GSD of 25 m is more than 2 times another than the 10"),
        ({"crs": None}, "has no CRS, so its place in the mosaic is unknown"),
        ({"scale": 0.5}, "band band 1: .*a.tif declares neither scale nor offset"),
        ({"values": noise((4, 4), dtype=np.uint8)}, "holds uint8, and .*a.tif uint16"),
    ],
)
def test_a_member_that_is_unlike_the_others_is_named(tmp_path, other, message):
    a, b = (
        tile(tmp_path / "a.tif", noise((4, 4))),
        tile(tmp_path / "b.tif", **{"values": noise((4, 4)), **other}),
    )
    with pytest.raises(SceneError, match=rf"b\.tif: {message}") as caught:
        mosaic_of([a, b])
    assert len(str(caught.value).replace(str(tmp_path), "")) <= 300


def test_levels_of_processing_are_not_mixed(tmp_path):
    a, b = ({"uri": str(tile(tmp_path / f"{n}.tif", noise((4, 4))))} for n in "ab")
    with pytest.raises(SceneError, match="member 2: is toa reflectance, and toy: member 1 surface"):
        mosaic_of([{**a, "level": "surface"}, {**b, "level": "toa"}])
    assert mosaic_of([{**a, "level": "surface"}, b]).level == "surface"
    assert mosaic_of([a, b], level="toa").level == "toa"


def test_what_names_no_member_is_said(tmp_path):
    (tmp_path / "empty").mkdir()
    tile(tmp_path / "a.tif", noise((2, 4, 4)))
    for members, message in (
        (str(tmp_path / "empty"), "holds no raster that could be a member"),
        (str(tmp_path / "*.jp2"), "no file or folder fits this pattern"),
        ([str(tmp_path / "b.tif")], r"b\.tif: no such file"),
    ):
        with pytest.raises(SceneError, match=message):
            mosaic_of(members)
    with pytest.raises(SceneError, match=r"a\.tif: no band swir16"):
        mosaic_of(str(tmp_path), wanted=["swir16"])


@pytest.mark.parametrize("shift", [0.5, 3.0, -4.5])
def test_a_member_off_the_grid_is_interpolated_at_its_place(tmp_path, shift):
    a = in_zone(tmp_path / "a.tif", UTM, (WEST, NORTH), (30, 30))
    b = in_zone(tmp_path / "b.tif", UTM, (WEST + 200 + shift, NORTH + shift), (30, 30))
    scene = mosaic_of([a, b])
    pixels = whole(scene)
    assert (scene.geobox.transform.c - WEST) % 10 == 0
    cols, rows = np.meshgrid(np.arange(scene.shape[1]) + 0.5, np.arange(scene.shape[0]) + 0.5)
    x, y = scene.geobox.transform @ (cols, rows)
    error = np.abs(pixels.values[0] - smooth(x, y))[pixels.valid]
    assert error.max() < 2.0  # half a pixel beyond the outermost centres
    assert np.median(error) < 0.05
    first = scene.members[0].geobox
    here = Window.of(round((scene.geobox.transform.f - first.transform.f) / 10), 0, 30, 30)
    np.testing.assert_array_equal(scene.read(here).values, whole(resolve_scene(str(a), "a")).values)


@pytest.fixture(scope="module")
def two_zones(tmp_path_factory):
    """Two tiles of one surface in neighbouring zones, and the mosaic of both."""
    folder = tmp_path_factory.mktemp("zones")
    a = in_zone(folder / "a.tif", UTM, (WEST, NORTH), (60, 60))
    b = in_zone(folder / "b.tif", EAST_ZONE, beside(EAST_ZONE, WEST + 500, NORTH + 40), (50, 50))
    return a, b, mosaic_of([a, b])


def test_a_member_of_another_zone_comes_to_its_place(two_zones):
    a, _, scene = two_zones
    pixels = whole(scene)
    assert scene.geobox.crs.epsg == 32633
    rows, cols = np.nonzero(pixels.valid)
    x, y = scene.geobox.transform @ (cols + 0.5, rows + 0.5)
    error = np.abs(pixels.values[0][pixels.valid] - smooth(x, y))
    assert pixels.valid.sum() > 5000
    assert error.max() < 4.0  # 0.3 a metre: a pixel beside the outermost centres
    assert np.quantile(error, 0.95) < 0.05
    assert scene.members[0].sources[0].path == str(a)


def test_warping_agrees_with_gdal(two_zones):
    _, b, scene = two_zones
    member = scene.placed[1]
    found = member.read(member.window)
    expected = np.full(member.window.shape, np.nan, np.float32)
    target = scene.geobox[member.window.relative_to(Window.of(0, 0, *scene.shape))]
    with rasterio.open(b) as src:
        reproject(
            src.read(1), expected, src_transform=src.transform, src_crs=src.crs, tolerance=0,
            dst_transform=target.transform, dst_crs=CRS.from_user_input(UTM), dst_nodata=np.nan,
            resampling=Resampling.bilinear,
        )  # fmt: skip
    assert (found.valid == ~np.isnan(expected)).mean() > 0.99
    both = found.valid & ~np.isnan(expected)
    inner = np.abs(found.values[0] - expected)[both]
    assert np.quantile(inner, 0.9) < 1e-2


@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_any_window_of_a_mosaic_is_the_crop_of_the_whole(two_zones, data):
    scene = two_zones[2]
    full = whole(scene)
    row, col = (data.draw(st.integers(0, n - 1)) for n in scene.shape)
    height, width = (data.draw(st.integers(1, n - k)) for n, k in zip(scene.shape, (row, col), strict=True))
    window = Window.of(row, col, height, width)
    found = scene.near(window).read(window)
    here = window.relative_to(Window.of(0, 0, *scene.shape))
    np.testing.assert_array_equal(found.valid, full.valid[here])
    np.testing.assert_array_equal(found.values, full.values[:, *here])


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(*[st.integers(0, 12)] * 2, *[st.integers(1, 9)] * 2), min_size=1, max_size=6))
def test_members_anywhere_are_painted_from_the_last_to_the_first(tmp_path, places):
    height = max(r + h for r, _, h, _ in places)
    width = max(c + w for _, c, _, w in places)
    top, left = min(p[0] for p in places), min(p[1] for p in places)
    canvas, paths = np.zeros((height, width), np.uint16), []
    for i, (row, col, high, wide) in enumerate(places):
        values = noise((high, wide), i)
        values[values % 5 == 0] = 5  # nodata
        paths.append(tile(tmp_path / f"{i}.tif", values, (row, col)))
    for path, (row, col, high, wide) in reversed(list(zip(paths, places, strict=True))):
        with rasterio.open(path) as src:
            values = src.read(1)
        part = canvas[row : row + high, col : col + wide]
        part[values != 5] = values[values != 5]
    pixels = whole(mosaic_of(paths, nodata=5))
    expected = canvas[top:, left:]
    np.testing.assert_array_equal(pixels.valid, expected > 0)
    np.testing.assert_array_equal(pixels.values[0], expected)


def test_the_crs_of_most_of_the_area_is_taken_unless_another_is_asked_for(tmp_path):
    a = in_zone(tmp_path / "a.tif", UTM, (WEST, NORTH), (10, 10))
    b = in_zone(tmp_path / "b.tif", EAST_ZONE, beside(EAST_ZONE, WEST, NORTH), (30, 30))
    assert mosaic_of([a, b]).geobox.crs.epsg == 32634
    assert mosaic_of([a, b], crs="EPSG:32633").geobox.crs.epsg == 32633
    for crs, side in (("EPSG:32632", 10.0), ("EPSG:3857", None), ("EPSG:4326", None)):
        scene = mosaic_of([a, b], crs=crs)
        pixels = whole(scene)
        assert abs(scene.gsd_m - 10) < 0.05
        assert side is None or abs(scene.geobox.resolution.x) == side
        assert 900 < pixels.valid.sum() < 1200
        assert 250 < pixels.values[0][pixels.valid].mean() < 900


@pytest.mark.parametrize(
    ("crs", "message"),
    [
        ("EPSG:99999", "crs: EPSG:99999 is not known to PROJ"),
        ("EPSG:4978", "crs: EPSG:4978 is neither geographic nor projected"),
    ],
)
def test_a_crs_that_has_no_grid_is_refused(tmp_path, crs, message):
    path = tile(tmp_path / "a.tif", noise((4, 4)))
    with pytest.raises(SceneError, match=message):
        mosaic_of([path], crs=crs)


def test_a_mosaic_lies_on_both_sides_of_the_antimeridian(tmp_path):
    east = write_raster(tmp_path / "e.tif", noise((20, 20)), crs="EPSG:32660", origin=(817_000, 2_000_000))
    west = write_raster(tmp_path / "w.tif", noise((20, 20)), crs="EPSG:32601", origin=(182_600, 2_000_000))
    scene = mosaic_of([east, west], crs="EPSG:4326")
    assert scene.geobox.boundingbox.span_x < 0.1
    assert whole(scene).valid.sum() > 780


def test_pictures_use_the_overviews_of_members(tmp_path):
    paths = [in_zone(tmp_path / f"{i}.tif", UTM, (WEST + 640 * i, NORTH), (64, 64)) for i in range(2)]
    plain = mosaic_of(paths).preview(32)
    for path in paths:
        with rasterio.open(path, "r+") as dst:
            dst.build_overviews([2, 4], Resampling.average)
    scene = mosaic_of(paths)
    pixels = scene.preview(32)
    assert plain.values.shape == pixels.values.shape == (1, 16, 32)
    assert pixels.valid.all()
    expected = whole(scene).values[0].reshape(16, 4, 32, 4).mean(axis=(1, 3))
    np.testing.assert_allclose(pixels.values[0], expected, rtol=1e-5)
    assert scene.pick([0, 0, 0]).preview(32).values.shape == (3, 16, 32)


def test_hundreds_of_members_share_few_open_files(tmp_path):
    values = np.zeros((6, 25 * 8), np.uint8)
    for i in range(150):
        row, col = divmod(i, 25)
        tile(tmp_path / f"{i:03}.tif", np.full((1, 8), 1 + i % 250, np.uint8), (row, 8 * col))
        values[row, 8 * col : 8 * col + 8] = 1 + i % 250
    scene = mosaic_of(str(tmp_path))
    np.testing.assert_array_equal(whole(scene).values[0], values)
    open_now = handles._handles
    assert open_now.lent + sum(map(len, open_now.idle.values())) <= handles.MOST_HANDLES == 64
    window = Window.of(3, 30, 2, 10)
    near = scene.near(window)
    assert [m.name[-7:] for m in near.members] == ["078.tif", "079.tif", "103.tif", "104.tif"]
    assert len(pickle.dumps(near)) < len(pickle.dumps(scene)) / 20
    sent = pickle.loads(pickle.dumps(near))  # noqa: S301 (our own)
    np.testing.assert_array_equal(sent.read(window).values[0], values[3:5, 30:40])


def test_the_identity_holds_every_member_and_opens_it_again(two_zones, tmp_path):
    a = in_zone(tmp_path / "a.tif", UTM, (WEST, NORTH), (20, 20))
    b = in_zone(tmp_path / "b.tif", EAST_ZONE, beside(EAST_ZONE, WEST + 150, NORTH), (20, 20))
    c = in_zone(tmp_path / "c.tif", UTM, (WEST + 203, NORTH), (20, 20))
    scene = mosaic_of([a, b, c], scale=0.5)
    identity = json.loads(json.dumps(scene.identity()))
    again, changed = reopen_scene(identity)
    assert not changed
    assert json.loads(json.dumps(again.identity())) == identity
    np.testing.assert_array_equal(whole(again).values, whole(scene).values)
    assert scene.changed_file() is None
    swapped = mosaic_of([c, b, a], scale=0.5)
    assert swapped.identity() != scene.identity()
    in_zone(b, EAST_ZONE, beside(EAST_ZONE, WEST + 150, NORTH), (20, 20), dtype=np.float64)
    assert scene.changed_file() == str(b)
    assert reopen_scene(identity)[1]
    assert mosaic_of([a, c], scale=0.5).identity() != scene.identity()


def test_relative_paths_are_made_absolute(tmp_path, monkeypatch):
    tile(tmp_path / "a.tif", noise((4, 4)))
    monkeypatch.chdir(tmp_path)
    scene = mosaic_of(["a.tif"]).with_absolute_paths()
    assert (
        {s.path for s in scene.sources} == {str(tmp_path / "a.tif")} == {b.source.path for b in scene.bands}
    )


def test_haze_is_taken_off_each_member(tmp_path):
    bright, dark = noise((40, 40)) + 3000, noise((40, 40), 1) + 300
    both = {"a": (bright, (0, 0)), "b": (dark, (0, 40))}
    paths = [tile(tmp_path / f"{n}.tif", *what, names=["blue"]) for n, what in both.items()]
    scene = mosaic_of(paths, scale=1e-4, radiometry={"dark_object": True})
    values = scene.physical(whole(scene))[0]
    assert abs(values[:, :40].min() - values[:, 40:].min()) < 1e-3
