import datetime as dt
import json
import math
import typing

import numpy as np
import pytest
from pydantic import BaseModel, TypeAdapter, ValidationError

from geoseg.config import fields
from geoseg.config.fields import Scale, Time, check_number
from geoseg.config.loader import load
from geoseg.config.pipeline import Pipeline
from geoseg.config.scene import SceneEntry
from geoseg.config.schema import DOCUMENTS, schema
from geoseg.core.errors import ConfigError, SceneError
from geoseg.models.card import Card

NUMBERS = [
    fields.Whole, fields.Count, fields.Side, fields.Overlap, fields.BandNumber, fields.Code, fields.ClassId,
    fields.Gpus, fields.Port, fields.Tries, fields.Seconds, fields.NonNegative, fields.Positive,
    fields.Finite, fields.Share, fields.Temperature, fields.Scale, fields.Offset, fields.Gsd, fields.Nodata,
]  # fmt: skip


@pytest.mark.parametrize("kind", NUMBERS)
@pytest.mark.parametrize("value", [True, False, np.True_, math.nan, math.inf, -math.inf, 10**400, "inf", "x"])
def test_no_type_of_number_takes_truth_values_or_what_has_no_end(kind, value):
    with pytest.raises(ValidationError):
        TypeAdapter(kind).validate_python(value)


@pytest.mark.parametrize("kind", NUMBERS)
def test_every_type_of_number_takes_the_text_that_yaml_makes_of_an_exponent(kind):
    assert TypeAdapter(kind).validate_python("0" if kind in (fields.Overlap, fields.Below1) else "1") in (
        0,
        1,
    )


def numbers_in(node, path=""):
    """Yield path and schema of every number in a JSON schema."""
    if isinstance(node, dict):
        if node.get("type") in ("number", "integer"):  # a key may be called so, too
            yield path, node
        for key, value in node.items():
            yield from numbers_in(value, f"{path}/{key}")
    elif isinstance(node, list):
        for i, value in enumerate(node):
            yield from numbers_in(value, f"{path}/{i}")


@pytest.mark.parametrize("kind", [*DOCUMENTS, "card"])
def test_every_number_of_a_document_has_bounds(kind):
    found = list(numbers_in(Card.model_json_schema() if kind == "card" else schema(kind)))
    assert found or kind == "legend"
    unbounded = [
        path
        for path, node in found
        if not {"const", "enum"} & node.keys()
        # Checked by functions of their own: sizes with a unit, and times that YAML reads to the base of 60.
        and not {"memory", "walltime"} & set(path.split("/"))
        and not (
            {"minimum", "exclusiveMinimum"} & node.keys() and {"maximum", "exclusiveMaximum"} & node.keys()
        )
    ]
    assert unbounded == []


def models(root, seen):
    """Collect a model and all models inside it."""
    if root not in seen:
        seen.add(root)
        for field in root.model_fields.values():
            for inner in types_in(field.annotation):
                if isinstance(inner, type) and issubclass(inner, BaseModel):
                    models(inner, seen)
    return seen


def types_in(annotation):
    yield annotation
    for inner in typing.get_args(annotation):
        yield from types_in(inner)


def test_no_number_of_a_document_takes_a_truth_value():
    roots = set()
    for root in (*DOCUMENTS.values(), Card):
        models(root, roots)
    tried = 0
    for model in roots:
        for name, field in model.model_fields.items():
            inner = set(types_in(field.annotation))
            if bool in inner or not {int, float} & inner:
                continue
            adapter = TypeAdapter(typing.Annotated[field.annotation, field])
            for value in (True, False, [True, True], {"a": True}):
                tried += 1
                try:
                    found = adapter.validate_python(value)
                except ValidationError:
                    continue
                assert found in (None, False), (model, name, value)
    assert tried > 200


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("scene.nodata", "no"), ("scene.scale", "yes"), ("scene.bands", "{nir: yes}"), ("scene.gsd", "off"),
        ("tiling.overlap", "no"), ("vectorize.minimum_area", "yes"), ("gsd", "on"), ("reading.tries", "true"),
        ("inference.batch", "false"),
    ],
)  # fmt: skip
def test_a_word_that_yaml_reads_as_truth_is_no_number(tmp_path, key, value):
    path = tmp_path / "p.yaml"
    path.write_text("name: x\nscene: {uri: a.tif}\nmodel: m\noutputs: {folder: out}\n")
    with pytest.raises(
        ConfigError, match=r"(: a number.*, not (true|false)$|write a file or the number of a band)"
    ):
        load(path, Pipeline, [f"{key}={value}"])
    text = path.read_text()
    nested = json.dumps({"uri": "a.tif", key.split(".")[-1]: "TRUTH"})
    if key.startswith("scene."):
        text = text.replace("{uri: a.tif}", nested.replace('"TRUTH"', value))
    else:
        head, _, tail = key.partition(".")
        text += f"{head}: {{{tail}: {value}}}\n" if tail else f"{head}: {value}\n"
    path.write_text(text)
    with pytest.raises(ConfigError, match=r"p\.yaml:\d+:\d+: .*(: a number|write a )"):
        load(path, Pipeline)


def test_words_that_mean_what_they_say_stay(tmp_path):
    path = tmp_path / "p.yaml"
    path.write_text(
        "name: x\nscene: {uri: a.tif, radiometry: {dark_object: yes}}\nmodel: m\noutputs: {folder: out}\n"
        "checks: {gsd: off}\n"
    )
    found = load(path, Pipeline)
    assert found.checks.gsd == "off"
    assert found.scene.radiometry.dark_object is not None


@pytest.mark.parametrize("key", ["offset", "nodata", "scale", "gsd"])
@pytest.mark.parametrize("value", [".nan", ".inf", "1e300", "-.inf"])
def test_numbers_without_end_are_refused_in_documents(tmp_path, key, value):
    if (key, value) == ("nodata", "1e300"):
        assert SceneEntry(uri="a", nodata=1e300).nodata == 1e300
        return
    path = tmp_path / "p.yaml"
    path.write_text("name: x\nscene: {uri: a.tif}\nmodel: m\noutputs: {folder: out}\n")
    with pytest.raises(ConfigError, match=rf"--set scene\.{key}: "):
        load(path, Pipeline, [f"scene.{key}={value}"])


@pytest.mark.parametrize(
    "value", [20240601, "20240601", "2024-06-01", dt.date(2024, 6, 1), "2024-06-01T00:00:00Z"]
)
def test_a_date_is_that_day(value):
    found = TypeAdapter(Time).validate_python(value)
    assert found == dt.datetime(2024, 6, 1, tzinfo=dt.UTC)


@pytest.mark.parametrize(
    "value", [2024, 1717200000, "1717200000", 1.7e9, True, "0024-06-01", "9999-01-01", 20241301]
)
def test_a_number_of_seconds_is_no_date(value):
    with pytest.raises(ValidationError):
        TypeAdapter(Time).validate_python(value)


@pytest.mark.parametrize("value", [math.nan, math.inf, 0.0, -1.0, 1e300, 1e-300])
def test_numbers_of_files_pass_the_same_gate(value):
    with pytest.raises(SceneError, match=r"^a\.tif: the scale of band 1: a number.*, not "):
        check_number(value, Scale, "a.tif: the scale of band 1", SceneError)
    check_number(0.5, Scale, "", SceneError)
