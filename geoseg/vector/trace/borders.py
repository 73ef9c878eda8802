"""The lines of pixels along which blocks meet, and the regions that continue across them."""

from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from geoseg.vector.trace._run_kernels import find_roots, unite_all
from geoseg.vector.trace.components import NONE, Runs


@dataclass(frozen=True)
class BorderLine:
    """Pixels along one side of a block, or of a row of blocks."""

    regions: NDArray[np.int64]
    """Region of each pixel, 0 for none, shape (N,)."""
    values: NDArray[np.int64]
    """Value of each pixel, shape (N,)."""

    @classmethod
    def empty(cls, length: int) -> "BorderLine":
        """Return a line of pixels that belong to no region."""
        return cls(np.zeros(length, np.int64), np.full(length, NONE, np.int64))

    @classmethod
    def joined(cls, lines: "list[BorderLine]") -> "BorderLine":
        """Return the pixels of all lines, one line after another."""
        regions, values = [one.regions for one in lines], [one.values for one in lines]
        return cls(np.concatenate(regions), np.concatenate(values))

    def renumbered(self, number: NDArray[np.integer]) -> "BorderLine":
        """Return the pixels with region i renamed to number[i]."""
        return BorderLine(number[self.regions].astype(np.int64), self.values)

    def __len__(self) -> int:
        return len(self.regions)

    def __getitem__(self, part: slice) -> "BorderLine":
        return BorderLine(self.regions[part], self.values[part])

    def meets(self, other: "BorderLine") -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.bool_]]:
        """Return the regions on both sides where two lines touch, and whether each pair is one region."""
        both = (self.regions > 0) & (other.regions > 0)
        return self.regions[both], other.regions[both], self.values[both] == other.values[both]


@dataclass(frozen=True)
class Borders:
    """The outer pixels of a block: top and bottom from west to east, left and right from north to south."""

    top: BorderLine
    bottom: BorderLine
    left: BorderLine
    right: BorderLine

    @classmethod
    def of(cls, runs: Runs) -> "Borders":
        """Return the outer pixels of a block."""
        first, last = slice(*runs.rows[:2]), slice(*runs.rows[-2:])
        regions, values, lengths = runs.labels.astype(np.int64), runs.values, runs.lengths
        lines = [
            BorderLine(np.repeat(regions[y], lengths[y]), np.repeat(values[y], lengths[y]))
            for y in (first, last)
        ]
        columns = [BorderLine(regions[ends], values[ends]) for ends in (runs.rows[:-1], runs.rows[1:] - 1)]
        return cls(*lines, *columns)

    def renumbered(self, number: NDArray[np.integer]) -> "Borders":
        """Return the pixels with region i renamed to number[i]."""
        return Borders(*(getattr(self, f.name).renumbered(number) for f in fields(self)))


@dataclass(frozen=True)
class PlacedBlock:
    """A block in its place beside the blocks that came before it."""

    number: NDArray[np.int64]
    """Number of each label of the block among the regions of all blocks; 0 for label 0."""
    above: BorderLine
    """The pixels north of the block, with these numbers."""
    west: BorderLine
    """The pixels west of the block, with these numbers."""
    neighbours: NDArray[np.int64]
    """The two regions at each pixel edge between two regions along these lines, shape (E, 2)."""


class Seams:
    """Numbers the regions of blocks, which are added in scan order, and joins regions across blocks."""

    def __init__(self, above: BorderLine, count: int) -> None:
        """Begin before a row of blocks.

        Parameters
        ----------
        above
            The line of pixels above it.
        count
            Numbers in use, 0 for no region among them.
        """
        self._above, self._west, self._below = above, BorderLine.empty(0), list[BorderLine]()
        self.count = count
        self._same: list[tuple[NDArray[np.int64], NDArray[np.int64]]] = []

    def add(self, col: int, borders: Borders, labels: int) -> PlacedBlock:
        """Add the next block and number its regions.

        Parameters
        ----------
        col
            First column of the block on the map.
        borders
            Its outer pixels, with labels from 1 to `labels`.
        labels
            Number of its regions.
        """
        if col == 0:
            self._above, self._below = self.line, []
            self._west = BorderLine.empty(len(borders.left))
        number = np.append(0, np.arange(self.count, self.count + labels))
        self.count += labels
        own = borders.renumbered(number)
        above, west = self._above[col : col + len(own.top)], self._west
        neighbours = []
        for there, here in ((above, own.top), (west, own.left)):
            a, b, is_one = there.meets(here)
            self._same.append((a[is_one], b[is_one]))
            neighbours.append(np.stack([a[~is_one], b[~is_one]], axis=1))
        self._below.append(own.bottom)
        self._west = own.right
        return PlacedBlock(number, above, west, np.concatenate(neighbours))

    @property
    def line(self) -> BorderLine:
        """The bottom pixels of the row of blocks."""
        return BorderLine.joined(self._below) if self._below else self._above

    def roots(self) -> NDArray[np.int32]:
        """Return the root of each number: the smallest one of the same region, shape (numbers,)."""
        parent = np.arange(self.count, dtype=np.int32)
        for a, b in self._same:
            unite_all(parent, a, b)
        roots: NDArray[np.int32] = find_roots(parent)
        return roots
