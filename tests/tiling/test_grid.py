from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from geoseg.core.geometry import Span, Window
from geoseg.tiling.grid import TileAxis, TileGrid


@st.composite
def axes(draw):
    tile = draw(st.integers(1, 80))
    overlap = 2 * draw(st.integers(0, tile // 4))
    return TileAxis(draw(st.integers(1, 400)), tile, overlap)


def spans(axis):
    return [axis.span(i) for i in range(axis.count)]


@settings(max_examples=150, deadline=None)
@given(axes())
def test_tiles_cover_the_scene_and_its_margins_without_a_gap(axis):
    found = spans(axis)
    assert found[0].start == -axis.margin
    assert found[-1].stop >= axis.length + axis.margin
    assert all(len(s) == axis.tile for s in found)
    assert all(a.stop - b.start == axis.overlap for a, b in pairwise(found))


@settings(max_examples=150, deadline=None)
@given(axes())
def test_no_tile_is_superfluous(axis):
    if axis.count > 1:
        assert axis.span(axis.count - 2).stop < axis.length + axis.margin


@settings(max_examples=150, deadline=None)
@given(axes())
def test_the_last_tile_starts_inside_the_scene(axis):
    assert axis.span(axis.count - 1).start < axis.length


@settings(max_examples=150, deadline=None)
@given(axes())
def test_a_pixel_lies_under_one_tile_or_two(axis):
    under = [sum(s.start <= p < s.stop for s in spans(axis)) for p in range(axis.length)]
    assert set(under) <= {1, 2}


@st.composite
def parts(draw):
    """Draw an axis and a part of it."""
    axis = draw(axes())
    start = draw(st.integers(0, axis.length - 1))
    return axis, Span(start, draw(st.integers(start + 1, axis.length)))


@settings(max_examples=200, deadline=None)
@given(parts())
def test_a_part_has_the_tiles_of_the_whole_that_reach_into_it(found):
    axis, part = found
    inside = [s.shift(-part.start) for s in spans(axis) if s.intersect(part)]
    cut = axis.cut(part)
    assert spans(cut) == inside
    assert cut.length == len(part)
    ends = [axis.at_end(s.start) for s in spans(axis)]
    assert ends == [(i == 0, i == axis.count - 1) for i in range(axis.count)]
    assert [cut.at_end(s.start) for s in inside] == [axis.at_end(s.start + part.start) for s in inside]
    assert set(cut.seams) == {line - part.start for line in axis.seams if part.start < line < part.stop}
    assert cut.cut(Span(0, cut.length)) == cut == axis.cut(Span(0, axis.length)).cut(part)


@st.composite
def inner_axes(draw):
    """Draw an axis of a picture that is longer than a tile."""
    axis = draw(axes())
    return replace(axis, length=axis.tile + draw(st.integers(1, 300)), inside=True)


@settings(max_examples=150, deadline=None)
@given(inner_axes(), st.data())
def test_tiles_of_a_picture_are_fed_its_own_pixels_and_no_mirror_image(axis, data):
    fed = [axis.fed(i) for i in range(axis.count)]
    assert all(s.start >= 0 and s.stop <= axis.length and len(s) == axis.tile for s in fed)
    assert fed[0].start == 0
    assert fed[-1].stop == axis.length
    assert len({s.start for s in fed}) == axis.count == 1 + -(-(axis.length - axis.tile) // axis.stride)
    # What counts of a tile is among the pixels that it is fed, and two tiles share an overlap.
    assert all(
        span.clip(axis.length).intersect(f) == span.clip(axis.length)
        for span, f in zip(spans(axis), fed, strict=True)
    )
    assert [axis.moved(f.start) for f in fed] == [
        s.start - f.start for s, f in zip(spans(axis), fed, strict=True)
    ]
    assert [axis.at_end(f.start) for f in fed] == [(i == 0, i == axis.count - 1) for i in range(axis.count)]
    start = data.draw(st.integers(0, axis.length - 1))
    part = Span(start, data.draw(st.integers(start + 1, axis.length)))
    cut = axis.cut(part)
    there = [f.shift(-start) for s, f in zip(spans(axis), fed, strict=True) if s.intersect(part)]
    assert [cut.fed(i) for i in range(cut.count)] == there
    assert [cut.moved(f.start) for f in there] == [axis.moved(f.start + start) for f in there]


def test_a_picture_that_a_tile_covers_has_no_other_pixels():
    assert TileAxis(20, 32, 0, inside=True).fed(0) == Span(0, 32)


@settings(max_examples=150, deadline=None)
@given(axes(), st.sampled_from([1, 2, 3, 8, 16]), st.integers(1, 80))
def test_shrink_takes_the_smallest_multiple_that_needs_no_more_tiles(axis, divisor, minimum):
    small = axis.shrink(divisor, minimum)
    assert small.count == axis.count
    assert (small.length, small.overlap) == (axis.length, axis.overlap)
    possible = [
        tile
        for tile in range(divisor, axis.tile, divisor)
        if tile >= max(minimum, 2 * axis.overlap)
        and TileAxis(axis.length, tile, axis.overlap).count == axis.count
    ]
    assert small.tile == min(possible, default=axis.tile)


def test_the_example_of_the_design():
    axis = TileAxis(1947, 1024, 128)
    assert axis.count == 3
    assert axis.shrink(32, 256).tile == 800
    assert spans(axis.shrink(32, 256)) == [Span(-64, 736), Span(608, 1408), Span(1280, 2080)]


def test_a_scene_smaller_than_a_tile_has_one():
    assert spans(TileAxis(10, 64, 16)) == [Span(-8, 56)]
    assert spans(TileAxis(48, 64, 16)) == [Span(-8, 56)]
    assert len(spans(TileAxis(49, 64, 16))) == 2


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ((0, 64, 16), "a scene of 0 pixels has no tiles"),
        ((10, 64, 15), "overlap 15 is not an even number"),
        ((10, 64, -2), "overlap -2 is not an even number"),
        ((10, 64, 34), "overlap 34 is more than half of tile 64"),
        ((10, 0, 0), "overlap 0 is more than half of tile 0"),
    ],
)
def test_impossible_tiles_are_refused(fields, message):
    with pytest.raises(ValueError, match=message):
        TileAxis(*fields)


def test_a_part_that_is_longer_than_its_scene_is_refused():
    with pytest.raises(ValueError, match="a part lies inside its scene"):
        TileAxis(90, 64, 16).cut(Span(10, 91))


def test_a_grid_is_the_product_of_its_axes():
    grid = TileGrid(TileAxis(90, 64, 16), TileAxis(50, 32, 8))
    assert grid.count == 2 * 3
    assert grid.scene_shape == (90, 50)
    assert grid.tile_shape == (64, 32)
    assert grid.window(1, 2) == Window(Span(40, 104), Span(44, 76))
    assert grid.network_pixels_per_pixel == pytest.approx(6 * 64 * 32 / 4500)


@settings(max_examples=150, deadline=None)
@given(axes())
def test_seams_are_the_lines_where_the_number_of_tiles_or_the_nearest_tile_changes(axis):
    found = spans(axis)
    pixels = range(axis.length)
    over = [[i for i, s in enumerate(found) if s.start <= p < s.stop] for p in pixels]
    # Of two tiles over a pixel the one whose middle is nearer weighs more.
    first = [
        min(tiles, key=lambda i: (abs(sum((found[i].start, found[i].stop)) / 2 - p - 0.5), i))
        for p, tiles in zip(pixels, over, strict=True)
    ]
    changes = {p for p in pixels[1:] if over[p] != over[p - 1] or first[p] != first[p - 1]}
    assert set(axis.seams) == changes


def test_seams_of_three_tiles():
    assert TileAxis(1947, 864, 192).seams == (576, 672, 768, 1248, 1344, 1440)
    assert TileAxis(96, 128, 32).seams == ()
