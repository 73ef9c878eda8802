"""Finished blocks on disk: one GeoTIFF for each block and a marker beside it that says it is complete.

Any GDAL reads the blocks; the marker holds the file's checksum and the run's fingerprint. A block without a
marker, or whose bytes do not match it, does not exist. Files appear by rename, so a killed process leaves
nothing that could be taken for finished.
"""

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from affine import Affine
from numpy.typing import NDArray
from rasterio.io import MemoryFile

from geoseg.core.files import write_atomic
from geoseg.tiling.blocks import Block


@dataclass(frozen=True)
class Staging:
    """The folder of a run's finished blocks."""

    folder: Path
    fingerprint: str
    crs: str | None
    """CRS of the scene as WKT."""
    transform: tuple[float, float, float, float, float, float]
    """Affine transform of the scene: a, b, c, d, e, f."""
    bands: tuple[str, ...]
    """Descriptions of the bands of every block."""

    def path(self, block: Block) -> Path:
        """Return where a block's raster is or will be."""
        return self.folder / f"{block.name}.tif"

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
            When the disk is full or not writable.
        """
        data = self._encode(block, planes)
        marker = {
            "sha256": hashlib.sha256(data).hexdigest(),
            "fingerprint": self.fingerprint,
            "counts": counts,
        }
        write_atomic(self.path(block), data)
        write_atomic(self._marker(block), json.dumps(marker).encode())

    def counts(self, block: Block) -> dict[str, Any] | None:
        """Return what `write` was told of a block, or None when the block is not there or is damaged."""
        try:
            marker = json.loads(self._marker(block).read_bytes())
            data = self.path(block).read_bytes()
            whole = marker["sha256"] == hashlib.sha256(data).hexdigest()
            return dict(marker["counts"]) if whole and marker["fingerprint"] == self.fingerprint else None
        except (FileNotFoundError, ValueError, KeyError, TypeError):
            return None

    def _marker(self, block: Block) -> Path:
        return self.folder / f"{block.name}.done"

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


def crs_wkt(crs: Any) -> str | None:
    """Return a CRS of any library as WKT, None when there is none."""
    return None if crs is None else rasterio.crs.CRS.from_user_input(crs).to_wkt()
