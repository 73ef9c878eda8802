"""Heads: what sums become, however a map is cut into blocks and tiles."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from geoseg.core.geometry import Window
from geoseg.models.backends.torch_arrays import TorchArrays
from geoseg.tiling.arrays import HOST, HostArrays, all_of
from geoseg.tiling.blocks import BlockGrid
from geoseg.tiling.grid import TileAxis, TileGrid
from geoseg.tiling.heads import BINS, NO_LEVEL, REACH, STEPS, LabelHead, ValueHead, add_levels
from geoseg.tiling.mosaic import Mosaic

KINDS = [HOST, HostArrays(), TorchArrays(torch.device("cpu"))]
"""Arrays of the host without and with sums of blocks of one tile, and those of torch."""

grids = st.builds(
    lambda length, width, half: TileGrid(
        TileAxis(length, 2 * half, 2 * (half // 2)), TileAxis(width, 2 * half, 2 * (half // 2))
    ),
    st.integers(1, 60),
    st.integers(1, 60),
    st.integers(2, 12),
)


def answer(head, grid, tile, seed):
    """Give the made-up answer of a network for a tile, which depends on the tile alone."""
    rng = np.random.default_rng((seed, tile.rows.start + 100, tile.cols.start + 100))
    raw = rng.random((head.channels, *grid.tile_shape))
    spread = (2 * raw - 1) * REACH if isinstance(head, ValueHead) else raw
    return spread.astype(np.float32)


def mapped(head, grid, size, seed, arrays=HOST):
    """Return the planes of all blocks put together, each settled with the fringes of its neighbours."""
    planes = np.zeros((head.planes, *grid.scene_shape), head.dtype)
    everything, fringes = Window.of(0, 0, *grid.scene_shape), {}
    for block in (b for strip in BlockGrid.of(grid, size).strips() for b in strip):
        mosaic = Mosaic(grid, block, head=head, arrays=arrays)
        for tile in block.tiles:
            mosaic.add(tile, arrays.put(answer(head, grid, tile, seed)))
        parts = mosaic.parts()
        fringes[block.row, block.col] = parts.fringe
        north, west, corner = (
            fringes.get((block.row - down, block.col - right)) for down, right in ((1, 0), (0, 1), (1, 1))
        )
        strips = parts.strips.settle(north and north.south, west and west.east, corner and corner.southeast)
        own = parts.planes.copy()
        own[:, : block.open_rows] = head.decide(HOST, strips.north, all_of(strips.north))
        own[:, block.open_rows :, : block.open_cols] = head.decide(HOST, strips.west, all_of(strips.west))
        planes[:, *block.core.relative_to(everything)] = own
    return planes


HEADS = [ValueHead(-3.0, 17.0), LabelHead((1, 2, 3), (0.5, 0.01, 1.0), True), LabelHead((4,), (0.33,))]


@pytest.mark.parametrize("head", HEADS, ids=lambda h: type(h).__name__)
@settings(max_examples=25, deadline=None)
@given(grids, st.integers(1, 5), st.integers(0, 9))
def test_every_block_size_and_kind_of_arrays_gives_the_same_bytes(head, grid, size, seed):
    whole = mapped(head, grid, 99, seed)
    for arrays in KINDS:
        assert mapped(head, grid, size, seed, arrays).tobytes() == whole.tobytes()


@pytest.mark.parametrize("value", [-3.0, -2.9999, 0.0, 7.0, 16.99, 17.0])
def test_a_value_that_all_tiles_agree_on_comes_back_to_half_a_step(value):
    head, grid = ValueHead(-3.0, 17.0), TileGrid(TileAxis(50, 16, 6), TileAxis(41, 16, 6))
    place = np.float32(REACH * (value - 7.0) / 10)
    mosaic = Mosaic(grid, BlockGrid.of(grid, 99).block(0, 0), head=head)
    for tile in mosaic.block.tiles:
        mosaic.add(tile, np.full((1, *grid.tile_shape), place, np.float32))
    planes = mosaic.parts().planes
    assert (planes == planes.flat[0]).all()
    assert head.values(planes.flat[:1])[0] == pytest.approx(value, abs=head.step / 2 + 1e-6)


def test_levels_are_values_from_end_to_end():
    head = ValueHead(-1.0, 1.0)
    values = head.values(np.array([0, STEPS // 2, STEPS, NO_LEVEL], np.uint16))
    assert values.dtype == np.float32
    assert values[:3].tolist() == [-1.0, 0.0, 1.0]
    assert np.isnan(values[3])


def test_sums_of_the_largest_answers_do_not_overflow():
    head = ValueHead(0.0, 1.0)
    ends = np.array([-(STEPS // 2) << 16, STEPS // 2 << 16], np.int64)
    sums = ends.astype(np.int32)[None, None]
    assert (sums == ends).all()
    assert head.decide(HOST, sums, all_of(sums)).ravel().tolist() == [0, STEPS]


@pytest.mark.parametrize(("threshold", "least"), [(1.0, 2**30), (0.5, 2**29), (1e-12, 1)])
def test_a_label_is_there_from_its_threshold_on(threshold, least):
    head = LabelHead((1,), (threshold,))
    sums = np.array([[[0, least - 1, least, 2**30]]], np.int32)
    assert head.decide(HOST, sums, all_of(sums)).ravel().tolist() == [0, 0, 1, 1]


@settings(max_examples=20, deadline=None)
@given(st.integers(1, 400), st.integers(0, 99))
def test_tallies_of_parts_add_up_to_that_of_the_whole(cut, seed):
    head, rng = ValueHead(0.0, 10.0), np.random.default_rng(seed)
    levels = rng.integers(0, NO_LEVEL + 1, (1, 401, 3)).astype(np.uint16)
    levels[:, rng.integers(0, 401, 50)] = NO_LEVEL
    whole, parts = head.tally(levels), [head.tally(p) for p in (levels[:, :cut], levels[:, cut:])]
    assert add_levels(p["levels"] for p in parts) == whole["levels"]
    known = levels[levels != NO_LEVEL].astype(np.int64)
    assert whole["levels"]["sum"] == known.sum()
    assert whole["levels"]["squares"] == (known**2).sum()
    assert (whole["valid"], whole["nodata"]) == (known.size, levels.size - known.size)
    assert whole["levels"]["bins"] == np.histogram(known, BINS, (0, NO_LEVEL))[0].tolist()


def test_labels_are_counted_by_class():
    planes = np.array([[[1, 0, 255]], [[1, 1, 255]]], np.uint8)
    assert LabelHead((7, 9), (0.5, 0.5)).tally(planes) == {
        "nodata": 1,
        "valid": 2,
        "classes": {"7": 1, "9": 2},
    }
