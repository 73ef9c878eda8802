"""Scenes that another network masks, lazily: `valid` holds the mask; `segment` gives the bytes of a run."""

import json

import dask
import numpy as np
import pytest

import geoseg
from geoseg.core.errors import ConfigError, GeosegWarning, PlanError
from geoseg.inference import plan
from geoseg.models.backends import load
from tests.conftest import BAND_NAMES, make_bundle, reflectance, write_pipeline, write_raster

HEIGHT, WIDTH = 230, 300
QUICK = {"outputs": {"polygons": []}, "checks": {"statistics": "off"}}
MASK = {"invalid": ["class-1"], "dilate": 1}


@pytest.fixture(scope="module", autouse=True)
def _small_blocks():
    """Many blocks of a tile, in runs and of arrays."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(plan, "BLOCK_PIXELS", 96)
        yield


@pytest.fixture(scope="module")
def clouds(tmp_path_factory):
    bands = [{"name": n, "common_name": n, "mean": 0.22, "std": 0.1} for n in ("nir", "red", "green", "blue")]
    tile = {"size": 96, "min": 64, "max": 512, "overlap": 16, "divisor": 32}
    folder = tmp_path_factory.mktemp("bundles") / "clouds"
    return make_bundle(folder, seed=5, name="clouds", bands=bands, tile=tile, gsd_m={"min": 10, "max": 20})


@pytest.fixture(scope="module")
def mask(clouds):
    return {"model": str(clouds.folder), **MASK}


@pytest.fixture(scope="module")
def scene(tmp_path_factory):
    numbers = reflectance(HEIGHT, WIDTH)
    numbers[:, :30, 40:75] = 0
    return write_raster(
        tmp_path_factory.mktemp("s") / "s.tif", numbers, names=BAND_NAMES, scale=1e-4, nodata=0
    )


def run(folder, entry, bundle, **changes):
    pipeline = write_pipeline(folder, json.dumps(entry), bundle.folder)
    return geoseg.run(pipeline, output=folder / "out", progress=False, **QUICK, **changes)


@pytest.fixture(scope="module")
def expected(tmp_path_factory, bundle, mask, scene):
    """A run with the mask."""
    return run(tmp_path_factory.mktemp("run"), {"uri": str(scene), "mask": mask}, bundle)


@pytest.fixture(scope="module")
def opened(scene, mask):
    return geoseg.open_scene(scene, mask=mask, chunks=100)


def test_an_opened_scene_gives_the_bytes_of_a_run(expected, opened, bundle, scene, mask):
    found = geoseg.segment(opened, bundle, checks="off")
    classes, confidence = dask.compute(found["class"], found.confidence)
    np.testing.assert_array_equal(classes, expected.classes())
    np.testing.assert_array_equal(confidence, expected.confidence())
    valid = opened.valid.values
    np.testing.assert_array_equal(valid, expected.classes().values != 255)
    assert 0.1 < valid.mean() < 0.95
    # Both networks stay loaded: blocks of both may come in turn.
    assert len(load._loaded) == 2
    # Chunks of others, and arrays in memory, have no scene that could be read instead.
    other = geoseg.segment(opened.chunk(y=77, x=-1), bundle, checks="off")["class"]
    np.testing.assert_array_equal(other, expected.classes())
    loaded = geoseg.open_scene({"uri": str(scene), "mask": mask}, chunks=None)
    assert isinstance(loaded.valid.data, np.ndarray)
    np.testing.assert_array_equal(loaded.valid, valid)


def test_only_the_tiles_of_a_mask_that_are_needed_are_predicted(opened, bundle, monkeypatch):
    blocks, predict = [], geoseg.notebook.graph.predict_block

    def counted(job, block):
        blocks.append((job.segmenter.sha256, block.name))
        return predict(job, block)

    monkeypatch.setattr("geoseg.notebook.graph.predict_block", counted)
    opened.valid[:60, :60].compute()
    assert 0 < len(blocks) <= 9  # of twelve: one for each pixel asked for, and its neighbours
    blocks.clear()
    opened.red.compute()
    geoseg.segment(opened, bundle)
    assert blocks == []


def test_inside_an_area_and_at_another_gsd(tmp_path, bundle, scene, mask):
    area = "SRID=32633;POLYGON((500300 4499900, 501900 4499500, 501000 4498100, 500300 4499900))"
    coarse = {**mask, "gsd": 20}
    whole = run(tmp_path, {"uri": str(scene), "mask": coarse}, bundle, aoi=area)
    opened = geoseg.open_scene(scene, mask=coarse, aoi=area)
    found = geoseg.segment(opened, bundle, checks="off")["class"]
    np.testing.assert_array_equal(found, whole.classes())
    assert (found != 255).any()
    np.testing.assert_array_equal(opened.valid, found != 255)


def test_members_of_a_mosaic_are_masked_each(tmp_path, bundle, mask):
    members = []
    for i in range(2):
        numbers = reflectance(100, 120, seed=i)
        origin = (500_000 + 600 * i, 4_500_000)
        path = write_raster(tmp_path / f"{i}.tif", numbers, names=BAND_NAMES, scale=1e-4, origin=origin)
        members.append(str(path))
    entry = {"mosaic": members, "mask": mask}
    whole = run(tmp_path, entry, bundle).classes()
    opened = geoseg.open_scene(entry, chunks=70)
    found = geoseg.segment(opened, bundle, checks="off")["class"]
    np.testing.assert_array_equal(found, whole)
    assert (found == 255).any()
    np.testing.assert_array_equal(opened.valid, found != 255)


def test_a_mask_joins_that_of_the_entry_or_stands_alone(tmp_path, scene, mask):
    quality = write_raster(tmp_path / "qa.tif", np.tile(np.arange(WIDTH, dtype=np.uint8) % 2, (HEIGHT, 1)))
    entry = {"uri": str(scene), "mask": {"uri": str(quality), "invalid_values": [1]}}
    known, found, none = (geoseg.open_scene(entry, mask=m).valid.values for m in (True, mask, False))
    alone = geoseg.open_scene(entry, mask={**mask, "alone": True}).valid.values
    np.testing.assert_array_equal(found, known & alone)
    assert alone[:, 1::2].any()
    assert (none | ~alone).all()


def test_what_is_wrong_is_told(scene, clouds, mask, bundle, tmp_path):
    with pytest.raises(ConfigError, match=r"open_scene: mask\.invalid: this key is required"):
        geoseg.open_scene(scene, mask={"model": str(clouds.folder)})
    with pytest.raises(ConfigError, match="clouds has no class 'cloud'"):
        geoseg.open_scene(scene, mask={**mask, "invalid": ["cloud"]})
    bright = write_raster(tmp_path / "d.tif", reflectance(80, 80), names=BAND_NAMES, scale=1e-3)
    with pytest.warns(GeosegWarning, match="where clouds knows"):
        opened = geoseg.open_scene(bright, mask=mask)
    with pytest.raises(PlanError, match="where toy knows"):
        geoseg.segment(opened, bundle)
