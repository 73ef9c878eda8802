"""The mean of several networks, and how far they disagree."""

import math

import numpy as np
import pytest

from geoseg.core.geometry import Window
from geoseg.core.legend import NODATA
from geoseg.tiling.arrays import HOST, all_of
from geoseg.tiling.blocks import BlockGrid
from geoseg.tiling.ensemble import EnsembleHead, disagreement
from geoseg.tiling.grid import TileAxis, TileGrid
from geoseg.tiling.heads import ClassHead
from geoseg.tiling.mosaic import Mosaic
from geoseg.tiling.thresholds import NOTHING, Thresholds

ONE = 1 << 30
IDS = (7, 3, 5)


def predictions(members=3, shape=(70, 40), seed=0):
    """Sums of the probabilities of members, shape (members, 3, rows, cols)."""
    random = np.random.default_rng(seed)
    shares = random.dirichlet([0.4] * 3, (members, *shape))
    return np.moveaxis((shares * ONE).astype(np.int32), 3, 1)


def decided(head, sums):
    flat = sums.reshape(-1, *sums.shape[2:])
    return head.decide(HOST, flat, all_of(flat))


def test_the_class_is_that_of_the_exact_mean():
    sums = predictions()
    planes = decided(EnsembleHead(IDS, 3, every=True), sums)
    mean = sums.astype(object).sum(axis=0) / 3
    assert (planes[0] == np.array(IDS)[mean.astype(float).argmax(axis=0)]).all()
    percent = 100 * mean.astype(float) / ONE
    assert np.abs(planes[2:] - percent).max() < 0.51
    assert (planes[1] == planes[2:].max(axis=0)).all()


def test_a_difference_of_one_step_in_the_sum_decides():
    sums = np.zeros((2, 3, 1, 1), np.int32)
    sums[:, 0, 0, 0], sums[:, 1, 0, 0] = (ONE // 2, ONE // 2), (ONE // 2, ONE // 2 + 1)
    assert decided(EnsembleHead(IDS, 2), sums)[0, 0, 0] == IDS[1]


@pytest.mark.parametrize("thresholds", [None, Thresholds((0, ONE // 4, ONE // 3), NOTHING)])
def test_one_network_several_times_is_that_network(thresholds):
    sums = np.repeat(predictions(1), 3, axis=0)
    head = EnsembleHead(IDS, 3, True, thresholds, disagreement=True)
    planes = decided(head, sums)
    alone = decided(ClassHead(IDS, True, thresholds), sums[:1])
    assert (planes[:-1] == alone).all()
    assert (planes[-1] == np.where(alone[0] == NODATA, NODATA, 0)).all()


def test_the_disagreement_is_the_mutual_information():
    sums = predictions(4, seed=1)
    p = sums / ONE

    def entropy(p, axis):
        return -np.sum(p * np.log2(np.maximum(p, 1e-300)), axis=axis)

    expected = (entropy(p.mean(axis=0), 0) - entropy(p, 1).mean(axis=0)) / math.log2(3)
    found = disagreement(sums)
    assert np.abs(found - 100 * expected).max() < 0.6
    assert found.min() < 5
    assert found.max() > 60
    # The order of members plays no part.
    assert (found == disagreement(sums[::-1])).all()


def test_blocks_of_any_size_give_the_same_bytes():
    """Members hand their fringes on together."""
    grid = TileGrid(TileAxis(150, 64, 16), TileAxis(110, 64, 16))
    head = EnsembleHead(IDS, 2, every=True, disagreement=True)
    random = np.random.default_rng(3)
    tiles = {
        (i, j): random.dirichlet([0.5] * 3, (2, 64, 64)).astype(np.float32).transpose(0, 3, 1, 2)
        for i in range(grid.rows.count)
        for j in range(grid.cols.count)
    }
    by_window = {grid.window(i, j): t for (i, j), t in tiles.items()}

    def planes(side):
        blocks, out = BlockGrid.of(grid, side), np.zeros((head.planes, 150, 110), np.uint8)
        parts = {}
        for block in blocks:
            mosaic = Mosaic(grid, block, head=head)
            for member in (1, 0) if side == 1 else (0, 1):
                for tile in block.tiles:
                    mosaic.add(tile, by_window[tile][member], member)
            parts[block.row, block.col] = block, mosaic.parts()
        for (row, col), (block, part) in parts.items():
            beside = [(row - 1, col, "south"), (row, col - 1, "east"), (row - 1, col - 1, "southeast")]
            fringes = [getattr(parts[r, c][1].fringe, n) if (r, c) in parts else None for r, c, n in beside]
            strips, own = part.strips.settle(*fringes), part.planes.copy()
            for target, sums in (
                (own[:, : block.open_rows], strips.north),
                (own[:, block.open_rows :, : block.open_cols], strips.west),
            ):
                if sums.size:
                    target[:] = head.decide(HOST, sums, all_of(sums))
            out[:, *block.core.relative_to(Window.of(0, 0, 150, 110))] = own
        return out

    whole = planes(9)
    assert (planes(1) == whole).all()
    assert (planes(2) == whole).all()
    assert len(np.unique(whole[0])) == 3
