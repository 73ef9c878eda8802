"""Statistics of the maps of a run, from one pass over all pixels, window by window."""

import contextlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import rasterio
from numpy.typing import NDArray

from geoseg.core.errors import OutputError
from geoseg.core.geometry import Window, windows_of
from geoseg.core.legend import NODATA
from geoseg.report import _kernels
from geoseg.scenes.windows import to_rasterio

CELLS = 24
"""Approximate number of cells of the coarse grid along the longer side."""

PERCENTS = 101
"""Number of values of the confidence, which is written in whole per cent, 0 to 100."""

_WINDOW = 1024


@dataclass(frozen=True)
class Changes:
    """Class changes along one axis: entry i is the line between pixels i - 1 and i."""

    changes: NDArray[np.int64]
    """Pairs of pixels with two different classes, shape (length,)."""
    pairs: NDArray[np.int64]
    """Pairs of pixels that both have a class, shape (length,)."""


@dataclass(frozen=True)
class CoarseCell:
    """A cell of the coarse grid."""

    window: Window
    pixels: int
    """Number of pixels with a class."""
    confidence: float
    """Mean confidence of these pixels, 0 to 1."""


@dataclass(frozen=True)
class Survey:
    """Sums over all pixels of a class map and its confidence map."""

    counts: NDArray[np.int64]
    """Pixels by class id and per cent of confidence, shape (255, 101); at 0 % without a confidence map."""
    cells: tuple[CoarseCell, ...]
    """Cells of the coarse grid that have a class, row by row; empty without a confidence map."""
    rows: Changes
    """Changes between one row and the next."""
    cols: Changes
    """Changes between one column and the next."""

    @property
    def histogram(self) -> NDArray[np.int64]:
        """Pixels by per cent of confidence, shape (101,)."""
        totals: NDArray[np.int64] = self.counts.sum(axis=0)
        return totals


def mean_confidence(histogram: NDArray[np.int64]) -> float:
    """Return the mean confidence, 0 to 1, of pixels counted by per cent, shape (101,); NaN without pixels."""
    total = int(histogram.sum())
    return float(histogram @ np.arange(PERCENTS)) / (100 * total) if total else float("nan")


def survey(class_map: Path, confidence: Path | None) -> Survey:
    """Sum up a class map and its confidence map in one pass.

    Parameters
    ----------
    class_map
        Class ids, uint8, 255 without a class.
    confidence
        Confidence from 0 to 1 on the same grid, or None.

    Raises
    ------
    OutputError
        When the two are not on one grid.
    """
    with contextlib.ExitStack() as stack:
        classes = stack.enter_context(rasterio.open(class_map))
        if confidence is None:
            return _survey(classes, None)
        shares = stack.enter_context(rasterio.open(confidence))
        if (shares.shape, shares.transform) != (classes.shape, classes.transform):
            raise OutputError(f"{confidence}: is not on the grid of {class_map.name} beside it")
        return _survey(classes, shares)


def _survey(classes: rasterio.DatasetReader, shares: rasterio.DatasetReader | None) -> Survey:
    height, width = classes.shape
    side = max(1, -(-max(height, width) // CELLS))
    grid = -(-height // side), -(-width // side)
    counts = np.zeros((NODATA + 1, PERCENTS), dtype=np.int64)
    pixels, percents = np.zeros(grid, dtype=np.int64), np.zeros(grid, dtype=np.int64)
    rows, cols = (Changes(np.zeros(n, dtype=np.int64), np.zeros(n, dtype=np.int64)) for n in (height, width))
    for window in windows_of((height, width), _WINDOW):
        # One more row and column in the north and west: changes across the window's edge count too.
        wider = Window.of(
            window.rows.start - 1, window.cols.start - 1, window.shape[0] + 1, window.shape[1] + 1
        ).clip((height, width))
        percent = np.zeros(window.shape, dtype=np.uint8)
        if shares is not None:
            percent = np.rint(_read(shares, window) * 100).clip(0, PERCENTS - 1).astype(np.uint8)
        _kernels.count_pixels(
            _read(classes, wider), percent, (wider.rows.start, wider.cols.start),
            (window.rows.start, window.cols.start), side, counts, (pixels, percents),
            (rows.pairs, rows.changes, cols.pairs, cols.changes),
        )  # fmt: skip
    cells = _cells((height, width), side, pixels, percents) if shares is not None else ()
    return Survey(counts[:NODATA], cells, rows, cols)


def _read(src: rasterio.DatasetReader, window: Window) -> NDArray[np.generic]:
    pixels: NDArray[np.generic] = src.read(1, window=to_rasterio(window))
    return pixels


def _cells(
    shape: tuple[int, int], side: int, pixels: NDArray[np.int64], percents: NDArray[np.int64]
) -> tuple[CoarseCell, ...]:
    return tuple(
        CoarseCell(
            Window.of(int(row) * side, int(col) * side, side, side).clip(shape),
            int(pixels[row, col]),
            float(percents[row, col] / pixels[row, col] / 100),
        )
        for row, col in np.argwhere(pixels)
    )
