"""Edges without a partner, against GEOS' own test of a coverage."""

import numpy as np
import pytest
import shapely
from shapely import box

from geoseg.runs.validate.edges import unshared_edges

GRID = [box(x, y, x + 1, y + 1) for x in range(3) for y in range(3)]
OUTLINE = 12


@pytest.mark.parametrize(
    ("spoil", "lonely", "wrong"),
    [
        (lambda g: g, OUTLINE, 0),
        (lambda g: [shapely.MultiPolygon(g[:4:3]), *g[1:3], *g[4:]], OUTLINE, 0),
        (lambda g: [shapely.reverse(g[0]), *g[1:]], OUTLINE, 0),
        (lambda g: g[:4] + g[5:], OUTLINE + 4, 0),
        (lambda g: [*g, g[0]], OUTLINE - 2, 4),
        (lambda g: [*g, box(0.25, 0.25, 0.75, 0.75)], OUTLINE + 4, 0),
        (lambda g: [box(0, 0, 1 + 1e-9, 1), *g[1:]], OUTLINE + 4, 0),
        (lambda g: [box(1, 0, 2, 3), *g[:3], *g[6:]], OUTLINE + 8, 0),
    ],
)
def test_only_a_coverage_has_no_more_than_its_outline(spoil, lonely, wrong):
    polygons = np.array(spoil(GRID), dtype=object)
    found = unshared_edges(polygons)
    assert (len(found.middles), len(found.wrong)) == (lonely, wrong)
    # A hole is a coverage for GEOS; here it shows as edges within the outline.
    whole = shapely.coverage_is_valid(polygons) and shapely.area(polygons).sum() == 9
    assert whole == ((lonely, wrong) == (OUTLINE, 0))


def test_no_polygons_have_no_edges():
    found = unshared_edges(np.empty(0, dtype=object))
    assert (len(found.middles), len(found.wrong)) == (0, 0)
