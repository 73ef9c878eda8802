import json
import os

import numpy as np
import pytest
import rasterio
from rasterio.enums import ColorInterp

from geoseg.config.scene import MaskEntry, SceneEntry
from geoseg.core.errors import GeosegWarning, SceneError
from geoseg.core.geometry import Window
from geoseg.scenes.opening import open_scene, reopen_scene
from tests.conftest import write_raster


def numbered(path, count=1, **options):
    """Write bands of 4 x 4 pixels that hold their band number."""
    values = np.arange(1, count + 1, dtype=np.uint16)[:, None, None] * np.ones((1, 4, 4), np.uint16)
    return write_raster(path, values, **options)


def first_pixel(scene):
    return scene.read(Window.of(0, 0, 1, 1)).values.ravel().tolist()


def opened(folder, entry, wanted=None, **more):
    return open_scene(SceneEntry(**entry), "toy", folder, wanted, **more)


def test_bands_are_found_by_common_name_in_the_order_asked_for(tmp_path):
    numbered(tmp_path / "a.tif", 3, names=("blue", "red", "nir"))
    scene = opened(tmp_path, {"uri": "a.tif"}, ["nir", "blue"])
    assert [b.common_name for b in scene.bands] == ["nir", "blue"]
    assert first_pixel(scene) == [3, 1]


def test_all_bands_are_taken_when_none_are_asked_for(tmp_path):
    numbered(tmp_path / "a.tif", 3, names=("blue", "red", "nir"))
    assert first_pixel(opened(tmp_path, {"uri": "a.tif"})) == [1, 2, 3]


@pytest.mark.parametrize(
    ("names", "sensor", "wanted", "expected"),
    [
        (("B02", "B8A"), None, ["nir08", "blue"], [2, 1]),
        (("SR_B4", "SR_B5"), None, ["nir08", "red"], [2, 1]),
        (("B4", "B5"), "landsat-8", ["nir08", "red"], [2, 1]),
        (("B3", "B5"), "landsat-5", ["swir16", "red"], [2, 1]),
        (("B4", "B5"), "sentinel-2", ["rededge071", "red"], [2, 1]),
        (("SWIR1", "Near infrared"), None, ["nir", "swir16"], [2, 1]),
        (("swir16", "nir"), None, ["swir1", "nir"], [1, 2]),
    ],
)
def test_descriptions_of_the_file_name_its_bands(tmp_path, names, sensor, wanted, expected):
    numbered(tmp_path / "a.tif", 2, names=names)
    scene = opened(tmp_path, {"uri": "a.tif", "sensor": sensor}, wanted)
    assert first_pixel(scene) == expected


@pytest.mark.parametrize(
    ("names", "sensor", "wanted", "taken"),
    [
        (("red", "nir08"), None, "nir", "nir08 "),
        (("B4", "B5"), "landsat-8", "nir", "B5 "),
        (("B04", "B08"), None, "nir08", "B08 "),
        (("red", "nir"), "planetscope-8b", "nir", "nir "),
    ],
)
def test_a_band_of_the_same_kind_is_taken_and_said(tmp_path, names, sensor, wanted, taken):
    numbered(tmp_path / "a.tif", 2, names=names)
    with pytest.warns(GeosegWarning, match=rf"toy: {wanted}: taking {taken}.*um"):
        scene = opened(tmp_path, {"uri": "a.tif", "sensor": sensor}, [wanted])
    assert first_pixel(scene) == [2]
    assert scene.bands[0].common_name == wanted


def test_the_wavelength_of_a_band_decides_whether_it_can_stand_for_another(tmp_path):
    numbered(tmp_path / "a.tif", 1)
    entry = {"uri": "a.tif", "bands": {"nir08": {"band": 1, "wavelength_um": 0.945}}}
    with pytest.raises(SceneError, match=r"toy: no band nir; did you mean .nir08.\?; it has nir08"):
        opened(tmp_path, entry, ["nir"])


def test_of_bands_of_the_same_kind_the_nearest_is_taken(tmp_path):
    numbered(tmp_path / "a.tif", 3)
    bands = {
        f"re{i}": {"band": i, "common_name": "rededge", "wavelength_um": w, "width_um": 0.015}
        for i, w in enumerate((0.704, 0.740, 0.783), 1)
    }
    with pytest.warns(GeosegWarning, match="rededge075: taking re2"):
        assert first_pixel(opened(tmp_path, {"uri": "a.tif", "bands": bands}, ["rededge075"])) == [2]


