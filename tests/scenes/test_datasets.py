import json
import warnings

import geopandas as gpd
import numpy as np
import pytest
import rasterio
from shapely import box

from geoseg.config.dataset import ChipsEntry, CityscapesEntry, ScenesEntry
from geoseg.config.legend import resolve_legend
from geoseg.core.errors import ConfigError, GeosegWarning, SceneError
from geoseg.core.geometry import Window
from geoseg.core.legend import IGNORE
from geoseg.scenes.datasets import resolve_dataset
from tests.conftest import BAND_NAMES, ROOT, UTM, reflectance, write_raster
from tests.training.worlds import LEGEND


def chips(folder, names=("a", "b"), size=32):
    for i, name in enumerate(names):
        write_raster(folder / f"images/{name}.tif", reflectance(size, size, i), crs=None)
        codes = np.full((size, size), 1 + i % 3, np.uint8)
        codes[0] = 0
        write_raster(folder / f"labels/{name}.tif", codes, crs=None)
    return ChipsEntry(kind="chips", bands=BAND_NAMES, scale=0.0001, gsd=30)


def test_chips_have_their_groups_bands_and_labels(tmp_path):
    entry = chips(tmp_path)
    (tmp_path / "groups.json").write_text(json.dumps({"a": 7, "b": 8}))
    entry = entry.model_copy(update={"groups": "groups.json"})
    found = resolve_dataset(entry, LEGEND, ["nir", "red"], str(tmp_path))
    assert [p.name for p in found] == ["a", "b"]
    assert [p.group for p in found] == ["7", "8"]
    pixels = found[1].read(Window.of(0, 0, 32, 32))
    with rasterio.open(tmp_path / "images/b.tif") as src:
        assert pixels.values == pytest.approx(src.read([4, 3]) * 1e-4, rel=1e-5)
    assert (pixels.channels[0] == IGNORE).all()
    assert (pixels.channels[1:] == 1).all()
    assert found[0].scene.gsd_m == 30


def photographs(folder, crs=None):
    for i, site in enumerate("ab"):
        for name in ("001", "002"):
            write_raster(folder / f"{site}/{name}.tif", reflectance(32, 32, i), crs=crs)
            write_raster(folder / f"labels/{name}.tif", np.ones((32, 32), np.uint8), crs=crs)
    entry = ChipsEntry(kind="chips", bands=BAND_NAMES, scale=0.0001, gsd=10)
    return entry.model_copy(update={"images": "?/*.tif"})


def test_one_label_for_images_of_several_folders_is_said(tmp_path):
    with pytest.warns(GeosegWarning, match=r"001\.tif: is the label of 2 images, such as a/001") as said:
        resolve_dataset(photographs(tmp_path), LEGEND, data=str(tmp_path))
    assert len(said) == 1
    assert "(2 files are shared so)" in str(said[0].message)


def test_images_that_lie_where_their_label_lies_may_share_it(tmp_path):
    with warnings.catch_warnings():
        warnings.simplefilter("error", GeosegWarning)
        assert len(resolve_dataset(photographs(tmp_path, UTM), LEGEND, data=str(tmp_path))) == 4


def test_a_class_whose_code_is_the_nodata_of_its_labels_is_said(tmp_path):
    entry = chips(tmp_path, names=("a", "b", "c"))
    for name in "ab":
        write_raster(tmp_path / f"labels/{name}.tif", np.ones((32, 32), np.uint8), crs=None, nodata=1)
    write_raster(tmp_path / "labels/c.tif", np.ones((32, 32), np.uint8), crs=None, nodata=0)
    with pytest.warns(GeosegWarning, match=r"a\.tif \(and 1 more\): its nodata is the code of water") as said:
        resolve_dataset(entry, LEGEND, data=str(tmp_path))
    assert len(said) == 1


def test_values_outside_the_valid_range_are_invalid(tmp_path):
    entry = chips(tmp_path).model_copy(update={"valid_range": (0.08, 0.35)})
    pixels = resolve_dataset(entry, LEGEND, data=str(tmp_path))[0].read(Window.of(0, 0, 32, 32))
    raw = resolve_dataset(chips(tmp_path), LEGEND, data=str(tmp_path))[0].read(Window.of(0, 0, 32, 32))
    outside = ((raw.values < 0.08) | (raw.values > 0.35)).any(axis=0)
    assert outside.any()
    assert not outside.all()
    assert (np.isnan(pixels.values).all(axis=0) == outside).all()
    assert (pixels.channels[outside] == IGNORE).all()


def test_a_code_outside_the_legend_is_named_with_its_pixels(tmp_path):
    entry = chips(tmp_path)
    write_raster(tmp_path / "labels/a.tif", np.full((32, 32), 77, np.uint8), crs=None)
    place = resolve_dataset(entry, LEGEND, data=str(tmp_path))[0]
    with pytest.raises(SceneError, match=r"a.tif: label values outside the legend: 77 \(1024 px\)"):
        place.read(Window.of(0, 0, 32, 32))


def test_missing_data_say_how_to_name_their_folder(tmp_path):
    with pytest.raises(SceneError, match="--set data=FOLDER"):
        resolve_dataset(
            "hls-worldcover", LEGEND, data=str(tmp_path / "none"), catalog=ROOT / "data_catalog.yaml"
        )
    with pytest.raises(SceneError, match="no image matches"):
        resolve_dataset(ChipsEntry(kind="chips"), LEGEND, data=str(tmp_path))
    entry = chips(tmp_path)
    (tmp_path / "labels/b.tif").unlink()
    with pytest.raises(SceneError, match=r"labels/b.tif: no such file"):
        resolve_dataset(entry, LEGEND, data=str(tmp_path))


