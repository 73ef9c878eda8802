"""Finished blocks: one GeoTIFF for each block and a marker beside it that says it is complete.

Any GDAL reads the blocks; the marker holds the file's checksum and the run's fingerprint. A block without a
marker, or whose bytes do not match it, does not exist. Files appear whole, so a killed process leaves nothing
that could be taken for finished.
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

import numpy as np
import rasterio
from affine import Affine
from numpy.typing import NDArray
from rasterio.io import MemoryFile

from geoseg.core.errors import OutputError
from geoseg.core.files import as_output_error
from geoseg.storage.store import FolderStore, Store
from geoseg.tiling.blocks import Block

_AT_ONCE = 16
"""Blocks that are looked at together: a store far away answers many as fast as one."""

T = TypeVar("T")


@dataclass(frozen=True)
class Staging:
    """The finished blocks of a run."""

    store: Store
    """Where they are: a folder, or an object store."""
    fingerprint: str
    crs: str | None
    """CRS of the scene as WKT."""
    transform: tuple[float, float, float, float, float, float]
    """Affine transform of the scene: a, b, c, d, e, f."""
    bands: tuple[str, ...]
    """Descriptions of the bands of every block."""

    @property
    def folder(self) -> Path:
        """The folder of the blocks; maps are made of blocks in a folder, see `beside`."""
        if self.store.local is None:
            raise ValueError(f"{self.store.at()}: is no folder")
        return self.store.local

    def path(self, block: Block) -> str:
        """Return where a block's raster is or will be, as GDAL opens it."""
        return self.store.at(_raster(block))

    def write(self, block: Block, planes: NDArray[np.uint8], counts: dict[str, Any]) -> None:
        """Write a settled block, complete or not at all.

        Parameters
        ----------
        block
            The block; its core is what is written.
        planes
            Shape (bands, core rows, core cols).
        counts
            What the run wants to know of this block later; must be JSON.

        Raises
        ------
        OutputError
            When the disk is full, or the place is not writable.
        """
        data = self._encode(block, planes)
        marker = {
            "sha256": hashlib.sha256(data).hexdigest(),
            "fingerprint": self.fingerprint,
            "counts": counts,
        }
        self.store.write(_raster(block), data)
        self.store.write(_marker(block), json.dumps(marker).encode())

    def counts(self, block: Block) -> dict[str, Any] | None:
        """Return what `write` was told of a block, or None when the block is not there or is damaged."""
        return None if (found := self._whole(block)) is None else found[1]

    def finished(self, blocks: Iterable[Block]) -> dict[tuple[int, int], dict[str, Any]]:
        """Return `counts` of all blocks that are there and whole, by row and column of the block.

        Raises
        ------
        OutputError
            When the place cannot be read.
        """
        with as_output_error(self.store.at(), "read"):
            there = set(self.store.names())
            begun = (b for b in blocks if _marker(b) in there)
            found = _at_once(lambda b: (b.row, b.col, self.counts(b)), begun)
            return {(row, col): counts for row, col, counts in found if counts is not None}

    def beside(self, folder: Path, blocks: Iterable[Block]) -> None:
        """Have the rasters of finished blocks in a folder, where maps are made of them.

        Nothing happens when they are there anyway. Else each is read once and held to its checksum.

        Raises
        ------
        OutputError
            When a block cannot be read, was damaged meanwhile, or the disk is full.
        """
        if self.store.local == folder.resolve():
            return
        target = FolderStore(folder)

        def bring(block: Block) -> None:
            with as_output_error(self.path(block), "read"):
                found = self._whole(block)
            if found is None:
                raise OutputError(
                    f"{self.path(block)}: was damaged or removed since it was written; run the same command "
                    "again, the other finished blocks are kept"
                )
            target.write(_raster(block), found[0])

        deque(_at_once(bring, blocks), maxlen=0)

    def _whole(self, block: Block) -> tuple[bytes, dict[str, Any]] | None:
        """Return the bytes of a block and its counts, None when it is not there or is damaged."""
        try:
            marker = json.loads(self.store.read(_marker(block)) or b"")
            data = self.store.read(_raster(block))
            if data is None or marker["sha256"] != hashlib.sha256(data).hexdigest():
                return None
            return (data, dict(marker["counts"])) if marker["fingerprint"] == self.fingerprint else None
        except (ValueError, KeyError, TypeError):
            return None

    def _encode(self, block: Block, planes: NDArray[np.uint8]) -> bytes:
        height, width = block.core.shape
        transform = Affine(*self.transform) @ Affine.translation(block.core.cols.start, block.core.rows.start)
        with MemoryFile() as memory:
            with memory.open(
                driver="GTiff", height=height, width=width, count=len(planes), dtype="uint8", crs=self.crs,
                transform=transform, tiled=True, blockxsize=256, blockysize=256, interleave="band",
                compress="zstd", zstd_level=1,
            ) as dst:  # fmt: skip
                dst.write(planes)
                dst.descriptions = self.bands
            return bytes(memory.getbuffer())


def count_finished(names: Iterable[str]) -> int:
    """Count the finished blocks among the names in a staging place, damaged ones included."""
    return sum(name.startswith("block_") and name.endswith(".done") for name in names)


def _raster(block: Block) -> str:
    return f"{block.name}.tif"


def _marker(block: Block) -> str:
    return f"{block.name}.done"


def _at_once(task: Callable[[Block], T], blocks: Iterable[Block]) -> Iterator[T]:
    """Yield what a task returns for each block, in order; a bounded number is under way or waits."""
    rest = iter(blocks)
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        while batch := list(islice(rest, 8 * _AT_ONCE)):
            yield from pool.map(task, batch)


def crs_wkt(crs: Any) -> str | None:
    """Return a CRS of any library as WKT, None when there is none."""
    return None if crs is None else rasterio.crs.CRS.from_user_input(crs).to_wkt()