def test_an_ambiguous_designation_needs_the_sensor(tmp_path):
    numbered(tmp_path / "a.tif", 2, names=("B4", "B5"))
    with pytest.raises(SceneError, match=r"toy: no band red; it has B4.*, B5.*bands: \{red: ") as caught:
        opened(tmp_path, {"uri": "a.tif"}, ["red"])
    assert "\n" not in str(caught.value)


def test_the_catalog_gives_band_numbers_and_files(tmp_path):
    numbered(tmp_path / "a.tif", 3)
    numbered(tmp_path / "b.tif", 2)
    entry = {"uri": "a.tif", "bands": {"red": 3, "blue": {"uri": "b.tif", "band": 2}, "nir": 1}}
    scene = opened(tmp_path, entry, ["nir", "red", "blue"])
    assert first_pixel(scene) == [1, 3, 2]
    assert [b.name for b in scene.bands] == ["nir", "red", "blue"]


def test_a_folder_holds_one_file_for_each_band(tmp_path):
    for number, name in enumerate(
        ["S2_B02_10m.tif", "S2_B03_10m.TIF", "S2_B8A_20m.tiff", "S2_TCI.tif"], start=1
    ):
        write_raster(tmp_path / "scene" / name, np.full((1, 4, 4), number, np.uint16))
    (tmp_path / "scene" / "B04.txt").write_text("no raster")
    scene = opened(tmp_path, {"uri": "scene"}, ["nir08", "green", "blue"])
    assert first_pixel(scene) == [3, 2, 1]
    assert scene.bands[0].name == "B8A"


def test_a_folder_without_band_files_is_told(tmp_path):
    numbered(tmp_path / "scene" / "picture.tif")
    with pytest.raises(SceneError, match=r"scene: no file in this folder is named after a band"):
        opened(tmp_path, {"uri": "scene"})


def test_a_folder_goes_before_relative_files_only(tmp_path):
    numbered(tmp_path / "deep" / "a.tif", 2)
    elsewhere = numbered(tmp_path / "elsewhere.tif", 3)
    entry = {"folder": "deep", "bands": {"red": {"uri": "a.tif", "band": 2}, "nir": str(elsewhere)}}
    assert first_pixel(opened(tmp_path, entry)) == [2, 1]


@pytest.mark.parametrize("absolute", [False, True])
def test_a_mask_file_is_found_like_a_band_file(tmp_path, absolute):
    numbered(tmp_path / "deep" / "a.tif")
    mask = write_raster(tmp_path / "deep" / "q.tif", np.eye(4, dtype=np.uint8))
    entry = {
        "folder": "deep",
        "bands": {"red": "a.tif"},
        "mask": MaskEntry(uri=str(mask) if absolute else "q.tif", invalid_values=(1,)),
    }
    scene = opened(tmp_path, entry)
    assert (scene.read(Window.of(0, 0, 4, 4)).valid == (np.eye(4) == 0)).all()


@pytest.mark.parametrize("other", ["./a.tif", "soft.tif", "deep/../a.tif"])
def test_a_band_that_is_the_mask_by_another_path_is_no_alpha(tmp_path, other):
    """A clear alpha band of 0 hides all; as the quality band it is data, in which 0 is fine."""
    (tmp_path / "deep").mkdir()
    path = numbered(tmp_path / "a.tif", 2)
    with rasterio.open(path, "r+") as dst:
        dst.colorinterp = [ColorInterp.gray, ColorInterp.alpha]
        dst.write(np.zeros((4, 4), np.uint16), 2)
    (tmp_path / "soft.tif").symlink_to(path)
    mask = MaskEntry(uri=other, band=2, invalid_values=(1,))
    scene = opened(tmp_path, {"uri": "a.tif", "mask": mask})
    assert scene.read(Window.of(0, 0, 4, 4)).valid.all()


@pytest.mark.parametrize("folder", [None, "deep"])
def test_a_virtual_raster_by_name_lies_beside_the_document(tmp_path, monkeypatch, folder):
    numbered(tmp_path / (folder or ".") / "a.tif", 3)
    monkeypatch.chdir("/")
    assert first_pixel(opened(tmp_path, {"uri": "vrt://a.tif?bands=3,1", "folder": folder})) == [3, 1]