def test_an_unknown_data_set_is_named(tmp_path):
    with pytest.raises(ConfigError, match="did you mean 'hls-worldcover'"):
        resolve_dataset("hls-worldcove", LEGEND, catalog=ROOT / "data_catalog.yaml")


def test_scenes_take_raster_and_polygon_labels(tmp_path):
    image = write_raster(tmp_path / "scene.tif", reflectance(40, 50), names=BAND_NAMES, scale=0.0001)
    codes = np.ones((40, 50), np.uint8)
    codes[:, 25:] = 2
    write_raster(tmp_path / "labels.tif", codes)
    left, top = 500_000.0, 4_500_000.0
    frame = gpd.GeoDataFrame(
        {"kind": ["Water", "tree"]},
        geometry=[box(left, top - 400, left + 250, top), box(left + 250, top - 400, left + 500, top)],
        crs=UTM,
    )
    frame.to_file(tmp_path / "labels.gpkg")
    entry = ScenesEntry.model_validate(
        {
            "kind": "scenes",
            "scenes": [
                {"scene": "scene.tif", "labels": "labels.tif", "part": "train"},
                {"scene": {"uri": image.name}, "labels": "labels.gpkg", "attribute": "kind", "group": "x"},
            ],
        }
    )
    found = resolve_dataset(entry, LEGEND, data=str(tmp_path))
    assert [p.part for p in found] == ["train", None]
    assert [p.group for p in found] == ["scene 1", "x"]
    assert [p.name for p in found] == ["scene.tif", "scene 2"]
    both = [p.read(Window.of(0, 0, 40, 50)).channels for p in found]
    assert (both[0] == codes - 1).all()
    assert (both[1] == both[0]).all()


def test_labels_of_a_scene_may_be_a_picture_in_the_colours_of_the_legend(tmp_path):
    write_raster(tmp_path / "scene.tif", reflectance(20, 30), names=BAND_NAMES, scale=0.0001)
    codes = np.ones((20, 30), np.uint8)
    codes[:, 10:] = 3
    colors = {c.id: c.color for c in LEGEND.classes}
    table = np.zeros((4, 3), np.uint8)
    for number, color in colors.items():
        table[number] = list(bytes.fromhex(color[1:]))
    write_raster(tmp_path / "labels.tif", np.moveaxis(table[codes], -1, 0), photometric="RGB")
    entry = ScenesEntry.model_validate(
        {"kind": "scenes", "scenes": [{"scene": "scene.tif", "labels": "labels.tif"}]}
    )
    place = resolve_dataset(entry, LEGEND, data=str(tmp_path))[0]
    assert (place.read(Window.of(0, 0, 20, 30)).channels == codes - 1).all()


def cityscapes(folder, parts=(("train", "aachen"), ("train", "bochum"), ("val", "lindau"))):
    """Photographs in the official layout: name_SEQUENCE_FRAME, label ids 7 (road) and 23 (sky)."""
    rng = np.random.default_rng(0)
    for part, city in parts:
        stem = f"{city}_000000_000019"
        codes = np.full((64, 128), 7, np.uint8)
        codes[:32] = 23
        codes[0] = 0
        image = np.where(codes == 23, 200, 80) + rng.integers(-20, 20, (3, 64, 128))
        for path, values in (
            (folder / f"leftImg8bit/{part}/{city}/{stem}_leftImg8bit.png", image.astype(np.uint8)),
            (folder / f"gtFine/{part}/{city}/{stem}_gtFine_labelIds.png", codes[None]),
        ):
            path.parent.mkdir(parents=True, exist_ok=True)
            with rasterio.open(
                path, "w", driver="PNG", count=len(values), height=64, width=128, dtype="uint8"
            ) as dst:
                dst.write(values)
    return folder


def test_cityscapes_folders_have_official_parts_and_train_ids(tmp_path, monkeypatch):
    monkeypatch.chdir(ROOT)
    legend = resolve_legend("cityscapes")
    assert len(legend.classes) == 19
    # Label ids 0 to 33 all have a meaning; -1 (licence plate) does not fit the uint8 files.
    known = {c for codes in legend.remap.codes for c in codes} | set(legend.ignore)
    assert known == set(range(34))
    found = resolve_dataset(CityscapesEntry(kind="cityscapes"), legend, data=str(cityscapes(tmp_path)))
    assert [(p.part, p.group) for p in found] == [
        ("train", "train/aachen"), ("train", "train/bochum"), ("val", "val/lindau"),
    ]  # fmt: skip
    pixels = found[0].read(Window.of(0, 0, 64, 128))
    assert pixels.values.shape == (3, 64, 128)
    assert 0 <= pixels.values.min() <= pixels.values.max() <= 1
    assert [int(v) for v in np.unique(pixels.channels)] == [0, 10, IGNORE]


def test_an_empty_cityscapes_folder_says_what_is_expected(tmp_path):
    with pytest.raises(SceneError, match="no pair of leftImg8bit/PART/CITY"):
        resolve_dataset(CityscapesEntry(kind="cityscapes"), LEGEND, data=str(tmp_path))
