"""What lies where in labelled data: one pass that reads everything once.

Cells are squares about the size of a chip. Sampling, splits, class weights and band statistics all follow
from their counts, so nothing has to be kept of scenes that do not fit in memory.
"""

from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from geoseg.core.geometry import Span, Window
from geoseg.core.legend import IGNORE
from geoseg.scenes.labelled import LabelledPixels


class Place(Protocol):
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

    place: int
    """Index of the scene."""
    window: Window
    unit: str
    """What may not be divided between parts: a group, a scene or a block."""


@dataclass(frozen=True)
class Cell:
    """A square of a region and what it holds."""

    region: Region
    window: Window
    classes: NDArray[np.int64]
    """Labelled pixels of each channel, shape (C,)."""
    valid: int
    """Pixels with values."""
    total: NDArray[np.float64]
    """Sum of the valid values of each band, shape (B,)."""
    squares: NDArray[np.float64]
    """Sum of their squares, shape (B,)."""


@dataclass(frozen=True)
class Statistics:
    """Mean and standard deviation of each band over valid pixels, in physical units, shape (B,)."""

    mean: NDArray[np.float64]
    std: NDArray[np.float64]


def take_census(
    places: Sequence[Place], regions: Sequence[Region], size: int, classes: int
) -> tuple[Cell, ...]:
    """Count classes and add up values in all cells.

    Parameters
    ----------
    places
        The labelled scenes.
    regions
        The parts of them that are looked at.
    size
        Side of a cell in pixels; the last of a row or column may be smaller.
    classes
        Number of channels.
    """
    cells = [(region, window) for region in regions for window in cut(region.window, size)]

    def count(cell: tuple[Region, Window]) -> Cell:
        region, window = cell
        pixels = places[region.place].read(window)
        seen = pixels.values[:, ~np.isnan(pixels.values[0])].astype(np.float64)
        labelled = pixels.channels[pixels.channels != IGNORE]
        counts = np.bincount(labelled, minlength=classes).astype(np.int64)
        return Cell(region, window, counts, seen.shape[1], seen.sum(axis=1), (seen**2).sum(axis=1))

    # Reading waits for the disk and for decompression, both outside the interpreter's lock.
    with ThreadPoolExecutor(4) as pool:
        return tuple(pool.map(count, cells))


def cut(window: Window, size: int) -> Iterator[Window]:
    """Yield the squares of a window in scan order."""
    for row in range(window.rows.start, window.rows.stop, size):
        for col in range(window.cols.start, window.cols.stop, size):
            rows, cols = Span(row, row + size), Span(col, col + size)
            yield Window(rows.intersect(window.rows), cols.intersect(window.cols))


def class_counts(cells: Iterable[Cell], classes: int) -> NDArray[np.int64]:
    """Add up the labelled pixels of each channel, shape (C,)."""
    total = np.zeros(classes, dtype=np.int64)
    for cell in cells:
        total += cell.classes
    return total


def statistics(cells: Sequence[Cell]) -> Statistics:
    """Return mean and standard deviation of each band.

    Raises
    ------
    ValueError
        When no cell has a valid pixel.
    """
    n = sum(c.valid for c in cells)
    if n == 0:
        raise ValueError("no valid pixel")
    mean = sum((c.total for c in cells), np.zeros(1)) / n
    variance = sum((c.squares for c in cells), np.zeros(1)) / n - mean**2
    # A band that never changes would divide by zero.
    return Statistics(mean, np.sqrt(np.maximum(variance, 1e-12)))
