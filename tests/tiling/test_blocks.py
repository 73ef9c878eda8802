import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from geoseg.core.geometry import Window
from geoseg.tiling.blocks import BlockAxis, BlockGrid
from geoseg.tiling.grid import TileAxis, TileGrid
from geoseg.tiling.outline import Outline


@st.composite
def tile_axes(draw, longest=300):
    tile = draw(st.integers(1, 60))
    return TileAxis(draw(st.integers(1, longest)), tile, 2 * draw(st.integers(0, tile // 4)))


axes = st.builds(BlockAxis, tile_axes(), st.integers(1, 7))
grids = st.builds(
    lambda rows, cols, size: BlockGrid.of(TileGrid(rows, cols), size),
    tile_axes(90),
    tile_axes(90),
    st.integers(1, 4),
)


@settings(max_examples=150, deadline=None)
@given(axes)
def test_every_tile_belongs_to_one_block(axis):
    assert [i for b in range(axis.count) for i in axis.members(b)] == list(range(axis.tiles.count))
    assert all(1 <= len(axis.members(b)) <= axis.size for b in range(axis.count))


@settings(max_examples=150, deadline=None)
@given(axes)
def test_cores_partition_the_scene(axis):
    owned = [p for b in range(axis.count) for p in range(axis.core(b).start, axis.core(b).stop)]
    assert owned == list(range(axis.tiles.length))
    assert all(len(axis.core(b)) > 0 for b in range(axis.count))


@settings(max_examples=150, deadline=None)
@given(axes)
def test_reach_and_canvas_hold_the_tiles_of_the_block(axis):
    for b in range(axis.count):
        tiles = [axis.tiles.span(i) for i in axis.members(b)]
        assert (axis.reach(b).start, axis.reach(b).stop) == (tiles[0].start, tiles[-1].stop)
        assert axis.canvas(b) == axis.reach(b).clip(axis.tiles.length)
        assert axis.canvas(b).start == axis.core(b).start
        assert axis.canvas(b).stop >= axis.core(b).stop


@settings(max_examples=150, deadline=None)
@given(axes)
def test_what_a_block_spills_is_what_the_next_one_keeps_open(axis):
    assert axis.open(0) == 0
    for b in range(axis.count):
        spilled = axis.canvas(b).stop - axis.core(b).stop
        assert spilled == (axis.open(b + 1) if b + 1 < axis.count else 0)
        assert axis.open(b) <= len(axis.core(b))


@settings(max_examples=100, deadline=None)
@given(grids)
def test_iteration_visits_every_block_once_after_its_neighbours(grid):
    seen = set()
    for block in grid:
        here = (block.row, block.col)
        assert here not in seen
        for neighbour in (
            (block.row - 1, block.col),
            (block.row, block.col - 1),
            (block.row - 1, block.col - 1),
        ):
            assert min(neighbour) < 0 or neighbour in seen
        seen.add(here)
    assert len(seen) == grid.count == grid.rows.count * grid.cols.count


@settings(max_examples=50, deadline=None)
@given(grids)
def test_cores_partition_the_plane_and_blocks_hold_their_tiles(grid):
    shape = grid.rows.tiles.length, grid.cols.tiles.length
    owners = np.zeros(shape, dtype=int)
    tiles = []
    for block in grid:
        owners[block.core.relative_to(block.core.of(0, 0, *shape))] += 1
        assert all(t.intersect(block.reach) == t for t in block.tiles)
        assert block.reach.clip(shape) == block.canvas
        assert block.core.intersect(block.canvas) == block.core
        assert (block.open_rows, block.open_cols) == (grid.rows.open(block.row), grid.cols.open(block.col))
        tiles += block.tiles
    assert (owners == 1).all()
    assert len(tiles) == len(set(tiles)) == grid.rows.tiles.count * grid.cols.tiles.count


@st.composite
def areas(draw):
    """Draw the grid of a scene, a part of it, and the outline of an area in it."""
    whole = TileGrid(draw(tile_axes(90)), draw(tile_axes(90)))
    height, width = whole.scene_shape
    top, left = draw(st.integers(0, height - 1)), draw(st.integers(0, width - 1))
    part = Window.of(top, left, draw(st.integers(1, height - top)), draw(st.integers(1, width - left)))
    seed, corners = draw(st.integers(0, 10**6)), draw(st.integers(3, 9))
    ring = np.random.default_rng(seed).uniform(-0.2, 1.2, (corners, 2)) * part.shape[::-1]
    return whole, part, Outline.of([np.vstack([ring, ring[:1]])])


@settings(max_examples=200, deadline=None)
@given(areas(), st.integers(1, 4))
def test_every_pixel_of_an_area_gets_all_its_tiles_and_no_other_tile_is_predicted(area, size):
    whole, part, outline = area
    inside = outline.inside(Window.of(0, 0, *part.shape))
    grid = whole.cut(part)
    blocks = BlockGrid.of(grid, size, outline)
    found = [t for strip in blocks.strips() for block in strip for t in block.tiles]
    expected = set()
    for i in range(whole.rows.count):
        for j in range(whole.cols.count):
            tile = whole.window(i, j).shift(-part.rows.start, -part.cols.start)
            seen = tile.clip(part.shape)
            if inside[seen.relative_to(Window.of(0, 0, 0, 0))].any():
                expected.add(tile)
    assert set(found) == expected
    assert len(found) == len(expected) == blocks.tiles


@settings(max_examples=200, deadline=None)
@given(areas(), st.integers(1, 4))
def test_blocks_of_an_area_own_each_of_its_pixels_once_and_read_no_more_than_their_tiles(area, size):
    whole, part, outline = area
    inside = outline.inside(Window.of(0, 0, *part.shape))
    blocks = BlockGrid.of(whole.cut(part), size, outline)
    owned = np.zeros(part.shape, dtype=int)
    mapped = list(blocks)
    for block in mapped:
        here = block.core.relative_to(Window.of(0, 0, 0, 0))
        owned[here] += 1
        assert inside[here].any()
        np.testing.assert_array_equal(block.outline.inside(block.core), inside[here])
        assert blocks.is_mapped(block.row, block.col)
    assert (owned[inside] == 1).all()
    assert len(mapped) == blocks.count
    for block in (b for strip in blocks.strips() for b in strip):
        corners = np.array([[t.rows.start, t.cols.start, t.rows.stop, t.cols.stop] for t in block.tiles])
        low, high = corners[:, :2].min(axis=0), corners[:, 2:].max(axis=0)
        assert block.reach == Window.of(*map(int, low), *map(int, high - low))


@settings(max_examples=100, deadline=None)
@given(areas(), st.integers(1, 4))
def test_what_a_block_of_a_part_spills_is_what_the_next_one_keeps_open(area, size):
    whole, part, _ = area
    grid = whole.cut(part)
    for axis in (BlockAxis(grid.rows, size), BlockAxis(grid.cols, size)):
        owned = [p for b in range(axis.count) for p in range(axis.core(b).start, axis.core(b).stop)]
        assert owned == list(range(axis.tiles.length))
        for b in range(axis.count - 1):
            assert axis.canvas(b).stop - axis.core(b).stop == axis.open(b + 1)


@pytest.mark.parametrize(
    ("height", "width", "turn"),
    [(100, 60, lambda row, col: (row, col)), (60, 100, lambda row, col: (col, row))],
)
def test_iteration_goes_two_lines_at_a_time_along_the_short_axis(height, width, turn):
    grid = BlockGrid.of(TileGrid(TileAxis(height, 20, 0), TileAxis(width, 20, 0)), 1)
    strips = [[turn(b.row, b.col) for b in strip] for strip in grid.strips()]
    assert strips[0] == [(0, 0), (1, 0), (0, 1), (1, 1), (0, 2), (1, 2)]
    assert strips[2] == [(4, 0), (4, 1), (4, 2)]


@settings(max_examples=60, deadline=None)
@given(axes, axes)
def test_a_block_comes_after_those_whose_fringes_it_waits_for(rows, cols):
    come = set()
    for block in BlockGrid(rows, cols):
        near = [(block.row - i, block.col - j) for i, j in ((1, 0), (0, 1), (1, 1))]
        assert all(place in come for place in near if min(place) >= 0)
        come.add((block.row, block.col))


def test_tiles_of_a_block_stand_row_by_row_and_the_block_has_a_name():
    block = BlockGrid.of(TileGrid(TileAxis(40, 16, 4), TileAxis(40, 16, 4)), 2).block(1, 0)
    starts = [(t.rows.start, t.cols.start) for t in block.tiles]
    assert starts == [(22, -2), (22, 10), (34, -2), (34, 10)]
    assert block.name == "block_00001_00000"


def test_an_empty_block_is_refused():
    with pytest.raises(ValueError, match="a block of 0 tiles is empty"):
        BlockAxis(TileAxis(10, 4, 0), 0)


@settings(max_examples=60, deadline=None)
@given(areas(), st.integers(1, 4))
def test_of_objects_every_block_with_a_tile_to_predict_is_one_of_the_map(area, size):
    """A tile may report an object whose pixels another block owns."""
    whole, part, outline = area
    blocks = BlockGrid.of(whole.cut(part), size, outline, objects=True)
    grid = [blocks.block(row, col) for row in range(blocks.rows.count) for col in range(blocks.cols.count)]

    assert blocks.count == sum(bool(b.tiles) for b in grid)
    assert all(blocks.is_mapped(b.row, b.col) == bool(b.tiles) for b in grid)
    assert blocks.tiles == sum(len(b.tiles) for b in grid)
