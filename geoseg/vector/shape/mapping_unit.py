"""Minimum mapping unit: small regions of a class map join a neighbour.

The smallest region goes first (of equal ones the first in scan order). It joins the neighbour with which it
shares the longest border, of equal ones the larger, then the earlier; its other neighbours of that class
join, too. Nodata takes in no region: a small region with nodata all around it stays.

Blocks are read for their regions and the lengths of their borders. Joining regions needs these numbers alone,
about 400 bytes for each region of the map.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import rasterio
from numpy.typing import NDArray

from geoseg.core.errors import one_line
from geoseg.core.files import unusable_place
from geoseg.core.geometry import Window, windows_of
from geoseg.core.legend import NODATA
from geoseg.core.ordered import Workers
from geoseg.scenes.gdal import check_whole
from geoseg.scenes.windows import to_rasterio
from geoseg.vector.shape import _region_kernels
from geoseg.vector.trace._run_kernels import find_roots
from geoseg.vector.trace.block import BLOCK, MapFiles
from geoseg.vector.trace.borders import BorderLine, Borders, Seams
from geoseg.vector.trace.components import Runs


@dataclass(frozen=True)
class _BlockTable:
    """The regions of a block, numbered from 1, and their borders."""

    window: Window
    value: NDArray[np.int64]
    """Class of each region, shape (N,)."""
    pixels: NDArray[np.int64]
    """Number of its pixels, shape (N,)."""
    first: NDArray[np.int64]
    """Its first pixel in scan order of the map, shape (N,)."""
    pairs: NDArray[np.int64]
    """Neighbouring regions, each pair once, shape (B, 2)."""
    lengths: NDArray[np.int64]
    """Pixel edges between each pair, shape (B,)."""
    borders: Borders


def write_generalized(
    class_map: Path, path: Path, minimum_pixels: int, workers: Workers, *, block: int = BLOCK
) -> None:
    """Write a class map without regions smaller than the minimum mapping unit.

    The result does not depend on the block size.

    Parameters
    ----------
    class_map
        Class ids, uint8, nodata 255; regions are 4-connected.
    path
        The file to make: a tiled GeoTIFF.
    minimum_pixels
        Regions with fewer pixels join a neighbour.
    workers
        The threads or processes that read blocks.
    block
        Rows and columns of a block.

    Raises
    ------
    OutputError
        When the file cannot be written.
    """
    files = MapFiles(class_map)
    shape = files.shape()
    tasks = [_ReadBlock(files, window, shape[1]) for window in windows_of(shape, block)]
    graph = _joined_graph(workers.in_order(tasks), shape[1])
    parent, value = graph.root.copy(), graph.value.copy()
    _region_kernels.join_small(
        parent, value, graph.pixels, graph.first, graph.pairs, graph.lengths, minimum_pixels
    )
    final = value[find_roots(parent)].astype(np.uint8)
    stops = [*graph.starts[1:], len(final)]
    drawings = (
        _DrawBlock(files, task.window, np.concatenate([[NODATA], final[start:stop]]).astype(np.uint8))
        for task, start, stop in zip(tasks, graph.starts, stops, strict=True)
    )
    with rasterio.open(class_map) as src:
        profile = {
            "driver": "GTiff", "dtype": "uint8", "count": 1, "height": shape[0], "width": shape[1],
            "crs": src.crs, "transform": src.transform, "nodata": NODATA, "tiled": True,
            "compress": "zstd", "zstd_level": 1, "BIGTIFF": "IF_SAFER",
        }  # fmt: skip
    path.unlink(missing_ok=True)  # GDAL opens a file that it replaces, and fails when that is damaged
    try:
        with rasterio.open(path, "w", **profile) as dst:
            for task, plane in zip(tasks, workers.in_order(drawings), strict=True):
                dst.write(plane, 1, window=to_rasterio(task.window))
        check_whole(path)
    except rasterio.errors.RasterioError as error:
        raise unusable_place(path, one_line(error.__cause__ or error)) from error


@dataclass(frozen=True)
class _ReadBlock:
    """The task that reads the regions of a block."""

    files: MapFiles
    window: Window
    cols: int
    """Columns of the map."""

    def __call__(self) -> _BlockTable:
        runs = Runs.of(self.files.values(self.window))
        first = runs.firsts
        row, col = np.divmod(runs.starts[first].astype(np.int64), len(self.window.cols))
        pairs, lengths = _summed(*_region_kernels.find_borders(runs.starts, runs.rows, runs.labels))
        return _BlockTable(
            window=self.window,
            value=runs.values[first],
            pixels=_sums(runs.labels, runs.lengths, runs.count + 1)[1:],
            first=(self.window.rows.start + row) * self.cols + self.window.cols.start + col,
            pairs=pairs,
            lengths=lengths,
            borders=Borders.of(runs),
        )


@dataclass(frozen=True)
class _DrawBlock:
    """The task that draws a block of the generalised map."""

    files: MapFiles
    window: Window
    final: NDArray[np.uint8]
    """Class of each label of the block."""

    def __call__(self) -> NDArray[np.uint8]:
        runs = Runs.of(self.files.values(self.window))  # the same labels as in `_ReadBlock`
        return runs.to_pixels(self.final[runs.labels])


@dataclass(frozen=True)
class _RegionGraph:
    """The regions of a map and their borders.

    The parts of regions in blocks have numbers from 1; a region has the smallest number of its parts, its
    root.
    """

    root: NDArray[np.int32]
    """Root of each part, shape (N,)."""
    value: NDArray[np.int64]
    """Class of each part, shape (N,)."""
    pixels: NDArray[np.int64]
    """Pixels of each region, at its root, shape (N,)."""
    first: NDArray[np.int64]
    """First pixel of each region in scan order of the map, at its root, shape (N,)."""
    pairs: NDArray[np.int64]
    """Roots of neighbouring regions, each pair once, shape (B, 2)."""
    lengths: NDArray[np.int64]
    """Pixel edges between each pair, shape (B,)."""
    starts: list[int]
    """Number of the first part of each block."""


def _joined_graph(blocks: Iterator[_BlockTable], cols: int) -> _RegionGraph:
    """Join the regions of all blocks."""
    no_region = np.zeros(1, np.int64)
    tables = [(no_region, no_region, no_region)]
    pairs, lengths, starts = [], [], []
    seams = Seams(BorderLine.empty(cols), count=1)
    for one in blocks:
        starts.append(seams.count)
        placed = seams.add(one.window.cols.start, one.borders, len(one.value))
        tables.append((one.value, one.pixels, one.first))
        pairs += [placed.number[one.pairs], placed.neighbours]
        lengths += [one.lengths, np.ones(len(placed.neighbours), np.int64)]
    root = seams.roots()
    value, pixels, first = (np.concatenate(columns) for columns in zip(*tables, strict=True))
    total, earliest = np.zeros_like(pixels), first.copy()
    np.add.at(total, root, pixels)
    np.minimum.at(earliest, root, first)
    neighbours, shared = _summed(root[np.concatenate(pairs)], np.concatenate(lengths))
    return _RegionGraph(root, value, total, earliest, neighbours, shared, starts)


def _summed(
    pairs: NDArray[np.integer], lengths: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return each pair once, with the sum of its lengths."""
    low, high = pairs.min(axis=1).astype(np.int64), pairs.max(axis=1).astype(np.int64)
    keys, place = np.unique(low << 32 | high, return_inverse=True)
    return np.stack([keys >> 32, keys & 0xFFFFFFFF], axis=1), _sums(place, lengths, len(keys))


def _sums(place: NDArray[np.integer], numbers: NDArray[np.integer], size: int) -> NDArray[np.int64]:
    total = np.zeros(size, np.int64)
    np.add.at(total, place, numbers)
    return total
