"""The 4-connected regions of a map, found block by block.

Each block is labelled by itself; where two blocks meet, labels of equal values are one region. Regions are
numbered in the scan order of their first pixel, so the result does not depend on the block size. Memory holds
one block, one line of the map and some numbers for each region.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from geoseg.core.geometry import Span, Window, windows_of
from geoseg.vector.trace.borders import BorderLine, Borders, Seams
from geoseg.vector.trace.components import Runs

Read = Callable[[Window], NDArray[np.int16]]
"""Returns the values of a window; pixels with a negative value belong to no region."""


@dataclass(frozen=True)
class Regions:
    """All regions of a map. Region 0 stands for the pixels that belong to no region."""

    values: NDArray[np.int64]
    """Value of each region, shape (N + 1,)."""
    boxes: NDArray[np.int64]
    """Rectangle around each region: top, left, bottom, right, half-open; shape (N + 1, 4)."""
    _number: NDArray[np.int64]
    """Region of each label, the labels of all blocks one after another; 0 first."""
    _offsets: NDArray[np.int64]
    """Where the labels of each block begin, and where those of the last block end."""

    def __len__(self) -> int:
        return len(self.values) - 1

    @property
    def sizes(self) -> NDArray[np.int64]:
        """Height and width of the rectangle around each region, shape (N + 1, 2)."""
        return self.boxes[:, 2:] - self.boxes[:, :2]

    def window(self, number: int, margin: int = 0) -> Window:
        """Return the rectangle around a region, widened by a margin in pixels on each side."""
        top, left, bottom, right = self.boxes[number].tolist()
        return Window(Span(top - margin, bottom + margin), Span(left - margin, right + margin))

    def draw(self, index: int, values: NDArray[np.int16]) -> NDArray[np.uint32]:
        """Return the region of each pixel of a block, shape (rows, cols).

        Parameters
        ----------
        index
            Number of the block in scan order.
        values
            Its values, as `find_regions` read them.
        """
        start, stop = self._offsets[index : index + 2]
        table = np.append(0, self._number[start:stop]).astype(np.uint32)
        runs = Runs.of(values)
        return runs.to_pixels(table[runs.labels])


def find_regions(read: Read, shape: tuple[int, int], block: int) -> Regions:
    """Find the regions of equal values.

    Parameters
    ----------
    read
        Returns the values of a block.
    shape
        Height and width of the map.
    block
        Side of a block in pixels; does not change the result.
    """
    facts = [np.array([[-1, 0, 0, 0, 0, -1]], np.int64)]  # of region 0
    seams, offsets = Seams(BorderLine.empty(shape[1]), count=1), [1]
    for window in windows_of(shape, block):
        runs = Runs.of(read(window))
        facts.append(_facts(runs, window.rows.start, window.cols.start, shape[1]))
        seams.add(window.cols.start, Borders.of(runs), runs.count)
        offsets.append(seams.count)
    _, region = np.unique(seams.roots(), return_inverse=True)
    merged = _merged(np.concatenate(facts), region)
    order = np.argsort(merged[:, 0])
    rank = np.argsort(order)
    return Regions(merged[order, 5], merged[order, 1:5], rank[region], np.array(offsets))


def _facts(runs: Runs, top: int, left: int, width: int) -> NDArray[np.int64]:
    """Return for each label its first pixel in scan order, top, left, bottom, right and value: (count, 6)."""
    start, stop = runs.starts[:-1].astype(np.int64), runs.starts[1:].astype(np.int64)
    row = start // runs.shape[1]
    y, west, east = top + row, left + start - row * runs.shape[1], left + stop - row * runs.shape[1]
    each = [y * width + west, y, west, y + 1, east, runs.values]
    return _merged(np.stack(each, axis=1), runs.labels)[1:]


def _merged(facts: NDArray[np.int64], region: NDArray[np.integer]) -> NDArray[np.int64]:
    """Return the facts of regions from those of their parts, shape (regions, 6)."""
    merged = np.full((region.max() + 1, 6), np.iinfo(np.int64).max)
    merged[:, 3:] = -1
    for column, ufunc in enumerate((np.minimum,) * 3 + (np.maximum,) * 3):
        ufunc.at(merged[:, column], region, facts[:, column])
    return merged
