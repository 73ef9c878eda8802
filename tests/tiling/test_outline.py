import numpy as np
import pytest
import shapely
from affine import Affine
from hypothesis import given, settings
from hypothesis import strategies as st
from rasterio.features import geometry_mask

from geoseg.core.geometry import Span, Window
from geoseg.tiling.outline import Outline

HEIGHT, WIDTH = 40, 50
FLIPPED = Affine(1, 0, 0, 0, 1, 0)


@st.composite
def polygons(draw):
    """Draw polygons with holes, several parts, and corners beyond the map, or none at all."""
    seed, count = draw(st.integers(0, 10**6)), draw(st.integers(0, 4))
    rng = np.random.default_rng(seed)
    found = shapely.MultiPolygon()
    for _ in range(count):
        middle, angles = rng.uniform(-5, 55, 2), np.sort(rng.uniform(0, 2 * np.pi, rng.integers(3, 30)))
        radius = rng.uniform(1, 30, len(angles))
        corners = middle + (radius * np.array([np.cos(angles), np.sin(angles)])).T
        blob = shapely.make_valid(shapely.Polygon(corners), method="structure")
        found = found.symmetric_difference(blob)
    return found


def rings_of(geometry):
    return [shapely.get_coordinates(r) for r in shapely.get_rings(shapely.get_parts(geometry))]


def outline_of(geometry):
    polygonal = [g for g in shapely.get_parts(geometry) if g.geom_type == "Polygon"]
    return Outline.of(rings_of(shapely.MultiPolygon(polygonal)))


def mask_of(geometry):
    """Let GDAL say which pixels of the map are inside."""
    if geometry.is_empty:
        return np.zeros((HEIGHT, WIDTH), dtype=bool)
    return geometry_mask([geometry], (HEIGHT, WIDTH), FLIPPED, invert=True)


ALL = Window.of(0, 0, HEIGHT, WIDTH)


@st.composite
def windows(draw):
    top, left = draw(st.integers(-5, HEIGHT)), draw(st.integers(-5, WIDTH))
    return Window.of(top, left, draw(st.integers(1, HEIGHT)), draw(st.integers(1, WIDTH)))


@settings(max_examples=120, deadline=None)
@given(polygons(), windows())
def test_any_window_has_the_pixels_that_gdal_burns(geometry, window):
    outline, mask = outline_of(geometry), mask_of(geometry)
    np.testing.assert_array_equal(outline.inside(ALL), mask)
    part = window.clip((HEIGHT, WIDTH))
    for decided in (outline, outline.near(window)):
        here = decided.inside(window)[part.relative_to(window)]
        np.testing.assert_array_equal(here, mask[part.relative_to(ALL)])
    assert outline.count((HEIGHT, WIDTH)) == mask.sum()


@settings(max_examples=120, deadline=None)
@given(polygons(), st.integers(0, HEIGHT), st.integers(1, 12), st.integers(0, 5))
def test_spans_of_columns_are_met_when_they_have_a_pixel(geometry, top, step, wider):
    rows, mask = Span(top, min(top + 7, HEIGHT)), mask_of(geometry)
    columns = [Span(c - wider, c + step).clip(WIDTH) for c in range(0, WIDTH, step)]
    expected = [bool(mask[rows.start : rows.stop, c.start : c.stop].any()) for c in columns]
    assert outline_of(geometry).met(rows, columns).tolist() == expected


@pytest.mark.parametrize("shift", [0.0, 0.25, 0.5])
def test_two_polygons_with_a_common_border_share_no_pixel_and_miss_none(shift):
    middle = shapely.LineString([(-1, 3 + shift), (5.5, 3 + shift), (8 + shift, 9.5), (20.5, 11 + shift)])
    whole = shapely.box(-1, -1, 21, 21)
    parts = shapely.get_parts(shapely.polygonize([whole.boundary.union(middle)]))
    inside = [outline_of(p).inside(Window.of(0, 0, 20, 20)).astype(int) for p in parts]
    assert (sum(inside) == 1).all()


def test_tall_maps_are_looked_at_in_parts():
    outline = outline_of(shapely.Polygon([(1, 0), (3, 0), (30, 3000), (28, 3000)]))
    assert outline.count((3000, 40)) == outline.inside(Window.of(0, 0, 3000, 40)).sum() > 5000
    assert outline.met(Span(0, 3000), [Span(0, 1), Span(1, 2), Span(29, 30), Span(31, 40)]).tolist() == [
        False, True, True, False,
    ]  # fmt: skip


def test_edges_that_cannot_matter_are_left_out():
    geometry = shapely.MultiPolygon([shapely.box(i, j, i + 3, j + 3) for i in (0, 20) for j in (0, 20)])
    assert len(outline_of(geometry).edges) == 8
    assert len(outline_of(geometry).near(Window.of(0, 0, 5, 5)).edges) == 2
