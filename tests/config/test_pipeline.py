import pytest
from pydantic import ValidationError

from geoseg.config.area import Box, Geometry
from geoseg.config.cluster import Local
from geoseg.config.pipeline import Pipeline
from geoseg.config.scene import SceneEntry

BASE = {"name": "toy", "scene": "s.tif", "model": "m", "outputs": {"folder": "out"}}


def test_what_is_left_out_is_automatic_and_strict():
    p = Pipeline.model_validate(BASE)
    assert (p.gsd, p.tiling.tile, p.tiling.overlap, p.tiling.block) == ("auto",) * 4
    assert (p.inference.device, p.inference.precision, p.inference.batch) == ("auto",) * 3
    assert (p.inference.augment, p.cluster) == ("none", "local")
    assert (p.checks.statistics, p.checks.gsd, p.checks.memory) == ("error",) * 3
    assert (p.vectorize.minimum_area, p.vectorize.simplify, p.vectorize.instances) == (0, 0, None)
    assert (p.outputs.confidence, p.outputs.probabilities, p.outputs.polygons) == (True, False, ("gpkg",))


def test_scene_and_cluster_may_be_written_out():
    p = Pipeline.model_validate({**BASE, "scene": {"uri": "a.tif"}, "cluster": {"workers": 3}})
    assert isinstance(p.scene, SceneEntry)
    assert p.cluster == Local(kind="local", workers=3)


SQUARE = {"type": "Polygon", "coordinates": [[[1, 2], [3, 2], [3, 4], [1, 2]]]}


@pytest.mark.parametrize(
    ("area", "expected"),
    [
        ({}, None),
        ({"aoi": "a.gpkg|layer=b"}, "a.gpkg|layer=b"),
        ({"aoi": [1, 2, 3, 4]}, (1, 2, 3, 4)),
        ({"bbox": [179, 2, -179, 4.5]}, (179, 2, -179, 4.5)),
        ({"aoi": {"bbox": [1, 2, 3, 4]}}, Box(bbox=(1, 2, 3, 4))),
        ({"aoi": SQUARE}, Geometry.model_validate(SQUARE)),
    ],
)
def test_an_area_of_interest_has_several_forms(area, expected):
    pipeline = Pipeline.model_validate({**BASE, **area})
    assert pipeline.area == expected
    assert Pipeline.model_validate(pipeline.model_dump(mode="json")).area == expected


@pytest.mark.parametrize(
    "area",
    [
        {"aoi": 5}, {"aoi": [1, 2, 3]}, {"aoi": [1, 4, 3, 2]}, {"aoi": [1, 2, 1, 4]},
        {"aoi": {"type": "Point"}}, {"aoi": {}}, {"bbox": [1, 2, 3, 91]}, {"bbox": "1,2,3,4"},
        {"bbox": [1, 2, 3, float("nan")]},
        {"bbox": [True, 2, 3, 4]}, {"bbox": [-400, 2, 3, 4]}, {"aoi": "a.gpkg", "bbox": [1, 2, 3, 4]},
    ],
)  # fmt: skip
def test_areas_that_are_none_are_refused(area):
    with pytest.raises(ValidationError):
        Pipeline.model_validate({**BASE, **area})


@pytest.mark.parametrize("device", ["auto", "cpu", "cuda", "cuda:1"])
def test_devices_that_exist(device):
    assert Pipeline.model_validate({**BASE, "inference": {"device": device}}).inference.device == device


@pytest.mark.parametrize(
    "change",
    [
        {"name": "a b"}, {"name": ""}, {"name": "a/b"}, {"gsd": 0}, {"gsd": "fine"}, {"extra": 1},
        {"tiling": {"tile": 0}}, {"tiling": {"overlap": 33}}, {"tiling": {"overlap": -2}},
        {"tiling": {"block": 0}}, {"tiling": {"tile": 12.5}}, {"tiling": {"tile": "Auto"}},
        {"inference": {"device": "gpu"}}, {"inference": {"device": "cuda:"}}, {"inference": {"batch": 0}},
        {"inference": {"precision": "fp8"}}, {"inference": {"augment": "all"}},
        {"checks": {"gsd": "ignore"}}, {"vectorize": {"simplify": -1}}, {"vectorize": {"minimum_area": -1}},
        {"outputs": {}}, {"outputs": {"folder": "o", "polygons": ["shp"]}}, {"cluster": {"kind": "slurm"}},
        {"cluster": {"workers": 0}}, {"vectorize": {"instances": "watershd"}},
        {"vectorize": {"instances": {"classes": ["a"]}}}, {"vectorize": {"instances": True}},
        {"vectorize": {"instances": {"method": "watershed", "minimum_distance": -1}}},
        {"vectorize": {"instances": {"method": "components", "minimum_distance": 5}}},
        {"vectorize": {"instances": {"method": "components", "depth": 1}}},
        {"vectorize": {"instances": {"method": "watershed", "classes": ["a", "b"], "boundary": "b"}}},
        {"objects": {"match": 0}}, {"objects": {"reach": "core"}}, {"vectorize": {"simplify": "2 m"}},
        {"vectorize": {"overlap": "keep", "rectangles": ["a"]}},
        {"vectorize": {"smooth": "px"}}, {"vectorize": {"minimum_area": "-1 px"}},
        {"vectorize": {"smooth": -1}}, {"vectorize": {"method": "chaikin"}},
        {"vectorize": {"minimum_confidence": 1.1}}, {"vectorize": {"low_confidence": -0.1}},
        {"vectorize": {"dissolve": True, "instances": "components"}},
    ],
)  # fmt: skip
def test_impossible_values_are_refused(change):
    with pytest.raises(ValidationError):
        Pipeline.model_validate({**BASE, **change})


@pytest.mark.parametrize("length", [0, 2, 2.5, "2 px", "2px", "1.5 px"])
def test_lengths_are_metres_or_pixels(length):
    p = Pipeline.model_validate(
        {**BASE, "vectorize": dict.fromkeys(("simplify", "smooth", "minimum_area"), length)}
    )
    assert (p.vectorize.simplify, p.vectorize.smooth, p.vectorize.minimum_area) == (length,) * 3
    assert Pipeline.model_validate_json(p.model_dump_json()) == p


def test_the_schema_can_be_told():
    assert "vectorize" in Pipeline.model_json_schema()["properties"]


def test_a_method_alone_means_all_classes():
    short, long = (
        Pipeline.model_validate({**BASE, "vectorize": {"instances": i}})
        for i in ("watershed", {"method": "watershed", "classes": [], "minimum_distance": 0, "depth": "auto"})
    )
    assert short == long
    assert short.vectorize.instances is not None


def test_a_level_written_off_without_quotes_is_understood(tmp_path):
    # YAML 1.1 reads a bare `off` as false.
    from geoseg.config.loader import load

    path = tmp_path / "p.yaml"
    path.write_text("name: a\nscene: s\nmodel: m\noutputs: {folder: o}\nchecks: {gsd: off}\n")
    assert load(path, Pipeline).checks.gsd == "off"


def test_an_empty_folder_is_not_the_current_one():
    with pytest.raises(ValidationError, match="at least 1 character"):
        Pipeline.model_validate({**BASE, "outputs": {"folder": ""}})
