"""The legends that geoseg chooses itself can be told apart by everybody."""

import itertools

import pytest
from coloraide import Color

from geoseg.config.legend import resolve_legend
from geoseg.models.bundle import open_bundle

ENOUGH = 15
"""Least CIEDE2000 difference of two classes side by side."""

SIGHTS = {"trichromat": None, "protan": "protan", "deutan": "deutan", "tritan": "tritan"}


def seen(color, kind):
    """A colour as a viewer of that kind sees it (Machado et al. 2009)."""
    return color if kind is None else color.filter(kind, method="machado")


def palettes():
    # The colours of Cityscapes are those of its data set, and its 19 classes are not all to be told apart.
    yield "legend", [c.color for c in resolve_legend("landcover-6").classes]
    yield "bundle", [c.color for c in open_bundle("configs/models/landcover-s2").card.classes]


@pytest.mark.parametrize(("name", "colors"), list(palettes()))
@pytest.mark.parametrize("sight", SIGHTS)
def test_any_two_classes_can_be_told_apart(name, colors, sight):
    shown = [seen(Color(c), SIGHTS[sight]) for c in colors]
    least = min(a.delta_e(b, method="2000") for a, b in itertools.combinations(shown, 2))
    assert least >= ENOUGH
