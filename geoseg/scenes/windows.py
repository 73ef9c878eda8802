"""Windows at the rim: rasterio's own, and arrays for Dask that are read by windows.

Everywhere else a window is `core.geometry.Window`.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import rasterio
from numpy.typing import NDArray

from geoseg.core.geometry import Span, Window


def to_rasterio(window: Window) -> rasterio.windows.Window:
    """Return the window as rasterio takes it: columns before rows, offsets before sizes."""
    height, width = window.shape
    return rasterio.windows.Window(window.cols.start, window.rows.start, width, height)


class WindowArray:
    """An array for Dask that reads a window when it is indexed.

    Parameters
    ----------
    shape
        (rows, cols), or (bands, rows, cols).
    dtype
        Data type of the numbers.
    read
        Returns a window as an array of shape (rows, cols), or (bands, rows, cols) with all bands.
    """

    def __init__(
        self, shape: tuple[int, ...], dtype: np.dtype[Any], read: Callable[[Window], NDArray[Any]]
    ) -> None:
        self.shape, self.dtype, self.read = shape, dtype, read
        self.ndim = len(shape)

    def __getitem__(self, key: Sequence[slice | int]) -> NDArray[Any]:
        # Dask passes later slices down to here: numbers, steps and empty spans as well as chunks.
        *bands, rows, cols = (np.arange(n)[k] for k, n in zip(key, self.shape, strict=True))
        if rows.size == 0 or cols.size == 0:
            return np.empty([n for picked in (*bands, rows, cols) for n in picked.shape], self.dtype)
        window = Window(*(Span(int(p.min()), int(p.max()) + 1) for p in (rows, cols)))
        found = self.read(window)
        for picked in bands:
            found = found[picked]
        found = found[..., rows - window.rows.start, :]
        return found[..., cols - window.cols.start]
