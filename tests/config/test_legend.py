import itertools
import json

import numpy as np
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


SIGHT = {
    "normal": np.eye(3),
    "protanopia": [
        [0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998],
    ],
    "deuteranopia": [
        [0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881],
    ],
    "tritanopia": [
        [1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900],
    ],
}  # fmt: skip
"""What people see of linear red, green and blue: Machado, Oliveira and Fernandes 2009, severity 1."""
XYZ = np.array([[0.41246, 0.35758, 0.18044], [0.21267, 0.71515, 0.07217], [0.01933, 0.11919, 0.95030]])


def lab(rgb, sight):
    """Return CIE L*a*b* (D65) of sRGB colours, 0 to 255, shape (N, 3)."""
    share = np.asarray(rgb) / 255
    linear = np.where(share <= 0.04045, share / 12.92, ((share + 0.055) / 1.055) ** 2.4)
    xyz = (linear @ np.transpose(sight)).clip(0, 1) @ XYZ.T / XYZ.sum(axis=1)
    f = np.where(xyz > 216 / 24389, np.cbrt(xyz), (24389 / 27 * xyz + 16) / 116)
    return np.stack([116 * f[:, 1] - 16, 500 * (f[:, 0] - f[:, 1]), 200 * (f[:, 1] - f[:, 2])], axis=1)


def shipped():
    return {
        "legend": resolve_legend(str(ROOT / "configs/legends/landcover-6.yaml")).legend,
        "card": read_card(ROOT / "configs/models/landcover-s2/geoseg.json").legend,
    }


def test_the_shipped_bundle_has_the_colours_of_its_legend():
    assert shipped()["card"] == shipped()["legend"]


@pytest.mark.parametrize("sight", SIGHT)
def test_everyone_can_tell_the_classes_of_land_cover_apart(sight):
    legend = shipped()["legend"]
    places = lab([c.rgb for c in legend.classes], SIGHT[sight])
    for one, other in itertools.combinations(range(len(legend)), 2):
        # CIE 1976: a difference of 2.3 can just be seen.
        assert np.linalg.norm(places[one] - places[other]) > 25, (legend.classes[one], legend.classes[other])
