import json

import jsonschema
import pytest
import yaml

from geoseg.config.schema import DOCUMENTS, schema
from tests.conftest import ROOT

FILES = {
    "pipeline": "pipelines/*.yaml",
    "training": "configs/training/*.yaml",
    "legend": "configs/legends/*.yaml",
    "cluster": "configs/clusters/*.yaml",
    "catalog": "data_catalog.yaml",
}


def problems(kind, document):
    validator = jsonschema.Draft202012Validator(schema(kind))
    return [e.message for e in validator.iter_errors(json.loads(json.dumps(document, default=str)))]


@pytest.mark.parametrize("kind", DOCUMENTS)
def test_the_shipped_documents_follow_the_schemas(kind):
    jsonschema.Draft202012Validator.check_schema(schema(kind))
    paths = list(ROOT.glob(FILES[kind]))
    assert paths
    for path in paths:
        assert problems(kind, yaml.safe_load(path.read_text())) == []


def test_short_forms_are_known_to_the_schemas_and_mistakes_are_not():
    bands = {"red": "b4.tif", "nir": 8}
    short = {"name": "x", "model": "m", "scene": {"uri": "x.tif", "bands": bands}, "checks": {"gsd": False}}
    short["outputs"] = {"folder": "out"}
    assert problems("pipeline", {**short, "vectorize": {"instances": "watershed"}}) == []
    assert problems("pipeline", {**short, "tilling": {}})
    assert problems("pipeline", {**short, "vectorize": {"instances": "watersheds"}})


def test_every_key_of_a_pipeline_that_has_a_docstring_is_explained():
    described = schema("pipeline")["$defs"]["Tiling"]["properties"]["block"]["description"]
    assert described == "Tiles along the side of a block, the work of one task."