def test_a_mask_band_that_is_not_there_is_told(tmp_path):
    numbered(tmp_path / "a.tif")
    mask = MaskEntry(uri="a.tif", band=5, invalid_values=(1,))
    with pytest.raises(SceneError, match=r"a\.tif: has no band 5"):
        opened(tmp_path, {"bands": {"red": "a.tif"}, "mask": mask})


def test_bits_of_a_mask_that_is_not_of_whole_numbers_are_refused(tmp_path):
    numbered(tmp_path / "a.tif")
    write_raster(tmp_path / "q.tif", np.ones((1, 4, 4), np.float32))
    mask = MaskEntry(uri="q.tif", invalid_bits=(1,))
    with pytest.raises(SceneError, match=r"q\.tif"):
        opened(tmp_path, {"bands": {"red": "a.tif"}, "mask": mask}).read(Window.of(0, 0, 4, 4))


def test_a_mask_of_other_ground_is_refused(tmp_path):
    numbered(tmp_path / "a.tif")
    numbered(tmp_path / "q.tif", origin=(600_000.0, 4_500_000.0))
    with pytest.raises(SceneError, match=r"columns cover"):
        opened(tmp_path, {"bands": {"red": "a.tif"}, "mask": MaskEntry(uri="q.tif", invalid_values=(1,))})


def test_a_missing_band_is_told_with_what_there_is(tmp_path):
    numbered(tmp_path / "a.tif", 3, names=("B02", "rde", "nir"))
    with pytest.raises(
        SceneError, match=r"toy: no band red; did you mean 'rde'\?; it has B02 \(blue\), rde, nir\. .*bands:"
    ):
        opened(tmp_path, {"uri": "a.tif"}, ["red"])


def test_a_band_that_is_there_twice_is_ambiguous(tmp_path):
    numbered(tmp_path / "a.tif", 2, names=("red", "B04"))
    with pytest.raises(
        SceneError, match=r"toy: band red is there 2 times \(.*a\.tif band 1, .*a\.tif band 2\)"
    ):
        opened(tmp_path, {"uri": "a.tif"}, ["red"])


def test_a_band_number_beyond_the_file_is_told(tmp_path):
    numbered(tmp_path / "a.tif", 2)
    with pytest.raises(SceneError, match=r"a\.tif: has no band 3, only 2"):
        opened(tmp_path, {"uri": "a.tif", "bands": {"red": 3}})


def test_a_missing_file_is_told_with_its_path(tmp_path):
    with pytest.raises(SceneError, match=r"gone\.tif: no such file"):
        opened(tmp_path, {"uri": "gone.tif"})


def scaled(folder, scale=0.5, offset=0.25, nodata=9):
    path = numbered(folder / "a.tif", 2, names=("red", "nir"), nodata=nodata)
    with rasterio.open(path, "r+") as dst:
        dst.scales, dst.offsets = (scale, scale), (offset, offset)
    return path


def numbers(band):
    return band.scale, band.offset, band.nodata, band.declared


def test_scale_offset_and_nodata_come_from_the_file(tmp_path):
    scaled(tmp_path)
    assert numbers(opened(tmp_path, {"uri": "a.tif"}).bands[0]) == (0.5, 0.25, 9.0, True)


def test_the_scene_entry_wins_over_the_file(tmp_path):
    scaled(tmp_path)
    entry = {"uri": "a.tif", "scale": 2, "offset": 0, "nodata": 0}
    assert numbers(opened(tmp_path, entry).bands[0]) == (2.0, 0.0, 0.0, True)


def test_the_band_entry_wins_over_the_scene_entry(tmp_path):
    scaled(tmp_path)
    bands = {"red": {"band": 1, "scale": 3, "offset": 1, "nodata": 7}, "nir": 2}
    entry = {"uri": "a.tif", "bands": bands, "scale": 2, "offset": 0, "nodata": 0}
    red, nir = opened(tmp_path, entry).bands
    assert numbers(red) == (3.0, 1.0, 7.0, True)
    assert numbers(nir) == (2.0, 0.0, 0.0, True)


def test_without_a_declaration_numbers_stay_as_they_are(tmp_path):
    numbered(tmp_path / "a.tif")
    assert numbers(opened(tmp_path, {"uri": "a.tif"}).bands[0]) == (1.0, 0.0, None, False)


