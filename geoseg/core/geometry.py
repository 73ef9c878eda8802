"""Windows on the pixel grid. Rows come before columns; a window may lie beyond the scene.

`Window` is the only window in signatures and values; the lines that call rasterio convert it with
`scenes.windows.to_rasterio`.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Size = int | tuple[int, int]
"""Side of a square, or rows and columns."""


def sides(size: Size) -> tuple[int, int]:
    """Return rows and columns."""
    return (size, size) if isinstance(size, int) else size


@dataclass(frozen=True, slots=True)
class Span:
    """The half-open pixel interval [start, stop) along one axis."""

    start: int
    stop: int

    def __len__(self) -> int:
        return max(0, self.stop - self.start)

    def clip(self, length: int) -> "Span":
        """Return the part that lies in [0, length)."""
        start = min(max(self.start, 0), length)
        return Span(start, max(start, min(self.stop, length)))

    def intersect(self, other: "Span") -> "Span":
        """Return the common part, empty when there is none."""
        start = max(self.start, other.start)
        return Span(start, max(start, min(self.stop, other.stop)))

    def shift(self, by: int) -> "Span":
        """Return the span moved by a number of pixels."""
        return Span(self.start + by, self.stop + by)

    def relative_to(self, origin: int) -> slice:
        """Return the slice that selects this span in an array whose first element is `origin`."""
        return slice(self.start - origin, self.stop - origin)


@dataclass(frozen=True, slots=True)
class Window:
    """A rectangle of pixels: spans of rows and columns of a scene."""

    rows: Span
    cols: Span

    @classmethod
    def of(cls, row: int, col: int, height: int, width: int) -> "Window":
        """Make a window from its upper-left pixel and its size."""
        return cls(Span(row, row + height), Span(col, col + width))

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width in pixels."""
        return len(self.rows), len(self.cols)

    def __bool__(self) -> bool:
        return len(self.rows) > 0 and len(self.cols) > 0

    def clip(self, shape: tuple[int, int]) -> "Window":
        """Return the part that lies in a scene of `shape` (height, width)."""
        return Window(self.rows.clip(shape[0]), self.cols.clip(shape[1]))

    def intersect(self, other: "Window") -> "Window":
        """Return the common part, empty when there is none."""
        return Window(self.rows.intersect(other.rows), self.cols.intersect(other.cols))

    def shift(self, rows: int, cols: int) -> "Window":
        """Return the window moved by a number of rows and columns."""
        return Window(self.rows.shift(rows), self.cols.shift(cols))

    def relative_to(self, other: "Window") -> tuple[slice, slice]:
        """Return the slices that select this window in an array that holds `other`."""
        return self.rows.relative_to(other.rows.start), self.cols.relative_to(other.cols.start)

    def __str__(self) -> str:
        return f"rows {self.rows.start}-{self.rows.stop}, columns {self.cols.start}-{self.cols.stop}"


def windows_of(shape: tuple[int, int], side: int) -> Iterator[Window]:
    """Cut a grid of `shape` (height, width) into windows of at most `side` pixels a side, in scan order."""
    for row in range(0, shape[0], side):
        for col in range(0, shape[1], side):
            yield Window.of(row, col, side, side).clip(shape)


def reflect(span: Span, length: int) -> NDArray[np.intp]:
    """Return the index in [0, length) of each position of a span that may lie beyond it.

    Positions beyond an end are mirrored at the outermost pixel, as `numpy.pad(mode="reflect")` does, as often
    as needed: for a length of 4 the positions -2..5 give 2 1 0 1 2 3 2 1. A length of 1 repeats its pixel.
    """
    positions = np.arange(span.start, span.stop)
    if length == 1:
        return np.zeros(len(positions), dtype=np.intp)
    period = 2 * (length - 1)
    phase = positions % period
    return np.minimum(phase, period - phase).astype(np.intp)
