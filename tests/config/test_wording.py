import re
from typing import Annotated, Any, get_args

import pytest
import yaml
from pydantic import BaseModel, ValidationError

from geoseg.config.dataset import CatalogDocument
from geoseg.config.fields import Points, check_number
from geoseg.config.loader import checked, load
from geoseg.config.pipeline import Pipeline, Vectorize
from geoseg.config.run_record import RunRecord
from geoseg.config.schema import DOCUMENTS
from geoseg.config.wording import first_of, problems_of, shown
from geoseg.core.errors import ConfigError
from geoseg.models.card import Card
from geoseg.models.networks.arguments import ARGUMENTS

PYDANTIC = re.compile(
    r"input should|should be|unable to|valid (integer|number|string|list|dict|tuple|boolean|date)|"
    r"should have|should match|value error|assertion failed|extra inputs|field required|discriminator|"
    r"expected tags|instance of|parsing|dictionary|got None|not None|another kind|another form",
    re.IGNORECASE,
)
"""What pydantic says, and what is said of a problem that has no words of its own."""

WRONG: list[Any] = [
    "abc", "", "x" * 3000, "2024-13-01", -1, 0, 1.5, 10**400, True, None, [], {}, {"kind": "abc"}, {"zzz": 1},
    [1], ["a", 1, None], [[]], [{}], [{"kind": 1}], {"a": 1}, {"a": {"b": {}}}, "1.5 m", b"\xff",
]  # fmt: skip


def models_in(kind, found):
    """Return every model that a model, or the type of a field, is made of."""
    if isinstance(kind, type) and issubclass(kind, BaseModel):
        if kind not in found:
            found.append(kind)
            for field in kind.model_fields.values():
                models_in(field.annotation, found)
                models_in(Annotated[(int, *field.metadata)] if field.metadata else int, found)
        return found
    for part in get_args(kind):
        models_in(part, found)
    return found


@pytest.mark.parametrize("model", [*DOCUMENTS.values(), Card, RunRecord, *ARGUMENTS.values()])
def test_no_field_is_told_of_in_the_words_of_pydantic(model):
    """Every field of every model inside gets every wrong value."""
    told = 0
    for part in models_in(model, []):
        for wrong in WRONG:
            data = wrong if "root" in part.model_fields else dict.fromkeys(part.model_fields, wrong)
            try:
                part.model_validate(data)
            except ValidationError as error:
                problems = problems_of(error, data, most=10_000)
                assert problems
                for keys, text in problems.items():
                    own = re.sub(r"'[^']*'", "", text).replace("a text of another form", "")
                    assert not PYDANTIC.search(own), (part, keys, text)
                    assert len(text) < 300, text
                    told += 1
    assert told > 20


@pytest.mark.parametrize("model", DOCUMENTS.values())
def test_every_field_of_a_document_says_what_it_wants(model, tmp_path):
    """Where a pattern says which texts there are, an example tells it."""
    for wrong in ("a b?", 1.5, True, [[]], {"zzz": 1}):
        path = tmp_path / "p.yaml"
        path.write_text(yaml.safe_dump(dict.fromkeys(model.model_fields, wrong)))
        with pytest.raises(ConfigError) as caught:
            load(path, model)
        assert not PYDANTIC.search(str(caught.value)), str(caught.value)


def said(changes, model=Pipeline, given="name: a\nmodel: m\nscene: s\noutputs: {folder: o}\n", path=None):
    path.write_text(given)
    with pytest.raises(ConfigError) as caught:
        load(path, model, changes)
    return str(caught.value)


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ("tiling.tile=abc", "tiling.tile: a number of pixels or auto, not 'abc'"),
        ("tiling.tile=1.5", "tiling.tile: a whole number of pixels or auto, not 1.5"),
        ("tiling.tile=true", "tiling.tile: a number of pixels or auto, not true"),
        ("gsd=-3", "gsd: a number of metres of at least 0.0001 or auto, not -3"),
        ("outputs.confidence=maybe", "outputs.confidence: true or false, not 'maybe'"),
        ("checks.gsd=never", "checks.gsd: error, warn or off, not 'never'"),
        ("inference.device=gpu", "inference.device: a text like auto or cpu or cuda or cuda:0, not 'gpu'"),
        ("vectorize.simplify=2 m", "vectorize.simplify: a number or a text like 1.5 px, not '2 m'"),
        ("vectorize=5", "vectorize: a mapping of keys to values, not 5"),
        ("scene=[1]", "scene: a text or a mapping of keys to values, not a list of 1"),
        ("outputs.polygons=gpkg", "outputs.polygons: a list, not 'gpkg'"),
        ("checks.gsd=[]", "checks.gsd: error, warn or off, not an empty list"),
        ("outputs.folder=''", "outputs.folder: a text of at least 1 character, not ''"),
        ("inference.devic=cpu", "inference.devic: unknown key; did you mean 'device'?"),
        ("tiling={tile: abc}", "tiling.tile: a number of pixels or auto, not 'abc'"),
    ],
)  # fmt: skip
def test_a_mistake_is_told_in_plain_words_and_names_its_key_once(change, text, tmp_path):
    assert said([change], path=tmp_path / "p.yaml") == f"--set {text}"


def test_the_kind_of_a_mapping_is_told(tmp_path):
    path = tmp_path / "c.yaml"
    message = said(["datasets.a.kind=chip"], CatalogDocument, "scenes: {}\n", path)
    assert message == "--set datasets.a.kind: chips, scenes, cityscapes, places, not 'chip'"
    message = said([], CatalogDocument, "datasets: {a: {}}\n", path)
    assert message.endswith("datasets.a: a mapping with the key kind, not an empty mapping")


def test_a_keyword_is_told_alike():
    with pytest.raises(ConfigError, match=r"^vectorize\(\): smooth: a number or a text like 1.5 px, not"):
        checked({"smooth": "x"}, Vectorize, "vectorize()")


def test_an_option_is_told_alike():
    with pytest.raises(ConfigError, match=r"^--size: a number of at least 0, not -1$"):
        check_number(-1, Points, "--size", ConfigError)


def test_where_the_data_are_not_at_hand_the_whole_place_is_told():
    with pytest.raises(ValidationError) as caught:
        Card.model_validate({"name": 5})
    assert first_of(caught.value) == ("name", "a text, not 5")


@pytest.mark.parametrize(
    ("value", "text"),
    [(None, "null"), (False, "false"), ({}, "an empty mapping"), ((1, 2), "a list of 2"), ("a" * 99, "'aaa")],
)
def test_a_value_is_shown_as_yaml_has_it_and_short(value, text):
    assert shown(value).startswith(text)
    assert len(shown(value)) <= 60
