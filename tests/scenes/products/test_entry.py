import os
from pathlib import Path

import numpy as np
import pytest

from geoseg.config.scene import SceneEntry
from geoseg.core.errors import SceneError
from geoseg.core.geometry import Window
from geoseg.scenes.opening import open_scene, reopen_scene
from geoseg.scenes.products import complete, entry
from geoseg.scenes.products.entry import read_product
from geoseg.scenes.products.place import Folder
from tests.conftest import reflectance, write_raster
from tests.scenes.products.makers import (
    numbers,
    of_numbers,
    opened,
    physical,
    write_hls,
    write_landsat,
    write_planet,
    write_safe,
    write_tif,
    zipped,
)


@pytest.fixture(scope="module")
def safe(tmp_path_factory):
    return write_safe(tmp_path_factory.mktemp("safe"))


def completed(safe, **keys):
    return complete(SceneEntry.model_validate({"uri": str(safe[0]), **keys}), safe[0].parent)


def test_a_product_alone_is_the_entry_that_its_reader_returns(safe):
    assert completed(safe) == read_product(str(safe[0]))


def test_no_mask_is_a_key_too(safe):
    assert completed(safe, mask=None).mask is None
    assert completed(safe).mask is not None


def test_a_mask_from_a_model_joins_that_of_the_product(safe):
    mask = {"model": "clouds", "invalid": ["cloud"]}
    found = completed(safe, mask=mask)
    assert found.masks == completed(safe).masks
    assert [m.model for m in found.model_masks] == ["clouds"]
    assert completed(safe, mask={**mask, "alone": True}).masks == ()


def test_scale_of_the_scene_wins_over_that_of_every_band(safe):
    found, valid = physical(safe[0], "red", "swir16", scale=0.5, mask=None)
    np.testing.assert_array_equal(found[0][valid], of_numbers(safe[1]["B04"], 0.5, -0.1)[valid])
    assert [b.scale for b in opened(safe[0], "red", "swir16", scale=0.5).bands] == [0.5, 0.5]


@pytest.mark.parametrize("name", ["swir16", "B11", "swir1"])
def test_keys_of_a_band_win_one_by_one_by_either_of_its_names(safe, name):
    bands = opened(safe[0], "swir16", "red", bands={name: {"nodata": 5}}).bands
    assert [(b.scale, b.offset, b.nodata, b.saturated) for b in bands] == [
        (0.0001, -0.1, 5, 65535), (0.0001, -0.1, 0, 65535),
    ]  # fmt: skip


def test_a_band_of_another_file_takes_the_place_of_the_products(safe, tmp_path):
    own = numbers(99, 10)
    write_tif(tmp_path / "own.tif", own, 10)
    scene = open_scene(
        SceneEntry.model_validate(
            {"uri": str(safe[0]), "bands": {"red": "own.tif", "dem": "own.tif"}, "mask": None}
        ),
        "toy",
        tmp_path,
        ["red", "dem"],
    )
    assert [(b.scale, b.offset, b.declared) for b in scene.bands] == [(0.0001, -0.1, True), (1, 0, False)]
    assert {b.source.path for b in scene.bands} == {str(tmp_path / "own.tif")}


def test_a_mask_of_ones_own_lies_relative_to_the_document(safe, tmp_path):
    own = np.tile(np.array([[1, 2]], "uint8"), (120, 60))
    write_tif(tmp_path / "masks" / "own.tif", own, 10)
    for keys in (
        {"mask": {"uri": "masks/own.tif", "invalid_values": [2]}},
        {"folder": "masks", "mask": {"uri": "own.tif", "invalid_values": [2]}},
    ):
        scene = open_scene(SceneEntry.model_validate({"uri": str(safe[0]), **keys}), "toy", tmp_path, ["red"])
        valid = scene.read(Window.of(0, 0, *scene.shape)).valid
        np.testing.assert_array_equal(valid, (own == 1) & ~np.isin(safe[1]["B04"], (0, 65535)))


def test_a_product_lies_in_the_folder_of_the_entry(safe):
    keys = SceneEntry(uri=safe[0].name, folder=safe[0].parent.name)
    assert complete(keys, safe[0].parent.parent).bands == completed(safe).bands
    assert complete(SceneEntry(uri=safe[0].name), safe[0].parent).bands == completed(safe).bands


@pytest.mark.parametrize("keys", [{}, {"folder": "."}, {"mask": {"uri": "scl.tif", "invalid_values": [3]}}])
def test_a_relative_folder_of_a_document_counts_once(safe, monkeypatch, keys):
    monkeypatch.chdir(safe[0].parent.parent)
    write_tif(safe[0].parent / "scl.tif", np.zeros((120, 120), np.uint8), 10)
    entry = SceneEntry.model_validate({"uri": safe[0].name, **keys})
    scene = open_scene(entry, "toy", Path(safe[0].parent.name), ["red"])
    assert scene.bands[0].source.path.startswith(str(safe[0]))
    assert len(scene.masks) == 1


