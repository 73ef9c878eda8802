"""How far pixels are from the training pixels: the layer of a run, its counts, and who has none."""

import json
import zipfile

import geopandas
import numpy as np
import pytest
import rasterio
import shapely

import geoseg
from geoseg.core.errors import ConfigError
from geoseg.core.run_files import RunFile
from geoseg.models.strangeness import gauge_of
from geoseg.runs.prepare import prepare
from geoseg.runs.validate import validate
from tests.conftest import BAND_NAMES, make_bundle, reflectance, write_pipeline, write_raster
from tests.heads import label_bundle, regression_bundle

COVARIANCE = (0.01 * np.eye(4)).tolist()
KNOWN = {"covariance": COVARIANCE, "strangeness": {"distance": 3.0}}
LINES = ("tiling: {tile: 64}", "inference: {backend: torch, precision: fp32}", "checks: {statistics: warn}")


@pytest.fixture(scope="module")
def numbers():
    """Reflectance with nodata in its middle, and a bright patch that no training pixel is like."""
    numbers = reflectance(230, 260)
    numbers[:, 60:90, 100:180] = 0
    numbers[:2, 80:120, 20:130] = 6000
    return numbers


@pytest.fixture(scope="module")
def place(tmp_path_factory, numbers, small_pictures):
    """A scene, and a bundle and a pipeline of each kind of network."""
    folder = tmp_path_factory.mktemp("strange")
    write_raster(folder / "scene.tif", numbers, names=BAND_NAMES, scale=0.0001, nodata=0)
    make_bundle(folder / "classes", **KNOWN)
    label_bundle(folder / "labels", **KNOWN)
    regression_bundle(folder / "values", **KNOWN)
    for name in ("classes", "labels", "values"):
        (folder / f"of-{name}").mkdir()
        write_pipeline(folder / f"of-{name}", folder / "scene.tif", folder / name, *LINES)
    return folder


def run(place, name, out, **changes):
    changes = {"outputs.polygons": []} | {key.replace("__", "."): v for key, v in changes.items()}
    return geoseg.run(place / f"of-{name}/pipeline.yaml", output=place / out, progress=False, **changes)


@pytest.fixture(scope="module")
def found(place):
    return run(place, "classes", "found", outputs__strangeness=True, tiling__block=1)


def read(path):
    with rasterio.open(path) as src:
        return src.read(1)


@pytest.fixture(scope="module")
def expected(place, numbers):
    """Levels of the whole scene at once, 255 where there is no data."""
    gauge = gauge_of(geoseg.open_bundle(place / "classes").card)
    return gauge.levels(numbers, (numbers > 0).all(axis=0), np.float32(1e-4), 0.0)


def test_the_layer_is_that_of_the_whole_scene_in_every_block_size(place, found, expected):
    layer = read(found.folder / "strangeness.tif")
    seen = expected < 255
    assert ((layer != 255) == seen).all()
    assert (np.rint(layer[seen] * 100) == expected[seen]).all()
    plain = run(place, "classes", "plain", tiling__block=3)
    other = run(place, "classes", "other", tiling__block=2, inference__batch=3, outputs__strangeness=True)
    assert read(other.folder / "strangeness.tif").tobytes() == layer.tobytes()
    for name in ("classes.tif", "confidence.tif"):
        assert read(plain.folder / name).tobytes() == read(found.folder / name).tobytes()
    assert "strangeness" not in plain.record.identity
    assert found.record.identity["strangeness"] is True
    assert plain.record.strangeness == found.record.strangeness


def test_pixels_without_data_do_not_count(found, expected, numbers):
    said = found.record.strangeness
    assert (
        said.measured
        == (numbers > 0).all(axis=0).sum()
        == found.record.pixels["class-1"] + (found.record.pixels["class-2"] + found.record.pixels["class-3"])
    )
    assert said.unlike == ((expected > 100) & (expected < 255)).sum() > 2000
    assert said.share == round(said.unlike / said.measured, 6)


def test_every_file_of_the_run_tells_of_it(found, geoseg_here):
    assert validate(found.folder).failures == []
    item = json.loads((found.folder / "item.json").read_text())
    assert item["assets"]["strangeness"]["title"].startswith("How far each pixel is")
    assert "strangeness.qml" in item["assets"]
    page = (found.folder / "report.html").read_text()
    assert 'id="layer-strangeness"' in page
    assert 'value="strangeness"' in page
    assert "Unlike the training" in page
    told = json.loads(geoseg_here("inspect", found.folder, "--json").stdout)
    assert told["strangeness"] == found.record.strangeness.model_dump()
    with zipfile.ZipFile(found.folder / RunFile.PROJECT) as project:
        assert b">Unlike the training<" in project.read("run.qgs")
    lazy = found.strangeness()
    assert (lazy.dtype, lazy.attrs["long_name"]) == ("float32", "distance from the training pixels")
    assert int((lazy > 1.005).sum()) == found.record.strangeness.unlike
    assert bool(lazy.isnull().any())


