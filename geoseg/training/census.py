"""The census of labelled data: class counts and sums of band values, from one pass over all scenes.

Cells are squares of about the size of a chip. Sampling, splits, class weights and band statistics are
computed from the cells, so scenes that do not fit in memory are read only once for them.
"""

import math
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from geoseg.core.geometry import Size, Span, Window, sides
from geoseg.core.legend import IGNORE
from geoseg.scenes.labelled import LabelledPixels


class LabelledReader(Protocol):
    """A labelled scene, read from disk or kept in memory."""

    @property
    def name(self) -> str:
        """Name of the scene."""
        ...

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width in pixels."""
        ...

    def read(self, window: Window) -> LabelledPixels:
        """Read a window, which may lie beyond the scene."""
        ...


@dataclass(frozen=True)
class Region:
    """A part of a scene from which chips may be taken."""

    scene: int
    """Index of the scene."""
    window: Window
    unit: str
    """Name of the group, scene or block that lies in one part of the data as a whole."""


@dataclass(frozen=True)
class NumberSums:
    """Sums of numbers."""

    count: int = 0
    total: float = 0.0
    squares: float = 0.0
    least: float = math.inf
    most: float = -math.inf

    @classmethod
    def of(cls, values: NDArray[np.floating[Any]]) -> "NumberSums":
        """Sum up numbers, NaN left out."""
        known = values[~np.isnan(values)].astype(np.float64)
        if not known.size:
            return cls()
        return cls(
            known.size, float(known.sum()), float(known @ known), float(known.min()), float(known.max())
        )

    def __add__(self, other: "NumberSums") -> "NumberSums":
        return NumberSums(
            self.count + other.count, self.total + other.total, self.squares + other.squares,
            min(self.least, other.least), max(self.most, other.most),
        )  # fmt: skip

    @property
    def mean(self) -> float:
        """Mean of the numbers."""
        return self.total / self.count

    @property
    def std(self) -> float:
        """Standard deviation of the numbers."""
        return math.sqrt(max(0.0, self.squares / self.count - self.mean**2))


@dataclass(frozen=True)
class CensusCell:
    """A square of a region, with its class counts and band sums."""

    region: Region
    window: Window
    classes: NDArray[np.int64]
    """Labelled pixels of each channel, shape (C,)."""
    valid: int
    """Number of valid pixels."""
    total: NDArray[np.float64]
    """Sum of the valid values of each band, shape (B,)."""
    products: NDArray[np.float64]
    """Sum of the products of the valid values of each two bands, shape (B, B)."""
    seen: int | None = None
    """Labelled pixels where they are not the sum of `classes`: a pixel may have several labels or none."""
    numbers: NumberSums | None = None
    """Sums of the labels, where they are numbers."""

    @property
    def labelled(self) -> int:
        """Number of labelled pixels."""
        return int(self.classes.sum()) if self.seen is None else self.seen


@dataclass(frozen=True)
class Statistics:
    """Mean and standard deviation of each band over valid pixels, in physical units, shape (B,)."""

    mean: NDArray[np.float64]
    std: NDArray[np.float64]
    covariance: NDArray[np.float64] | None = None
    """Covariance of the bands, shape (B, B); None when only the others are known."""


def take_census(
    scenes: Sequence[LabelledReader], regions: Sequence[Region], size: Size, classes: int
) -> tuple[CensusCell, ...]:
    """Count the classes and sum up the values of all cells.

    Parameters
    ----------
    scenes
        The labelled scenes.
    regions
        The parts of the scenes that are counted.
    size
        Side of a cell in pixels, or its rows and columns; the last cell of a row or column may be smaller.
    classes
        Number of channels.
    """
    cells = [(region, window) for region in regions for window in cut(region.window, size)]

    def count(cell: tuple[Region, Window]) -> CensusCell:
        region, window = cell
        pixels = scenes[region.scene].read(window)
        valid = pixels.values[:, ~np.isnan(pixels.values[0])].astype(np.float64)
        counts, seen, numbers = _counts(pixels.channels, classes)
        sums = valid.shape[1], valid.sum(axis=1), valid @ valid.T
        return CensusCell(region, window, counts, *sums, seen, numbers)

    # Reading waits for the disk and for decompression, both of which release the interpreter's lock.
    with ThreadPoolExecutor(4) as pool:
        return tuple(pool.map(count, cells))


def _counts(channels: NDArray[Any], classes: int) -> tuple[NDArray[np.int64], int | None, NumberSums | None]:
    """Return pixels of each class; labelled pixels, where these are not their sum; and sums of numbers."""
    if channels.dtype.kind == "f":
        sums = NumberSums.of(channels)
        return np.array([sums.count]), None, sums
    if channels.ndim == 3:
        known = (channels != IGNORE).any(axis=0)
        return (channels == 1).sum(axis=(1, 2)), int(known.sum()), None
    labelled = channels[channels != IGNORE]
    return np.bincount(labelled, minlength=classes).astype(np.int64), None, None


def cut(window: Window, size: Size) -> Iterator[Window]:
    """Yield the cells of a window in scan order."""
    height, width = sides(size)
    for row in range(window.rows.start, window.rows.stop, height):
        for col in range(window.cols.start, window.cols.stop, width):
            rows, cols = Span(row, row + height), Span(col, col + width)
            yield Window(rows.intersect(window.rows), cols.intersect(window.cols))


def class_counts(cells: Iterable[CensusCell], classes: int) -> NDArray[np.int64]:
    """Return the labelled pixels of each channel, shape (C,)."""
    total = np.zeros(classes, dtype=np.int64)
    for cell in cells:
        total += cell.classes
    return total


def statistics(cells: Sequence[CensusCell]) -> Statistics:
    """Return mean, standard deviation and covariance of the bands.

    Raises
    ------
    ValueError
        When no cell has a valid pixel.
    """
    n = sum(c.valid for c in cells)
    if n == 0:
        raise ValueError("no valid pixel")
    mean = sum((c.total for c in cells), np.zeros(1)) / n
    covariance = sum((c.products for c in cells), np.zeros((1, 1))) / n - np.outer(mean, mean)
    # A constant band would otherwise lead to a division by zero.
    return Statistics(mean, np.sqrt(np.maximum(np.diag(covariance), 1e-12)), covariance)
