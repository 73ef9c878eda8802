import pickle

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from geoseg.core.geometry import Window
from geoseg.tiling._kernels import PROBABILITY_BITS
from geoseg.tiling.arrays import HOST, HostArrays, all_of
from geoseg.tiling.blocks import BlockGrid
from geoseg.tiling.grid import TileAxis, TileGrid
from geoseg.tiling.mosaic import Mosaic, Strips
from geoseg.tiling.outline import Outline
from geoseg.tiling.taper import rising, taper

CHANNELS = 3
IDS = np.array([7, 3, 200], dtype=np.uint8)
KEEPING = HostArrays()
"""Not `HOST`: sums are kept for blocks of one tile, too."""


@st.composite
def tile_axes(draw):
    tile, length = draw(st.integers(1, 24)), draw(st.integers(1, 70))
    inside = length > tile and draw(st.booleans())
    return TileAxis(length, tile, 2 * draw(st.integers(0, tile // 4)), inside=inside)


grids = st.builds(TileGrid, tile_axes(), tile_axes())


def prediction(grid, tile, seed):
    """Give the made-up probabilities of a tile: they depend on the tile alone."""
    rng = np.random.default_rng((seed, tile.rows.start + 100, tile.cols.start + 100))
    raw = rng.random((CHANNELS, *grid.tile_shape), dtype=np.float32)
    return raw / raw.sum(axis=0)


def naive(grid, seed):
    """Sum all tiles in random order on one canvas that also holds the overhang."""
    (height, width), (rows, cols) = grid.scene_shape, grid.tile_shape
    canvas = np.zeros((CHANNELS, height + 2 * rows, width + 2 * cols), dtype=np.int64)
    places = [(i, j) for i in range(grid.rows.count) for j in range(grid.cols.count)]
    np.random.default_rng(seed).shuffle(places)
    for i, j in places:
        weights = np.outer(weights_of(grid.rows, i), weights_of(grid.cols, j))
        tile = grid.window(i, j)
        rounded = np.rint(prediction(grid, tile, seed).astype(np.float64) * 2**14).astype(np.int64)
        top, left = tile.rows.start + rows, tile.cols.start + cols
        canvas[:, top : top + rows, left : left + cols] += rounded * weights
    return canvas[:, rows : rows + height, cols : cols + width]


def weights_of(axis, i):
    """Weights of the pixels that tile i is fed: those of its span, wherever that lies."""
    whole = np.zeros(axis.length + 3 * axis.tile, dtype=np.int64)
    start = axis.span(i).start + axis.tile
    whole[start : start + axis.tile] = taper(axis.tile, axis.overlap, first=i == 0, last=i == axis.count - 1)
    return whole[axis.fed(i).start + axis.tile :][: axis.tile]


def block_by_block(grid, size, seed, outline=None, corner=(0, 0)):
    """Predict every block by itself and settle it with its neighbours' fringes.

    Of a part of a scene with its first pixel at `corner`, blocks are those that an outline needs.

    Return the planes of all blocks put together, and the sums of what was open (elsewhere -1).
    """
    planes = np.full((2 + CHANNELS, *grid.scene_shape), 99, dtype=np.uint8)
    sums = np.full((CHANNELS, *grid.scene_shape), -1, dtype=np.int32)
    everything = Window.of(0, 0, *grid.scene_shape)
    fringes = {}
    blocks = BlockGrid.of(grid, size, outline)
    for block in (b for strip in blocks.strips() for b in strip):
        mosaic = Mosaic(grid, block, IDS, every=True)
        for tile in reversed(block.tiles):
            mosaic.add(tile, prediction(grid, tile.shift(*corner), seed))
        parts = mosaic.parts()
        fringes[block.row, block.col] = parts.fringe
        if not blocks.is_mapped(block.row, block.col):
            continue
        north = fringes.get((block.row - 1, block.col))
        west = fringes.get((block.row, block.col - 1))
        northwest = fringes.get((block.row - 1, block.col - 1))
        strips = parts.strips.settle(
            north and north.south, west and west.east, northwest and northwest.southeast
        )
        rows, cols = block.open_rows, block.open_cols
        assert parts.planes[:, :rows].max(initial=0) == parts.planes[:, :, :cols].max(initial=0) == 0
        place = (slice(None), *block.core.relative_to(everything))
        planes[place] = parts.planes
        for settled, here in ((strips.north, np.s_[:, :rows]), (strips.west, np.s_[:, rows:, :cols])):
            sums[place][here] = settled
            planes[place][here] = HOST.decide(settled, all_of(settled), IDS, every=True)
    return planes, sums


@settings(max_examples=120, deadline=None)
@given(grids, st.integers(1, 6), st.integers(0, 9))
def test_blocks_of_any_size_give_the_sums_of_one_naive_sum(grid, size, seed):
    whole = np.zeros((CHANNELS, *grid.scene_shape), dtype=np.int32)
    everything = Window.of(0, 0, *grid.scene_shape)
    for block in BlockGrid.of(grid, size):
        mosaic = Mosaic(grid, block, IDS, arrays=KEEPING)
        for tile in reversed(block.tiles):
            mosaic.add(tile, prediction(grid, tile, seed))
        assert mosaic.sums.dtype == np.int32
        whole[:, *block.canvas.relative_to(everything)] += mosaic.sums
    assert (whole == naive(grid, seed)).all()


@settings(max_examples=120, deadline=None)
@given(grids, st.integers(1, 6), st.integers(0, 9))
def test_blocks_of_any_size_say_what_one_naive_sum_says(grid, size, seed):
    planes, open_sums = block_by_block(grid, size, seed)
    sums = naive(grid, seed)
    assert (sums < 2**31).all()
    assert ((open_sums == sums) | (open_sums == -1)).all()
    assert (planes == HOST.decide(sums.astype(np.int32), all_of(sums), IDS, every=True)).all()


@settings(max_examples=200, deadline=None)
@given(grids, st.integers(1, 4), st.integers(0, 9), st.data())
def test_inside_an_area_the_planes_are_those_of_the_whole(grid, size, seed, data):
    height, width = grid.scene_shape
    top, left = (data.draw(st.integers(0, n - 1)) for n in (height, width))
    part = Window.of(top, left, *(data.draw(st.integers(1, n)) for n in (height - top, width - left)))
    corners = np.random.default_rng(seed).uniform(-0.2, 1.2, (4, 2)) * part.shape[::-1]
    outline = Outline.of([np.vstack([corners, corners[:1]])])
    planes, _ = block_by_block(grid.cut(part), size, seed, outline, (top, left))
    sums = naive(grid, seed)[:, *part.relative_to(Window.of(0, 0, 0, 0))].astype(np.int32)
    inside = outline.inside(Window.of(0, 0, *part.shape))
    expected = HOST.decide(sums, all_of(sums), IDS, every=True)
    assert (planes[:, inside] == expected[:, inside]).all()


@settings(max_examples=60, deadline=None)
@given(grids, st.integers(1, 5))
def test_fringes_have_the_shape_of_the_neighbours_open_strips(grid, size):
    blocks = BlockGrid.of(grid, size)
    for block in blocks:
        fringe = Mosaic(grid, block, IDS).parts().fringe
        height, width = block.core.shape
        south = blocks.rows.open(block.row + 1) if block.row + 1 < blocks.rows.count else 0
        east = blocks.cols.open(block.col + 1) if block.col + 1 < blocks.cols.count else 0
        expected = {"east": (height, east), "south": (south, width), "southeast": (south, east)}
        for name, (rows, cols) in expected.items():
            part = getattr(fringe, name)
            assert (part is None) == (rows * cols == 0)
            assert part is None or part.shape == (CHANNELS, rows, cols)


def certain(grid, block):
    """Give the parts of a block whose only class is certain everywhere."""
    mosaic = Mosaic(grid, block, IDS[:1])
    for tile in block.tiles:
        mosaic.add(tile, np.ones((1, *grid.tile_shape), dtype=np.float32))
    return mosaic.parts()


@pytest.mark.parametrize("size", [1, 2])
def test_a_certain_prediction_sums_to_a_constant(size):
    grid = TileGrid(TileAxis(61, 16, 6), TileAxis(47, 20, 10))
    whole = Window.of(0, 0, *grid.scene_shape)
    sums = np.zeros(grid.scene_shape, dtype=np.int64)
    for block in BlockGrid.of(grid, size):
        mosaic = Mosaic(grid, block, IDS[:1], arrays=KEEPING)
        for tile in block.tiles:
            mosaic.add(tile, np.ones((1, *grid.tile_shape), dtype=np.float32))
        sums[block.canvas.relative_to(whole)] += mosaic.sums[0]
    assert (sums == 2**30).all()


@pytest.mark.parametrize("size", [1, 2])
def test_a_certain_prediction_is_certain_where_blocks_meet(size):
    grid = TileGrid(TileAxis(61, 16, 6), TileAxis(47, 20, 10))
    blocks = BlockGrid.of(grid, size)
    north, west, here = (certain(grid, blocks.block(*place)) for place in ((0, 1), (1, 0), (1, 1)))
    northwest = certain(grid, blocks.block(0, 0))
    strips = here.strips.settle(north.fringe.south, west.fringe.east, northwest.fringe.southeast)
    assert (strips.north == 2**30).all()
    assert (strips.west == 2**30).all()
    block = blocks.block(1, 1)
    assert (here.planes[1, block.open_rows :, block.open_cols :] == 100).all()


def test_parts_are_no_views_of_the_sums():
    grid = TileGrid(TileAxis(40, 16, 8), TileAxis(40, 16, 8))
    mosaic = Mosaic(grid, BlockGrid.of(grid, 2).block(1, 1), IDS)
    parts = mosaic.parts()
    mosaic.sums[:] += 1
    assert parts.strips.north.max() == parts.strips.west.max() == 0
    fringe = parts.fringe
    assert all(part is None or part.max() == 0 for part in (fringe.east, fringe.south, fringe.southeast))


def test_a_block_of_one_tile_keeps_nothing_of_its_probabilities():
    grid = TileGrid(TileAxis(40, 16, 8), TileAxis(40, 16, 8))
    block = BlockGrid.of(grid, 1).block(1, 1)
    lent = prediction(grid, block.tiles[0], 0)
    mosaic = Mosaic(grid, block, IDS, every=True)
    mosaic.add(block.tiles[0], lent)
    before = pickle.dumps(mosaic.parts())
    lent[:] = 0
    assert pickle.dumps(mosaic.parts()) == before


def test_settling_does_not_change_the_strips_it_starts_from():
    strips = Strips(np.zeros((1, 2, 5), np.int32), np.zeros((1, 4, 3), np.int32))
    settled = strips.settle(
        np.full((1, 2, 5), 1, np.int32), np.full((1, 6, 3), 10, np.int32), np.full((1, 2, 3), 100, np.int32)
    )
    assert settled.north.tolist() == [[[111, 111, 111, 1, 1]] * 2]
    assert settled.west.tolist() == [[[10, 10, 10]] * 4]
    assert strips.north.max() == strips.west.max() == 0


def test_settling_without_neighbours_changes_nothing():
    strips = Strips(np.arange(10, dtype=np.int32).reshape(1, 2, 5), np.ones((1, 4, 3), np.int32))
    settled = strips.settle(None, None, None)
    assert (settled.north == strips.north).all()
    assert (settled.west == strips.west).all()


def test_probabilities_are_rounded_to_a_16384th():
    grid = TileGrid(TileAxis(4, 4, 0), TileAxis(4, 4, 0))
    mosaic = Mosaic(grid, BlockGrid.of(grid, 1).block(0, 0), IDS[:1], arrays=KEEPING)
    mosaic.add(grid.window(0, 0), np.full((1, 4, 4), 0.3, dtype=np.float32))
    assert PROBABILITY_BITS == 14
    assert (mosaic.sums == round(0.3 * 16384) * 65536).all()


def test_the_fringe_of_one_tile_is_rounded_to_a_16384th():
    grid = TileGrid(TileAxis(8, 4, 0), TileAxis(12, 8, 4))
    block = BlockGrid.of(grid, 1).block(0, 0)
    mosaic = Mosaic(grid, block, IDS[:1])
    mosaic.add(block.tiles[0], np.full((1, 4, 8), 0.3, dtype=np.float32))
    assert (mosaic.parts().fringe.east == round(0.3 * 16384) * 256 * (256 - rising(4))).all()