def test_a_layer_that_was_changed_is_found(place, found, tmp_path):
    def failures(change):
        with rasterio.open(found.folder / "strangeness.tif") as src:
            kept = src.read()
        try:
            with rasterio.open(found.folder / "strangeness.tif", "r+", IGNORE_COG_LAYOUT_BREAK="YES") as dst:
                dst.write(change(kept.copy()))
            of = [f for f in validate(found.folder).failures if f.file == "strangeness.tif"]
            return {f.what for f in of}
        finally:
            with rasterio.open(found.folder / "strangeness.tif", "r+", IGNORE_COG_LAYOUT_BREAK="YES") as dst:
                dst.write(kept)

    assert "pixels unlike the training pixels" in failures(lambda v: np.where(v == 255, v, 0.5))
    assert "values" in failures(lambda v: np.where(v == 255, v, v + 2.6))
    assert "nodata" in failures(lambda v: np.where(v == 255, 0.5, v))


@pytest.mark.parametrize(("name", "map_name"), [("labels", "labels.tif"), ("values", "values.tif")])
def test_maps_of_labels_and_numbers_have_the_layer(place, found, name, map_name):
    made = run(place, name, f"out-{name}", outputs__strangeness=True, tiling__block=2)
    layer = read(made.folder / "strangeness.tif")
    assert layer.tobytes() == read(found.folder / "strangeness.tif").tobytes()
    assert made.record.strangeness == found.record.strangeness
    assert validate(made.folder).failures == []
    assert 'value="strangeness"' in (made.folder / "report.html").read_text()
    assert (made.folder / map_name).exists()


def test_the_area_of_interest_alone_is_measured(place, found, expected):
    box = "POLYGON((500400 4498200, 501800 4498200, 501800 4499600, 500400 4499600, 500400 4498200))"
    area = geopandas.GeoSeries([shapely.from_wkt(box)], crs=32633)
    area.to_file(place / "aoi.gpkg")
    made = run(place, "classes", "part", outputs__strangeness=True, aoi=str(place / "aoi.gpkg"))
    (part,) = read(made.folder / "strangeness.tif")[None]
    with rasterio.open(made.folder / "strangeness.tif") as src:
        row, col = (round(n) for n in ((4_500_000 - src.bounds.top) / 10, (src.bounds.left - 500_000) / 10))
    there = expected[row : row + part.shape[0], col : col + part.shape[1]]
    inside = part != 255
    assert inside.sum() == made.record.strangeness.measured > 10_000
    assert (np.rint(part[inside] * 100) == there[inside]).all()
    assert validate(made.folder).failures == []


def test_a_map_that_the_sample_did_not_tell_of_is_told_in_its_record(place, monkeypatch):
    changes = {"checks.statistics": "warn", "checks.strangeness": {"warn": 0.02}}
    text = "of its pixels are unlike the training pixels of toy"
    told = run(place, "classes", "told", **changes)
    assert sum(text in w for w in told.record.warnings) == 1
    monkeypatch.setattr("geoseg.inference.checks._share_unlike", lambda *_: 0.0)
    alone = run(place, "classes", "alone", **changes)
    assert sum(text in w for w in alone.record.warnings) == 1
    off = run(place, "classes", "off", **changes | {"checks.statistics": "off"})
    assert not any(text in w for w in off.record.warnings)


def test_a_bundle_that_does_not_say_how_its_pixels_vary_has_none(place, pipeline_file, tmp_path, geoseg_here):
    with pytest.raises(ConfigError, match="the card of toy does not say how its training pixels vary"):
        prepare(pipeline_file, ["outputs.strangeness=true"])
    made = geoseg.run(pipeline_file, progress=False, outputs={"polygons": []})
    assert made.record.strangeness is None
    shown = json.loads(geoseg_here("models", "show", made.record.pipeline["model"], "--json").stdout)
    assert shown["strangeness"] == "not measured"
    shown = json.loads(geoseg_here("models", "show", place / "classes", "--json").stdout)
    assert shown["strangeness"] == {"distance": 3.0, "texture": None}


def test_the_layer_of_an_array_is_that_of_a_run(place, found):
    scene = geoseg.open_scene(place / "scene.tif")
    made = geoseg.segment(scene, place / "classes", tile=64, outputs=["class", "strangeness"], checks="warn")
    assert np.array_equal(made["strangeness"], found.strangeness(), equal_nan=True)
    assert np.array_equal(made["class"], found.classes())
    heights = geoseg.segment(scene, place / "values", tile=64, outputs=["strangeness"], checks="off")
    assert list(heights.data_vars) == ["strangeness"]
    assert np.array_equal(heights["strangeness"], found.strangeness(), equal_nan=True)
    shares = geoseg.segment(
        scene, place / "classes", tile=64, outputs=["probability", "strangeness"], checks="off"
    )
    assert shares["probability"].shape[0] == 3
    assert float(shares["probability"].sum("class_name").max()) == pytest.approx(1, abs=0.03)


def test_an_array_of_a_bundle_without_it_is_refused(bundle, place):
    with pytest.raises(ConfigError, match="outputs: strangeness: the card of toy does not say"):
        geoseg.segment(geoseg.open_scene(place / "scene.tif"), bundle, outputs=["strangeness"], checks="off")
