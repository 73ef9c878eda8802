"""The lines of pixels at which blocks meet, and the regions that go on over them."""

from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from geoseg.vector.trace._run_kernels import find_roots, unite_all
from geoseg.vector.trace.components import NONE, Runs


@dataclass(frozen=True)
class Line:
    """Pixels in a row or a column."""

    regions: NDArray[np.int64]
    """Region of each pixel, 0 for none, shape (N,)."""
    values: NDArray[np.int64]
    """Value of each pixel, shape (N,)."""

    @classmethod
    def empty(cls, length: int) -> "Line":
        """Return pixels of no region."""
        return cls(np.zeros(length, np.int64), np.full(length, NONE, np.int64))

    @classmethod
    def joined(cls, lines: "list[Line]") -> "Line":
        """Return lines one after another."""
        regions, values = [one.regions for one in lines], [one.values for one in lines]
        return cls(np.concatenate(regions), np.concatenate(values))

    def renumbered(self, number: NDArray[np.integer]) -> "Line":
        """Return the same pixels, region i called number[i]."""
        return Line(number[self.regions].astype(np.int64), self.values)

    def __len__(self) -> int:
        return len(self.regions)

    def __getitem__(self, part: slice) -> "Line":
        return Line(self.regions[part], self.values[part])

    def meets(self, other: "Line") -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.bool_]]:
        """Return the regions that lie side by side along two lines, and whether each two are one region."""
        both = (self.regions > 0) & (other.regions > 0)
        return self.regions[both], other.regions[both], self.values[both] == other.values[both]


@dataclass(frozen=True)
class Borders:
    """The outer pixels of a block: upper and lower ones from west to east, others from north to south."""

    top: Line
    bottom: Line
    left: Line
    right: Line

    @classmethod
    def of(cls, runs: Runs) -> "Borders":
        """Cut the lines out of a block."""
        first, last = slice(*runs.rows[:2]), slice(*runs.rows[-2:])
        regions, values, lengths = runs.labels.astype(np.int64), runs.values, runs.lengths
        lines = [
            Line(np.repeat(regions[y], lengths[y]), np.repeat(values[y], lengths[y])) for y in (first, last)
        ]
        columns = [Line(regions[ends], values[ends]) for ends in (runs.rows[:-1], runs.rows[1:] - 1)]
        return cls(*lines, *columns)

    def renumbered(self, number: NDArray[np.integer]) -> "Borders":
        """Return the same pixels, region i called number[i]."""
        return Borders(*(getattr(self, f.name).renumbered(number) for f in fields(self)))


@dataclass(frozen=True)
class Joined:
    """A block beside those that came before it."""

    number: NDArray[np.int64]
    """Number of each label among the regions of all blocks, 0 first."""
    above: Line
    """The pixels north of the block, numbered like that."""
    west: Line
    """The pixels west of it."""
    neighbours: NDArray[np.int64]
    """Different regions at each pixel edge between the block and these lines, shape (E, 2)."""


class Seams:
    """Numbers the regions of blocks that come in scan order, and joins what is one beyond its block."""

    def __init__(self, above: Line, taken: int) -> None:
        """Begin with a row of blocks.

        Parameters
        ----------
        above
            The line of pixels above it.
        taken
            Regions that there are, 0 for nobody among them.
        """
        self._above, self._west, self._below = above, Line.empty(0), list[Line]()
        self.taken = taken
        self._same: list[tuple[NDArray[np.int64], NDArray[np.int64]]] = []

    def add(self, col: int, borders: Borders, count: int) -> Joined:
        """Take the next block.

        Parameters
        ----------
        col
            Its first column on the map.
        borders
            Its outer pixels, with labels from 1 to `count`.
        count
            Its regions.
        """
        if col == 0:
            self._above, self._below = self.line, []
            self._west = Line.empty(len(borders.left))
        number = np.append(0, np.arange(self.taken, self.taken + count))
        self.taken += count
        own = borders.renumbered(number)
        above, west = self._above[col : col + len(own.top)], self._west
        neighbours = []
        for there, here in ((above, own.top), (west, own.left)):
            a, b, is_one = there.meets(here)
            self._same.append((a[is_one], b[is_one]))
            neighbours.append(np.stack([a[~is_one], b[~is_one]], axis=1))
        self._below.append(own.bottom)
        self._west = own.right
        return Joined(number, above, west, np.concatenate(neighbours))

    @property
    def line(self) -> Line:
        """The last pixels of the row of blocks."""
        return Line.joined(self._below) if self._below else self._above

    def roots(self) -> NDArray[np.int32]:
        """Return for each region the smallest number that it has in a block, shape (regions,)."""
        parent = np.arange(self.taken, dtype=np.int32)
        for a, b in self._same:
            unite_all(parent, a, b)
        found: NDArray[np.int32] = find_roots(parent)
        return found
