"""Where the pixels of a map differ from their neighbours: one pass over all of them, window by window."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from numpy.typing import NDArray

from geoseg.core.geometry import Window, windows_of
from geoseg.report.survey import Changes
from geoseg.scenes.windows import to_rasterio

_WINDOW = 1024

Differ = Callable[[NDArray[Any], NDArray[Any]], tuple[NDArray[np.bool_], NDArray[np.bool_]]]
"""Given two arrays (bands, rows, cols) of neighbours: which differ, which both have data, (rows, cols)."""


def count_jumps(path: Path, differ: Differ) -> tuple[Changes, Changes]:
    """Count the pairs of neighbouring pixels that differ, from row to row and from column to column.

    Parameters
    ----------
    path
        A raster.
    differ
        Compares neighbours.
    """
    with rasterio.open(path) as src:
        rows, cols = (Changes(np.zeros(n, np.int64), np.zeros(n, np.int64)) for n in src.shape)
        for window in windows_of(src.shape, _WINDOW):
            # One more row and column in the north and west: changes across the window's edge count too.
            top, left = (min(1, s.start) for s in (window.rows, window.cols))
            wider = Window.of(
                window.rows.start - top, window.cols.start - left, window.shape[0] + top,
                window.shape[1] + left,
            )  # fmt: skip
            pixels = src.read(window=to_rasterio(wider))
            down, right = pixels[:, :, left:], pixels[:, top:]
            for found, pair, at, axis in (
                (rows, (down[:, :-1], down[:, 1:]), window.rows.stop, 1),
                (cols, (right[:, :, :-1], right[:, :, 1:]), window.cols.stop, 0),
            ):
                changed, both = differ(*pair)
                place = slice(at - changed.shape[1 - axis], at)
                found.changes[place] += (changed & both).sum(axis=axis)
                found.pairs[place] += both.sum(axis=axis)
    return rows, cols


def numbers_differ(by: float) -> Differ:
    """Return a comparison of numbers, NaN without data: whether they differ by more than an amount."""

    def differ(one: NDArray[Any], other: NDArray[Any]) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
        both = ~(np.isnan(one[0]) | np.isnan(other[0]))
        with np.errstate(invalid="ignore"):
            return np.abs(one[0] - other[0]) > by, both

    return differ


def labels_differ(nodata: int) -> Differ:
    """Return a comparison of labels: whether any of them differs."""

    def differ(one: NDArray[Any], other: NDArray[Any]) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
        return (one != other).any(axis=0), (one[0] != nodata) & (other[0] != nodata)

    return differ
