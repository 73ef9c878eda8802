"""Finished blocks: one file for each block and a marker beside it that says it is complete.

A file is a GeoTIFF, or, of a network that finds objects, an archive of its detections. GDAL reads the blocks
of a class map as they are; the marker holds the file's checksum, the run's fingerprint and the block's
name. A block without a marker, or with other bytes or another name than its marker says, counts as missing.
Files appear whole, so a killed process leaves no file that could be taken for a finished one.
"""

import hashlib
import json
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar

import rasterio
from affine import Affine
from numpy.typing import NDArray
from odc.geo.crs import CRS
from rasterio.io import MemoryFile

from geoseg.core.errors import OutputError
from geoseg.core.files import as_output_error
from geoseg.core.geometry import Window
from geoseg.core.parsing import parse_json
from geoseg.storage.store import FolderStore, Store
from geoseg.tiling.blocks import Block

_CONCURRENT = 16
"""Blocks that are read at the same time: a remote store answers many requests as fast as one."""

T = TypeVar("T")


@dataclass(frozen=True)
class Staging:
    """The finished blocks of a run."""

    store: Store
    """Place of the blocks: a folder, or an object store."""
    fingerprint: str
    """Fingerprint of the run; blocks of another one count as missing."""
    crs: str | None
    """CRS of the scene as WKT."""
    transform: tuple[float, float, float, float, float, float]
    """Affine transform of the scene: a, b, c, d, e, f."""
    bands: tuple[str, ...]
    """Descriptions of the bands of every block."""
    dtype: str = "uint8"
    """Type of these bands."""
    prefix: str = ""
    """Begin of the names of its files: one place may hold the blocks of several networks."""
    suffix: str = ".tif"
    """Suffix of the files of blocks."""

    @property
    def folder(self) -> Path:
        """Folder of the blocks: maps are made from blocks in a folder, see `copy_to`."""
        if self.store.local is None:
            raise ValueError(f"{self.store.at()}: is no folder")
        return self.store.local

    def path(self, block: Block) -> str:
        """Return the path or URI of a block's file, as GDAL opens it."""
        return self.store.at(self._file(block))

    def write(self, block: Block, planes: NDArray[Any], counts: dict[str, Any]) -> None:
        """Write a settled block; it appears complete or not at all.

        Parameters
        ----------
        block
            The block.
        planes
            The bands of its core, shape (bands, core rows, core cols).
        counts
            Sums over the block for the record of the run, plain JSON values.

        Raises
        ------
        OutputError
            When the disk is full, or the store is not writable.
        """
        self.write_bytes(block, self._encode(block, planes), counts)

    def write_bytes(self, block: Block, data: bytes, counts: dict[str, Any]) -> None:
        """Write the bytes of a block that is no raster; the other parameters and errors as `write`."""
        marker = {
            "sha256": hashlib.sha256(data).hexdigest(),
            "fingerprint": self.fingerprint,
            "block": block.name,
            "counts": counts,
        }
        self.store.write(self._file(block), data)
        self.store.write(self._marker(block), json.dumps(marker).encode())

    def counts(self, block: Block) -> dict[str, Any] | None:
        """Return the counts that `write` stored with a block, None when the block is missing or damaged."""
        return None if (intact := self._read_intact(block)) is None else intact[1]

    def finished(self, blocks: Iterable[Block]) -> dict[tuple[int, int], dict[str, Any]]:
        """Return the counts of all intact blocks, by row and column of the block.

        Raises
        ------
        OutputError
            When the store cannot be read.
        """
        with as_output_error(self.store.at(), "read"):
            names = set(self.store.names())
            marked = (b for b in blocks if self._marker(b) in names)
            finished = _concurrently(lambda b: (b.row, b.col, self.counts(b)), marked)
            return {(row, col): counts for row, col, counts in finished if counts is not None}

    def copy_to(self, folder: Path, blocks: Iterable[Block]) -> None:
        """Copy the files of finished blocks to a folder, where maps are made from them.

        Each is read once and its checksum verified. Blocks that are staged in this folder are not copied.

        Raises
        ------
        OutputError
            When a block cannot be read or is damaged, or the disk is full.
        """
        if self.store.local == folder.resolve():
            return
        target = FolderStore(folder)

        def copy(block: Block) -> None:
            with as_output_error(self.path(block), "read"):
                target.write(self._file(block), self._intact(block))

        deque(_concurrently(copy, blocks), maxlen=0)

    def read(self, block: Block, band: int, window: Window) -> NDArray[Any]:
        """Read a window of the scene that lies in the core of a finished block; its checksum is verified.

        Raises
        ------
        OutputError
            When the block is damaged or was removed.
        OSError
            When the store cannot be read.
        """
        rows, cols = window.relative_to(block.core)
        with MemoryFile(self._intact(block)) as memory, memory.open() as src:
            found: NDArray[Any] = src.read(band, window=((rows.start, rows.stop), (cols.start, cols.stop)))
        return found

    def _intact(self, block: Block) -> bytes:
        """Return the bytes of a finished block; OutputError when it is damaged or missing."""
        intact = self._read_intact(block)
        if intact is None:
            raise OutputError(
                f"{self.path(block)}: was damaged or removed since it was written; run the same command "
                "again, the other finished blocks are kept"
            )
        return intact[0]

    def _marker(self, block: Block) -> str:
        return f"{self.prefix}{block.name}.done"

    def _read_intact(self, block: Block) -> tuple[bytes, dict[str, Any]] | None:
        """Return the bytes of a block and its counts, None when it is missing or damaged."""
        try:
            marker = parse_json(self.store.read(self._marker(block)) or b"")
            data = self.store.read(self._file(block))
            if data is None or marker["sha256"] != hashlib.sha256(data).hexdigest():
                return None
            ours = marker["fingerprint"] == self.fingerprint and marker["block"] == block.name
            return (data, dict(marker["counts"])) if ours else None
        except (ValueError, KeyError, TypeError):
            return None

    def _file(self, block: Block) -> str:
        return f"{self.prefix}{block.name}{self.suffix}"

    def _encode(self, block: Block, planes: NDArray[Any]) -> bytes:
        height, width = block.core.shape
        transform = Affine(*self.transform) @ Affine.translation(block.core.cols.start, block.core.rows.start)
        with MemoryFile() as memory:
            with memory.open(
                driver="GTiff", height=height, width=width, count=len(planes), dtype=self.dtype, crs=self.crs,
                transform=transform, tiled=True, blockxsize=256, blockysize=256, interleave="band",
                compress="zstd", zstd_level=1,
            ) as dst:  # fmt: skip
                dst.write(planes)
                dst.descriptions = self.bands
            return bytes(memory.getbuffer())


def count_finished(names: Iterable[str]) -> int:
    """Count the finished blocks among the names of a store, damaged ones included."""
    return sum(name.startswith("block_") and name.endswith(".done") for name in names)


def _concurrently(task: Callable[[Block], T], blocks: Iterable[Block]) -> Iterator[T]:
    """Yield the result of a task for each block, in order; a bounded number of results is in memory."""
    rest = iter(blocks)
    with ThreadPoolExecutor(_CONCURRENT) as pool:
        while batch := list(islice(rest, 8 * _CONCURRENT)):
            yield from pool.map(task, batch)


def crs_wkt(crs: CRS | None) -> str | None:
    """Return a CRS as the WKT that GDAL writes; None without a CRS."""
    return None if crs is None else rasterio.crs.CRS.from_user_input(crs).to_wkt()
