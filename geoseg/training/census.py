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
from geoseg.models.card import CardStrangeness
from geoseg.models.strangeness import Gauge, steps_of
from geoseg.scenes.labelled import LabelledPixels

QUANTILE = 0.99
"""Share of the training pixels that are like them, and of the chips that are as rough as they."""

_SAMPLE, _LEAST_SAMPLE = 2**17, 16
"""Pixels that are kept of all cells together, about, and of each at least."""

_ENOUGH_PAIRS = 1024
"""Neighbours of a cell from which on its roughness counts."""


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
    sample: NDArray[np.float32] | None = None
    """Some of the valid pixels, shape (B, n)."""
    steps: NDArray[np.float64] | None = None
    """Mean products of the differences of neighbours along lines, shape (B, B); None without neighbours."""

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
    strangeness: CardStrangeness | None = None
    """How far these pixels are from their mean by this covariance; None when it is not known."""


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

    each = max(_LEAST_SAMPLE, _SAMPLE // max(1, len(cells)))

    def count(cell: tuple[Region, Window]) -> CensusCell:
        region, window = cell
        pixels = scenes[region.scene].read(window)
        known = ~np.isnan(pixels.values[0])
        valid = pixels.values[:, known].astype(np.float64)
        counts, seen, numbers = _counts(pixels.channels, classes)
        sums = valid.shape[1], valid.sum(axis=1), valid @ valid.T
        steps, pairs = steps_of(pixels.values, known)
        sample = _some(valid, each, [region.scene, window.rows.start, window.cols.start])
        return CensusCell(
            region, window, counts, *sums, seen, numbers, sample, steps if pairs >= _ENOUGH_PAIRS else None
        )

    # Reading waits for the disk and for decompression, both of which release the interpreter's lock.
    with ThreadPoolExecutor(4) as pool:
        return tuple(pool.map(count, cells))


def _some(pixels: NDArray[np.float64], most: int, seed: Sequence[int]) -> NDArray[np.float32]:
    """Return pixels (B, n) as single precision, at most `most` of them, the same ones for the same seed."""
    if pixels.shape[1] > most:
        pixels = pixels[:, np.random.default_rng(seed).choice(pixels.shape[1], most, replace=False)]
    return pixels.astype(np.float32)


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
    std = np.sqrt(np.maximum(np.diag(covariance), 1e-12))
    return Statistics(mean, std, covariance, strangeness(cells, mean, covariance))


def strangeness(
    cells: Sequence[CensusCell], mean: NDArray[np.float64], covariance: NDArray[np.float64]
) -> CardStrangeness | None:
    """Return how far 99 of 100 pixels of cells are from a mean, and how rough 99 of 100 cells are.

    The limit is that of the pixels themselves: reflectance is not normally distributed, and a quantile of
    chi-squared would call far more than one in a hundred of them unlike.

    Returns
    -------
    CardStrangeness or None
        None when no cell has a sample, or all pixels are alike.
    """
    sampled = [c for c in cells if c.sample is not None and c.sample.size]
    gauge = Gauge.of(mean, rounded(covariance))
    if not sampled:
        return None
    distances = [gauge.distances(c.sample) for c in sampled if c.sample is not None]
    weights = [np.full(len(d), c.valid / len(d)) for c, d in zip(sampled, distances, strict=True)]
    limit = np.quantile(
        np.concatenate(distances), QUANTILE, weights=np.concatenate(weights), method="inverted_cdf"
    )
    if not limit > 0:
        return None
    rough = [gauge.texture(c.steps) for c in cells if c.steps is not None]
    texture = float(np.quantile(rough, QUANTILE)) if rough else 0.0
    return CardStrangeness(
        distance=float(f"{limit:.5g}"), texture=float(f"{texture:.5g}") if texture > 0 else None
    )


def rounded(covariance: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return a covariance as a card holds it."""
    return np.array([[float(f"{v:.5g}") for v in row] for row in covariance])
