"""Overviews of class maps: the most frequent class of the pixels below.

The pixels are those of GDAL's MODE (`GDALResampleChunk_Mode` of gcore/overview.cpp), which takes several
times as long. Each overview is made from the one before, some rows at a time.
"""

from pathlib import Path

import numpy as np
import rasterio
from numpy.typing import NDArray

from geoseg.core.geometry import Window
from geoseg.raster import _kernels
from geoseg.scenes.windows import to_rasterio

_ROWS = 256
"""Rows of an overview that are made at once, and the side of its internal tiles."""


def overview_shapes(shape: tuple[int, int], longest: int) -> list[tuple[int, int]]:
    """Return the shapes of overviews as GDAL's COG driver: halved until no side is longer than `longest`."""
    shapes = []
    while max(shape) > longest:
        shape = max(1, shape[0] // 2), max(1, shape[1] // 2)
        shapes.append(shape)
    return shapes


def write_overviews(source: Path, longest: int) -> list[Path]:
    """Write the overviews of a raster with one band of classes (uint8) beside it, the finest first.

    Parameters
    ----------
    source
        The raster. Its nodata counts only where a pixel has no class below it.
    longest
        Most rows and columns of the last overview.

    Raises
    ------
    RasterioError
        When a file cannot be read or written.
    """
    paths: list[Path] = []
    with rasterio.open(source) as src:
        shapes, nodata = overview_shapes(src.shape, longest), int(src.nodata)
    for shape in shapes:
        path = source.with_name(f"{source.stem}.{len(paths) + 1}.tif")
        _write_overview(paths[-1] if paths else source, path, shape, nodata)
        paths.append(path)
    return paths


def _write_overview(source: Path, path: Path, shape: tuple[int, int], nodata: int) -> None:
    height, width = shape
    with (
        rasterio.open(source) as src,
        rasterio.open(
            path, "w", driver="GTiff", dtype="uint8", count=1, height=height, width=width, nodata=nodata,
            tiled=True, blockxsize=_ROWS, blockysize=_ROWS, compress="LZW", bigtiff="IF_SAFER",
        ) as dst,
    ):  # fmt: skip
        rows, cols = (source_ranges(n, m) for n, m in zip(src.shape, shape, strict=True))
        for first in range(0, height, _ROWS):
            part = rows[first : first + _ROWS]
            start, stop = int(part[0, 0]), int(part[-1, 1])
            pixels = src.read(1, window=to_rasterio(Window.of(start, 0, stop - start, src.width)))
            reduced = _kernels.most_frequent(pixels, part - start, cols, nodata)
            dst.write(reduced, 1, window=to_rasterio(Window.of(first, 0, len(part), width)))


def source_ranges(length: int, reduced: int) -> NDArray[np.int64]:
    """Return the half-open range of pixels below each pixel of an overview, shape (reduced, 2).

    Where `reduced` does not divide `length`, neighbouring ranges share a pixel.
    """
    edges = np.arange(reduced + 1) * (length / reduced)
    first = (edges[:-1] + 1e-8).astype(np.int64)
    last = np.ceil(edges[1:] - 1e-8).astype(np.int64).clip(max=length)
    return np.stack([first, np.maximum(last, first + 1)], axis=1)