def test_a_declared_scale_of_one_is_a_declaration(tmp_path):
    numbered(tmp_path / "a.tif")
    assert numbers(opened(tmp_path, {"uri": "a.tif", "scale": 1}).bands[0]) == (1.0, 0.0, None, True)


def test_the_gsd_asked_for_wins_over_that_of_the_entry(tmp_path):
    write_raster(tmp_path / "a.tif", np.ones((1, 12, 12), np.uint8))
    assert opened(tmp_path, {"uri": "a.tif"}).shape == (12, 12)
    assert opened(tmp_path, {"uri": "a.tif", "gsd": 20}).shape == (6, 6)
    assert opened(tmp_path, {"uri": "a.tif", "gsd": 20}, gsd=30.0).shape == (4, 4)


def test_bands_not_asked_for_need_not_exist_nor_decide_the_grid(tmp_path):
    write_raster(tmp_path / "coarse.tif", np.ones((1, 6, 6), np.uint8), gsd=20)
    entry = {"bands": {"red": "coarse.tif", "nir": "gone.tif"}}
    assert opened(tmp_path, entry, ["red"]).shape == (6, 6)


def test_wavelengths_come_from_the_entry_or_the_common_name(tmp_path):
    numbered(tmp_path / "a.tif", 3)
    entry = {"uri": "a.tif", "bands": {"red": 1, "nir": {"band": 2, "wavelength_um": 0.9}, "odd": 3}}
    assert [b.wavelength_um for b in opened(tmp_path, entry).bands] == [0.665, 0.9, None]


def test_dark_object_subtraction_is_measured_when_the_scene_is_opened(tmp_path):
    planes = np.full((2, 8, 8), 3000, np.uint16)
    planes[:, 0, 0] = 900, 500
    write_raster(tmp_path / "a.tif", planes, names=("blue", "nir"))
    entry = {"uri": "a.tif", "scale": 0.0001, "radiometry": {"dark_object": {"atmosphere": "moderate"}}}
    scene = opened(tmp_path, entry)
    # 0.01 % of 64 pixels is the darkest one and 0.63 % of the way to the next.
    dark = 0.09 + 0.0063 * 0.21 - 0.01
    assert scene.haze[0] == pytest.approx(dark, abs=1e-5)
    assert scene.haze[1] == pytest.approx(min(0.05 + 0.0063 * 0.25 - 0.01, dark * 0.49 / 0.842), abs=1e-5)
    assert scene.bias.tolist() == pytest.approx([-h for h in scene.haze])
    assert opened(tmp_path, {"uri": "a.tif", "scale": 0.0001}).haze == ()


def test_dark_object_subtraction_needs_wavelengths(tmp_path):
    numbered(tmp_path / "a.tif", 2, names=("blue", "mystery"))
    with pytest.raises(SceneError, match=r"needs the wavelength of band mystery; say wavelength_um"):
        opened(tmp_path, {"uri": "a.tif", "radiometry": {"dark_object": True}})


def test_a_scene_is_opened_again_from_its_identity(tmp_path):
    numbered(tmp_path / "a.tif", 3, names=("blue", "red", "nir"), nodata=9)
    numbered(tmp_path / "qa.tif")
    mask = MaskEntry(uri="qa.tif", invalid_bits=[1, [0, 2]], invalid_values=[4])
    scene = opened(tmp_path, {"uri": "a.tif", "scale": 0.5, "mask": mask}, ["nir", "blue"], gsd=20)
    said = json.loads(json.dumps(scene.identity()))
    again, changed = reopen_scene(said)
    assert json.loads(json.dumps(again.identity())) == said
    assert not changed
    pixels = again.read(Window.of(0, 0, 2, 2))
    assert (pixels.values == scene.read(Window.of(0, 0, 2, 2)).values).all()
    os.utime(tmp_path / "a.tif", ns=(1, 1))
    assert reopen_scene(said)[1]
    (tmp_path / "a.tif").unlink()
    with pytest.raises(SceneError, match="no such file"):
        reopen_scene(said)


def test_a_zarr_store_is_no_folder_of_bands(tmp_path):
    (tmp_path / "cube.zarr").mkdir()
    (tmp_path / "cube.zarr" / "zarr.json").write_text("{}")
    with pytest.raises(SceneError, match=r"cube\.zarr: is a zarr store, and no folder of bands; .*ZARR:"):
        opened(tmp_path, {"uri": "cube.zarr"})
