"""A run whose polygons are asked for in every way, and what `geoseg validate` says of it."""

from functools import partial

import geopandas as gpd
import numpy as np
import pytest
import rasterio
from typer.testing import CliRunner

from geoseg.cli.app import app
from geoseg.core.errors import ConfigError
from geoseg.runs.prepare import prepare
from geoseg.runs.run import Options, run
from geoseg.vector.shape import instances
from tests.conftest import BAND_NAMES, read_manifest, reflectance, write_pipeline, write_raster

EVERYTHING = "{simplify: 1.5 px, smooth: 1 px, minimum_area: 20 px, dissolve: true}"
FORMATS = "outputs.polygons=[gpkg, parquet, fgb, geojson]"


@pytest.fixture(scope="module")
def scene(tmp_path_factory):
    """A scene with a hole of nodata."""
    values = reflectance(200, 180)
    values[:, 60:90, 50:120] = 0
    path = tmp_path_factory.mktemp("scene") / "scene.tif"
    return write_raster(path, values, names=BAND_NAMES, scale=1e-4, nodata=0)


def finished(folder, scene, bundle, *more):
    pipeline = write_pipeline(folder, scene, bundle.folder)
    return run(prepare(pipeline, [*more, "checks.statistics=off"])).folder


def is_content(folder):
    done = CliRunner().invoke(app, ["validate", str(folder)])
    assert done.exit_code == 0, done.stdout
    assert "polygons" in done.stdout


def test_every_way_at_once_in_every_format(tmp_path, scene, bundle):
    folder = finished(tmp_path, scene, bundle, f"vectorize={EVERYTHING}", FORMATS)
    is_content(folder)
    written = read_manifest(folder)["outputs"]
    with rasterio.open(folder / "classes.tif") as src:
        classes = src.read(1)
    for name in ("gpkg", "parquet", "fgb", "geojson"):
        path = folder / f"polygons.{name}"
        assert written[path.name]["bytes"] == path.stat().st_size
        frame = gpd.read_parquet(path) if name == "parquet" else gpd.read_file(path, layer=0)
        assert frame.class_id.is_unique
        assert set(frame.class_id) <= set(np.unique(classes).tolist())
        assert set(frame.geom_type) == {"MultiPolygon"}
        assert frame.is_valid.all()
        assert frame.area_m2.sum() == pytest.approx((classes != 255).sum() * 100, rel=0.01)
        assert frame.mean_confidence.between(0.3, 1).all()
    assert not [p.name for p in folder.iterdir() if "generalized" in p.name]


def test_confidence_is_that_of_the_map(tmp_path, scene, bundle):
    folder = finished(tmp_path, scene, bundle)
    is_content(folder)
    frame = gpd.read_file(folder / "polygons.gpkg", layer=0)
    with rasterio.open(folder / "classes.tif") as src:
        classes = src.read(1)
    with rasterio.open(folder / "confidence.tif") as src:
        percent = np.rint(src.read(1) * 100)
    pixels = frame.area_m2 / 100
    for value in np.unique(classes[classes != 255]).tolist():
        own = frame.class_id == value
        inside = percent[classes == value]
        assert pixels[own].sum() == inside.size
        assert (frame.mean_confidence * pixels)[own].sum() == pytest.approx(inside.sum() / 100, rel=1e-3)
        assert frame.min_confidence[own].min() == pytest.approx(inside.min() / 100)
        doubtful = (frame.low_confidence_share * pixels)[own].sum()
        assert doubtful == pytest.approx((inside < 50).sum(), abs=1)


@pytest.mark.parametrize(
    "wanted",
    [
        "{simplify: 15, smooth: 10}",
        "{simplify: 3 px, method: douglas-peucker}",
        "{smooth: 2 px, dissolve: true}",
        "{leave_out: [class-1]}",
        "{minimum_confidence: 0.6}",
        "{crs: 'EPSG:4326'}",
        "{instances: watershed, simplify: 1 px}",
        "{leave_out: [class-2], minimum_confidence: 0.5, simplify: 2 px, minimum_area: 9 px, crs: EPSG:3857}",
    ],
)
def test_validation_is_content_with_each_way(tmp_path, scene, bundle, wanted):
    is_content(finished(tmp_path, scene, bundle, f"vectorize={wanted}"))


@pytest.mark.parametrize("wanted", ["{leave_out: [class-1]}", "{crs: 'EPSG:4326'}", "{smooth: 2 px}"])
def test_a_polygon_that_was_lost_is_found_all_the_same(tmp_path, scene, bundle, wanted):
    folder = finished(tmp_path, scene, bundle, f"vectorize={wanted}")
    path = folder / "polygons.gpkg"
    frame = gpd.read_file(path, layer="toy")
    frame.drop(index=frame.area_m2.idxmax()).to_file(path, layer="toy")
    done = CliRunner().invoke(app, ["validate", str(folder)])
    assert done.exit_code == 1
    assert "polygons.gpkg: gaps: expected none, found" in done.stdout


