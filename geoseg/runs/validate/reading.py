"""Strips of rasters, which bound the memory of a check."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import rasterio
from numpy.typing import NDArray
from rasterio.windows import Window

_PIXELS = 4_000_000
"""Pixels checked at once."""


def row_spans(shape: tuple[int, int]) -> Iterator[tuple[int, int]]:
    """Yield first and last row (exclusive) of strips that bound the memory of a check."""
    height, width = shape
    step = max(1, _PIXELS // width)
    for start in range(0, height, step):
        yield start, min(start + step, height)


def read_strip(path: Path, start: int, stop: int) -> NDArray[Any]:
    """Read all bands of some rows of a raster, shape (bands, rows, cols)."""
    with rasterio.open(path) as src:
        strip: NDArray[Any] = src.read(window=Window(0, start, src.width, stop - start))
    return strip
