from functools import partial

import pytest
import rasterio

from geoseg.config.pipeline import Instances
from geoseg.core.errors import ConfigError
from geoseg.core.legend import Legend, LegendClass
from geoseg.runs.prepare import prepare
from geoseg.runs.run import Options, run
from geoseg.vector import vectorize
from geoseg.vector.objects import Components, Objects, Watershed, resolve_objects
from geoseg.vector.shape import instances
from tests.conftest import reflectance, write_pipeline, write_raster

LEGEND = Legend(tuple(LegendClass(i, s, s, "#000000") for i, s in ((4, "house"), (0, "road"), (2, "edge"))))


def resolved(gsd=0.5, **wanted):
    return resolve_objects(Instances(**wanted), LEGEND, gsd)


def test_names_become_ids_and_metres_pixels():
    wanted = {"method": "watershed", "classes": ("house",), "minimum_distance": 8, "depth": 1}
    assert resolved(**wanted) == Objects(frozenset([4]), Watershed(16, 2), None)
    assert resolved(gsd=4, **wanted).method == Watershed(2, 0.25)


def test_no_classes_mean_all_but_the_boundary():
    assert resolved(method="components") == Objects(frozenset([0, 2, 4]), Components(), None)
    assert resolved(method="components", boundary="edge") == Objects(frozenset([0, 4]), Components(), 2)


def test_without_a_crs_distances_stay_automatic():
    assert resolved(gsd=None, method="watershed").method == Watershed(0, 1)


NO_CLASS = (
    "vectorize.instances.{}: the model has no class {!r}; did you mean {!r}? (it has house, road, edge)"
)
NO_CRS = (
    "vectorize.instances: distances are in metres, but the scene has no CRS; leave minimum_distance at 0 and "
    "depth at auto"
)


@pytest.mark.parametrize(
    ("wanted", "message"),
    [
        ({"classes": ("huose",)}, NO_CLASS.format("classes", "huose", "house")),
        ({"boundary": "Edge"}, NO_CLASS.format("boundary", "Edge", "edge")),
        ({"gsd": None, "minimum_distance": 3}, NO_CRS),
        ({"gsd": None, "depth": 3}, NO_CRS),
    ],
)
def test_what_the_map_lacks_is_told(wanted, message):
    with pytest.raises(ConfigError) as caught:
        resolved(method="watershed", **wanted)
    assert str(caught.value) == message


@pytest.mark.parametrize(
    ("assigned", "message"),
    [
        ("vectorize.instances=watershd", "input should be 'components' or 'watershed'"),
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
    monkeypatch.setattr(vectorize, "write_instances", strict)
    prepared = prepare(pipeline_file, ["vectorize.instances=watershed", "outputs.instances=true"])
    manifest = run(prepared).record.model_dump(mode="json")
    assert "left in one piece" in manifest["warnings"][len(prepared.warnings)]