def test_metres_without_a_crs_are_refused_before_anything_is_made(tmp_path, bundle):
    scene = write_raster(tmp_path / "s.tif", reflectance(90, 90), crs=None, names=BAND_NAMES, scale=1e-4)
    pipeline = write_pipeline(tmp_path, scene, bundle.folder)
    done = CliRunner().invoke(app, ["run", str(pipeline), "--set", "gsd=10", "--set", "vectorize.simplify=3"])
    assert done.exit_code != 0
    assert "vectorize.simplify: 3 is in metres, but the scene has no CRS" in done.stderr
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("assigned", "message"),
    [
        ("vectorize.instances=watershd", "components or watershed, not 'watershd'"),
        ("vectorize.instances={method: watershed, clases: [x]}", "unknown key; did you mean 'classes'?"),
        ("vectorize.instances={method: watershed, classes: [class-11]}", "did you mean 'class-1'?"),
        ("outputs.instances=true", "outputs.instances needs vectorize.instances"),
    ],
)
def test_a_pipeline_that_cannot_have_objects_is_refused_before_it_runs(pipeline_file, assigned, message):
    with pytest.raises(ConfigError) as caught:
        prepare(pipeline_file, [assigned])
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_scene_without_crs_has_no_metres(tmp_path, bundle):
    scene = write_raster(tmp_path / "s.tif", reflectance(64, 64), crs=None, scale=0.0001)
    entry = f"{{uri: {scene}, gsd: 10, bands: {{blue: 1, green: 2, red: 3, nir: 4}}}}"
    path = write_pipeline(tmp_path, entry, bundle.folder)
    with pytest.raises(ConfigError, match="the scene has no CRS"):
        prepare(path, ["vectorize.instances={method: watershed, minimum_distance: 30}"])


def test_a_run_writes_the_objects_that_were_asked_for(pipeline_file):
    wanted = ["vectorize.instances={method: watershed, classes: [class-1]}", "outputs.instances=true"]
    result = run(prepare(pipeline_file, wanted))
    with rasterio.open(result.folder / "classes.tif") as src:
        classes = src.read(1)
    with rasterio.open(result.folder / "instances.tif") as src:
        ids = src.read(1)
    assert ids.any()
    assert ((ids > 0) == (classes == 1)).all()
    assert "instances.tif" in result.record.model_dump(mode="json")["outputs"]
    plain = run(prepare(pipeline_file), Options(overwrite=True))
    assert not (plain.folder / "instances.tif").exists()


def test_what_is_noticed_about_objects_stands_in_the_manifest(pipeline_file, monkeypatch):
    strict = partial(instances.write_instances, largest=9)
    monkeypatch.setattr(instances, "write_instances", strict)
    plan = prepare(pipeline_file, ["vectorize.instances=watershed", "outputs.instances=true"])
    manifest = run(plan).record.model_dump(mode="json")
    assert "left in one piece" in manifest["warnings"][len(plan.warnings)]


def test_an_engineering_crs_gives_polygons_with_planar_measures(tmp_path, bundle):
    """The coordinates of a survey have no projection, so there is no scale to take out."""
    values = reflectance(64, 64)
    local = 'LOCAL_CS["site plan",UNIT["metre",1]]'
    scene = write_raster(tmp_path / "s.tif", values, crs=local, names=BAND_NAMES, scale=1e-4)
    folder = finished(tmp_path, scene, bundle)
    frame = gpd.read_file(folder / "polygons.gpkg", layer=0)
    assert frame.area_m2.tolist() == pytest.approx(frame.area.tolist())
    assert frame.area_m2.sum() == pytest.approx(64 * 64 * 100)
    areas = read_manifest(folder)["area_m2"]
    assert sum(areas.values()) == pytest.approx(64 * 64 * 100)
    is_content(folder)


LOCAL = "the CRS of the scene (site plan) has"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            "outputs.polygons=[geojson]",
            f"geojson needs a place on the earth, but {LOCAL} none; write gpkg, parquet or fgb",
        ),
        ("vectorize.crs=EPSG:4326", f"{LOCAL} no place on the earth to come from; leave it out"),
    ],
)
def test_an_engineering_crs_is_refused_where_polygons_need_the_earth(tmp_path, bundle, change, message):
    local = 'LOCAL_CS["site plan",UNIT["metre",1]]'
    scene = write_raster(tmp_path / "s.tif", reflectance(64, 64), crs=local, names=BAND_NAMES, scale=1e-4)
    pipeline = write_pipeline(tmp_path, scene, bundle.folder)
    with pytest.raises(ConfigError) as caught:
        prepare(pipeline, [change, "checks.statistics=off"])
    assert str(caught.value) == f"{change.partition('=')[0]}: {message}"
