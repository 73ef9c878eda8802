"""The lines of pixels at which blocks meet."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from geoseg.vector.labels import NONE


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

    def renumbered(self, number: NDArray[np.integer]) -> "Line":
        """Return the same pixels, region i called number[i]."""
        return Line(number[self.regions].astype(np.int64), self.values)

    def __getitem__(self, part: slice) -> "Line":
        return Line(self.regions[part], self.values[part])

    def meets(self, other: "Line") -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.bool_]]:
        """Return the regions that lie side by side along two lines, and whether each two are one region."""
        both = (self.regions > 0) & (other.regions > 0)
        return self.regions[both], other.regions[both], self.values[both] == other.values[both]


def joined(lines: list[Line]) -> Line:
    """Return lines one after another."""
    return Line(np.concatenate([one.regions for one in lines]), np.concatenate([one.values for one in lines]))


@dataclass(frozen=True)
class Borders:
    """The outer pixels of a block: upper and lower ones from west to east, others from north to south."""

    top: Line
    bottom: Line
    left: Line
    right: Line

    @classmethod
    def of(cls, labels: NDArray[np.int32], values: NDArray[np.signedinteger]) -> "Borders":
        """Cut the lines out of a block.

        Parameters
        ----------
        labels, values
            Of its pixels, shape (rows, cols).
        """
        cuts = (np.s_[0, :], np.s_[-1, :], np.s_[:, 0], np.s_[:, -1])
        return cls(*(Line(labels[cut].astype(np.int64), values[cut].astype(np.int64)) for cut in cuts))
