"""The 4-connected regions of a map, found block by block.

Each block is labelled by itself; where two blocks meet, labels of equal values are one region. Regions are
numbered in the scan order of their first pixel, so no block size shows. In memory are one block, one line of
the map and some numbers for each region.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numba import njit
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from geoseg.core.geometry import Span, Window
from geoseg.vector.labels import label

Read = Callable[[Window], NDArray[np.int16]]
"""Gives the values of a window; negative ones belong to no region."""


@dataclass(frozen=True)
class Regions:
    """All regions of a map. Region 0 stands for the pixels of none."""

    values: NDArray[np.int64]
    """Value of each region, shape (N + 1,)."""
    boxes: NDArray[np.int64]
    """Rectangle around each region: top, left, bottom, right, half-open; shape (N + 1, 4)."""
    _number: NDArray[np.int64]
    """Region of each label, the labels of all blocks in a row, 0 first."""
    _offsets: NDArray[np.int64]
    """Number of labels before each block."""

    def __len__(self) -> int:
        return len(self.values) - 1

    @property
    def sizes(self) -> NDArray[np.int64]:
        """Height and width of the rectangle around each region, shape (N + 1, 2)."""
        return self.boxes[:, 2:] - self.boxes[:, :2]

    def window(self, number: int, margin: int = 0) -> Window:
        """Return the rectangle around a region, and so many pixels more on each side."""
        top, left, bottom, right = self.boxes[number].tolist()
        return Window(Span(top - margin, bottom + margin), Span(left - margin, right + margin))

    def draw(self, index: int, values: NDArray[np.int16]) -> NDArray[np.uint32]:
        """Return the region of each pixel of a block, shape (rows, cols).

        Parameters
        ----------
        index
            Number of the block.
        values
            What it holds, as `find_regions` read it.
        """
        start, stop = self._offsets[index : index + 2]
        table = np.concatenate([[0], self._number[start + 1 : stop + 1]]).astype(np.uint32)
        drawn: NDArray[np.uint32] = table[label(values)[0]]
        return drawn


def blocks_of(shape: tuple[int, int], block: int) -> Iterator[Window]:
    """Cut a map of (height, width) into blocks of at most `block` pixels a side, in scan order."""
    for row in range(0, shape[0], block):
        for col in range(0, shape[1], block):
            yield Window.of(row, col, block, block).clip(shape)


def find_regions(read: Read, shape: tuple[int, int], block: int) -> Regions:
    """Find the regions of equal values.

    Parameters
    ----------
    read
        Gives the values of a block.
    shape
        Height and width of the map.
    block
        Side of a block in pixels; does not change the result.
    """
    facts = [np.array([[-1, 0, 0, 0, 0, -1]], np.int64)]  # what `_measure` would say of region 0
    pairs, offsets, total = [np.zeros((2, 0), np.int64)], [0], 0
    above, west = _Line.empty(shape[1]), _Line.empty(0)
    for window in blocks_of(shape, block):
        values = read(window)
        labels, count = label(values)
        facts.append(_measure(labels, values, count, window.rows.start, window.cols.start, shape[1]))
        here = window.cols.relative_to(0)
        if window.cols.start:
            pairs.append(west.meet(_Line.of(labels[:, 0], values[:, 0], total)))
        pairs.append(above.part(here).meet(_Line.of(labels[0], values[0], total)))
        west = _Line.of(labels[:, -1], values[:, -1], total)
        above.replace(here, _Line.of(labels[-1], values[-1], total))
        total += count
        offsets.append(total)
    return _joined(np.concatenate(facts), np.concatenate(pairs, axis=1), np.array(offsets))


@dataclass(frozen=True)
class _Line:
    """Pixels along the edge of a block: their labels among those of all blocks, and their values."""

    labels: NDArray[np.int64]
    values: NDArray[np.int16]

    @classmethod
    def empty(cls, length: int) -> "_Line":
        return cls(np.zeros(length, np.int64), np.full(length, -1, np.int16))

    @classmethod
    def of(cls, labels: NDArray[np.int32], values: NDArray[np.int16], offset: int) -> "_Line":
        return cls(np.where(labels > 0, labels + np.int64(offset), 0), values)

    def part(self, here: slice) -> "_Line":
        return _Line(self.labels[here], self.values[here])

    def replace(self, here: slice, other: "_Line") -> None:
        self.labels[here], self.values[here] = other.labels, other.values

    def meet(self, other: "_Line") -> NDArray[np.int64]:
        """Return the labels of one value that lie side by side, shape (2, K)."""
        same = (self.values == other.values) & (self.values >= 0)
        return np.unique(np.stack([self.labels[same], other.labels[same]]), axis=1)


def _joined(facts: NDArray[np.int64], pairs: NDArray[np.int64], offsets: NDArray[np.int64]) -> Regions:
    """Make regions of labels and of the pairs that are one."""
    graph = coo_array((np.ones(pairs.shape[1], np.bool_), (pairs[0], pairs[1])), shape=(len(facts),) * 2)
    count, region = connected_components(graph, directed=False)
    merged = np.full((count, 6), np.iinfo(np.int64).max)
    merged[:, 3:] = -1
    for column, ufunc in enumerate((np.minimum,) * 3 + (np.maximum,) * 3):
        ufunc.at(merged[:, column], region, facts[:, column])
    order = np.argsort(merged[:, 0])
    rank = np.empty(count, np.int64)
    rank[order] = np.arange(count)
    merged = merged[order]
    return Regions(merged[:, 5], merged[:, 1:5], rank[region], offsets)


@njit(nogil=True, cache=True)
def _measure(labels, values, count, top, left, width):
    """Return first pixel in the map's scan order, top, left, bottom, right, value of labels: (count, 6)."""
    facts = np.full((count, 6), -1, np.int64)
    rows, cols = labels.shape
    for y in range(rows):
        for x in range(cols):
            if labels[y, x] == 0:
                continue
            fact = facts[labels[y, x] - 1]
            if fact[0] < 0:
                fact[0] = (top + y) * width + left + x
                fact[1] = top + y
                fact[2] = left + x
                fact[5] = values[y, x]
            fact[2] = min(fact[2], left + x)
            fact[3] = top + y + 1
            fact[4] = max(fact[4], left + x + 1)
    return facts
