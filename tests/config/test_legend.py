import json

import pytest

from geoseg.config.legend import LegendDocument, resolve_legend
from geoseg.core.errors import ConfigError
from geoseg.models.card import read_card
from tests.conftest import ROOT

TWO = [
    {"id": 1, "slug": "a", "title": "A", "color": "#000000", "codes": [10, 11]},
    {"id": 2, "slug": "b", "title": "B", "color": "#ffffff"},
]


def test_codes_are_the_id_unless_given():
    document = LegendDocument.model_validate({"classes": TWO, "ignore": [0]})
    assert document.remap.codes == ((10, 11), (2,))
    assert [c.slug for c in document.legend.classes] == ["a", "b"]


def test_a_code_of_two_classes_is_refused():
    with pytest.raises(ValueError, match="code 10 is given to two classes"):
        LegendDocument.model_validate({"classes": TWO, "ignore": [10]})


def test_an_unknown_name_lists_the_known(monkeypatch):
    monkeypatch.chdir(ROOT)
    with pytest.raises(ConfigError, match=r"known: .*landcover-6"):
        resolve_legend("nope")
    assert len(resolve_legend("landcover-6").classes) == 6


@pytest.mark.parametrize("slug", ["", "a\x1b[2J", "../b", "A", "a/b"])
def test_names_of_classes_are_checked_in_documents(tmp_path, slug):
    lines = [
        "classes:",
        *(f"  - {json.dumps({**c, 'slug': s})}" for c, s in zip(TWO, ("a", slug), strict=True)),
    ]
    (tmp_path / "l.yaml").write_text("\n".join(lines))
    with pytest.raises(ConfigError) as caught:
        resolve_legend(str(tmp_path / "l.yaml"))
    assert str(caught.value).isprintable()


def shipped():
    return {
        "legend": resolve_legend(str(ROOT / "configs/legends/landcover-6.yaml")).legend,
        "card": read_card(ROOT / "configs/models/landcover-s2/geoseg.json").legend,
    }


def test_the_shipped_bundle_has_the_colours_of_its_legend():
    assert shipped()["card"] == shipped()["legend"]
