"""Tiles of Web Mercator from local rasters, in full resolution."""

import io
import math
from dataclasses import dataclass
from functools import cache
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from geoseg.core.notices import ignore_warnings

SIDE = 256
"""Pixels along a side of a tile."""

DEEPEST = 24
"""Deepest zoom level; a pixel of it is less than a centimetre."""

_EQUATOR_M = 2 * math.pi * 6378137


class Place(NamedTuple):
    """A tile of the XYZ scheme: zoom level, column from the west, row from the north."""

    z: int
    x: int
    y: int

    @property
    def exists(self) -> bool:
        """Whether the zoom level has such a tile."""
        return 0 <= self.z <= DEEPEST and 0 <= self.x < 1 << self.z and 0 <= self.y < 1 << self.z


@dataclass(frozen=True)
class Raster:
    """Bands of a local raster that are read together."""

    path: str
    """A path, or what GDAL opens like one."""
    bands: tuple[int, ...] | None = None
    """Numbers from 1; None: all."""
    nodata: float | None = None
    """Instead of what the file says."""
    resampling: str = "nearest"

    def tile(self, place: Place) -> np.ma.MaskedArray[Any, Any] | None:
        """Read a tile, shape (bands, rows, cols), masked where there is no data; None where all of it is."""
        # Imported by `open_site` first: two threads that import it at once find half of it.
        from rio_tiler.errors import TileOutsideBounds  # noqa: PLC0415
        from rio_tiler.io import Reader  # noqa: PLC0415

        options: Any = {} if self.nodata is None else {"nodata": self.nodata}
        with ignore_warnings(), Reader(self.path, options=options) as source:
            try:
                image = source.tile(
                    place.x, place.y, place.z, tilesize=SIDE, indexes=self.bands,
                    resampling_method=self.resampling, reproject_method=self.resampling,
                )  # fmt: skip
            except TileOutsideBounds:
                return None
        found: np.ma.MaskedArray[Any, Any] = image.array
        return found


def deepest_zoom(gsd_m: float | None, latitude: float) -> int:
    """Return the zoom level whose pixels are at most half as large as those of a raster.

    Deeper ones show nothing more; a browser enlarges its tiles.

    Examples
    --------
    >>> deepest_zoom(10, 0)
    15
    """
    pixel = max(gsd_m or 1.0, 1e-3) / 2 / max(math.cos(math.radians(latitude)), 0.01)
    return min(DEEPEST, max(0, math.ceil(math.log2(_EQUATOR_M / SIDE / pixel))))


def png(rgba: NDArray[np.uint8]) -> bytes:
    """Encode a picture, shape (rows, cols, 4)."""
    buffer = io.BytesIO()
    Image.fromarray(rgba).save(buffer, "PNG", compress_level=1)
    return buffer.getvalue()


@cache
def empty_png() -> bytes:
    """Return a tile without a colour: where it is empty, MapLibre wants a picture nevertheless."""
    return png(np.zeros((SIDE, SIDE, 4), dtype=np.uint8))
