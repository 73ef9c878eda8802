"""Passes over a class map on disk, block by block: memory does not grow with the map."""

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import rasterio
import rasterio.shutil
from numpy.typing import NDArray
from rasterio._err import CPLE_BaseError  # errors of rasterio.shutil.copy reach Python as these
from rasterio.errors import RasterioError

from geoseg.core.errors import one_line
from geoseg.core.files import unusable_place
from geoseg.core.geometry import Window, windows_of
from geoseg.core.ordered import Workers
from geoseg.raster.postprocess.filters import filtered
from geoseg.raster.postprocess.sieve import LONGEST, MARGIN, SameBlock, SieveBlock, Sieved, widened
from geoseg.raster.postprocess.steps import Steps
from geoseg.scenes.gdal import check_whole
from geoseg.scenes.windows import to_rasterio

BLOCK = 512
"""Rows and columns of a block; they change no pixel."""

_TILED = {
    "driver": "GTiff", "tiled": True, "blockxsize": BLOCK, "blockysize": BLOCK, "compress": "ZSTD",
    "zstd_level": 1, "bigtiff": "IF_SAFER",
}  # fmt: skip


def write_processed(
    source: Path,
    path: Path,
    steps: Steps,
    workers: Workers,
    *,
    block: int = BLOCK,
    margin: int = MARGIN,
    longest: int = LONGEST,
) -> None:
    """Write a class map after the steps of post-processing.

    Nodata never becomes a class and a class never becomes nodata. The pixels do not depend on the block size,
    nor on the number of workers.

    Parameters
    ----------
    source
        Class ids, uint8, nodata 255, on the workers' disks as well.
    path
        The file to make: a tiled GeoTIFF. One more file lies beside it for a while.
    steps
        The steps.
    workers
        The threads or processes that work on blocks.
    block
        Rows and columns of a block.
    margin, longest
        Pixels around a block that a round of the sieve reads first, and rows or columns of a region that
        counts as large, see `sieve`.

    Raises
    ------
    OutputError
        When a file cannot be written.
    """
    before, after = path.with_suffix(".before.tif"), path.with_suffix(".after.tif")
    try:
        # A VRT of many blocks takes long to open.
        with _as_output_error(before):
            rasterio.shutil.copy(str(source), str(before), **_TILED)
            check_whole(before)
        with rasterio.open(before) as src:
            windows = list(windows_of(src.shape, block))
        if steps.majority or steps.closing:
            filters = (_FilterBlock(before, window, steps) for window in windows)
            _write(before, after, windows, workers.in_order(filters))
        if steps.sieve:
            tasks = [SieveBlock(before, w, steps.sieve, longest, margin) for w in windows]
            _sieve(before, after, tasks, workers)
        before.replace(path)
    finally:
        before.unlink(missing_ok=True)
        after.unlink(missing_ok=True)


def _sieve(before: Path, after: Path, blocks: list[SieveBlock], workers: Workers) -> None:
    """Do rounds of the sieve until nothing changes; a round goes from the first file to the second."""
    windows = [one.window for one in blocks]
    margins = np.zeros(len(blocks), np.int64)
    active = np.ones(len(blocks), np.bool_)
    while active.any():
        tasks = (
            one if here else SameBlock(before, one.window) for one, here in zip(blocks, active, strict=True)
        )
        changed = np.zeros(len(windows), np.bool_)
        _write(before, after, windows, _noted(workers.in_order(tasks), changed, margins))
        # Where nothing changed that a block has read, its result is the same again.
        active = _near(windows, margins, changed)


def _noted(
    done: Iterable[Sieved], changed: NDArray[np.bool_], margins: NDArray[np.int64]
) -> Iterator[NDArray[np.uint8]]:
    """Yield the blocks of a round; note which of them changed, and how far they had to look."""
    for i, one in enumerate(done):
        changed[i] = one.changed
        if one.margin is not None:
            margins[i] = one.margin
        yield one.block


def _near(windows: list[Window], margins: NDArray[np.int64], changed: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return which blocks have a changed one within their margin, shape (blocks,)."""
    tops, lefts = (sorted({getattr(w, axis).start for w in windows}) for axis in ("rows", "cols"))
    grid = changed.reshape(len(tops), len(lefts))
    found = np.zeros(len(windows), np.bool_)
    for i, (window, margin) in enumerate(zip(windows, margins, strict=True)):
        part = tuple(
            slice(
                max(0, bisect_right(starts, span.start - margin) - 1), bisect_left(starts, span.stop + margin)
            )
            for starts, span in ((tops, window.rows), (lefts, window.cols))
        )
        found[i] = grid[part].any()
    return found


def _write(before: Path, after: Path, windows: list[Window], blocks: Iterable[NDArray[np.uint8]]) -> None:
    """Write the blocks of a map to the second file, which then takes the place of the first."""
    with rasterio.open(before) as src:
        profile = {**src.profile, **_TILED}
    after.unlink(missing_ok=True)  # GDAL opens a file that it replaces, and fails when that is damaged
    with _as_output_error(after):
        with rasterio.open(after, "w", **profile) as dst:
            for window, block in zip(windows, blocks, strict=True):
                dst.write(block, 1, window=to_rasterio(window))
        check_whole(after)
    after.replace(before)


@contextmanager
def _as_output_error(path: Path) -> Iterator[None]:
    try:
        yield
    except (RasterioError, CPLE_BaseError) as error:
        raise unusable_place(path, one_line(error.__cause__ or error)) from error


@dataclass(frozen=True)
class _FilterBlock:
    """The task that filters and closes the classes of a block."""

    source: Path
    window: Window
    steps: Steps

    def __call__(self) -> NDArray[np.uint8]:
        around = widened(self.window, self.steps.margin)
        with rasterio.open(self.source) as src:
            inside = around.clip(src.shape)
            classes = src.read(1, window=to_rasterio(inside))
        return np.ascontiguousarray(filtered(classes, self.steps)[self.window.relative_to(inside)])