def test_other_keys_stay(safe):
    found = completed(safe, title="Norfolk", gsd=20, datetime="2024-06-02", sensor="sentinel-2")
    assert (found.title, found.gsd, found.datetime.day, found.sensor) == ("Norfolk", 20, 2, "sentinel-2")


def test_bands_by_hand_without_a_uri_are_no_product(tmp_path):
    own = SceneEntry.model_validate({"bands": {"red": "a.tif"}})
    assert complete(own, tmp_path) is own


def test_a_scene_of_a_product_opens_again_from_its_identity(safe):
    scene = opened(safe[0], "red", "swir16")
    again, changed = reopen_scene(scene.identity())
    whole = Window.of(0, 0, *scene.shape)
    assert not changed
    np.testing.assert_array_equal(scene.read(whole).values, again.read(whole).values)
    np.testing.assert_array_equal(scene.read(whole).valid, again.read(whole).valid)


# Archives that are no product


def test_the_only_raster_of_an_archive_is_the_scene(tmp_path):
    values = reflectance(20, 30)
    write_raster(tmp_path / "in" / "deep" / "scene.tif", values, names=("blue", "green", "red", "nir"))
    (tmp_path / "in" / "readme.txt").write_text("text")
    zipped(tmp_path / "in", tmp_path / "x.zip")
    np.testing.assert_array_equal(physical(tmp_path / "x.zip", "red")[0][0], values[2].astype(np.float32))


def test_an_archive_with_none_or_several_rasters_is_named(tmp_path):
    folder = tmp_path / "in"
    folder.mkdir()
    (folder / "readme.txt").write_text("text")
    zipped(folder, tmp_path / "x.zip")
    with pytest.raises(SceneError, match=r"x.zip: holds no product that is known, and no raster$"):
        read_product(str(tmp_path / "x.zip"))
    for name in ("a.tif", "b.jp2", "c.IMG"):
        (folder / name).touch()
    zipped(folder, tmp_path / "x.zip")
    with pytest.raises(
        SceneError,
        match=r"no product that is known; it holds 3 rasters, name one: /vsizip/\S+a.tif, \S+, and 1",
    ):
        read_product(str(tmp_path / "x.zip"))


# Folders


@pytest.mark.parametrize(
    "write", [write_safe, write_landsat, write_hls, lambda root: write_planet(root / "order" / "PSScene")]
)
def test_the_only_product_in_a_folder_is_the_scene(tmp_path, write):
    write(tmp_path)
    (tmp_path / "notes").mkdir()
    (tmp_path / "readme.txt").write_text("text")
    assert read_product(str(tmp_path)).product is not None


def test_a_folder_of_rasters_is_not_searched_for_products(tmp_path):
    write_hls(tmp_path)
    write_raster(tmp_path / "scene_B02.tif", reflectance(20, 20, bands=1))
    assert read_product(str(tmp_path)) is None
    assert [b.common_name for b in opened(tmp_path).bands] == ["blue"]


def test_a_search_of_folders_ends(tmp_path, monkeypatch):
    monkeypatch.setattr(entry, "_MOST_FOLDERS", 20)
    for i in range(5):
        (tmp_path / str(i)).mkdir()
        (tmp_path / str(i) / "loop").symlink_to(tmp_path)
    visited = []
    names = Folder.names
    monkeypatch.setattr(Folder, "names", lambda f: visited.append(f.path) or names(f))
    assert read_product(str(tmp_path)) is None
    assert len(set(visited)) <= 20


def test_a_plain_file_is_recognised_without_a_look_at_its_folder(tmp_path, monkeypatch):
    path = write_raster(tmp_path / "scene.tif", reflectance(20, 20))
    monkeypatch.setattr(Folder, "names", lambda _: pytest.fail("the folder was listed"))
    for name in ("scene.tif", "scene_B02.jp2", "x.vrt", "x.xml"):
        path.rename(tmp_path / name)
        path = tmp_path / name
        assert read_product(str(path)) is None


def test_a_folder_is_listed_once(tmp_path, monkeypatch):
    write_raster(tmp_path / "scene_B02.tif", reflectance(20, 20, bands=1))
    listings = []
    listdir = os.listdir
    monkeypatch.setattr("geoseg.scenes.products.place.os.listdir", lambda p: listings.append(p) or listdir(p))
    assert read_product(str(tmp_path)) is None
    assert len(listings) == 1


def test_a_plain_file_behind_a_url_is_recognised_without_a_request(monkeypatch):
    monkeypatch.setattr("geoseg.scenes.remote._get", lambda *_: pytest.fail("a request was made"))
    for uri in (
        "https://host/a/B04.tif",
        "https://host/a/b.tif?sig=1",
        "/vsicurl/https://host/a.tif",
        "s3://b/a.tif",
    ):
        assert read_product(uri) is None
