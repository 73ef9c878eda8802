"""What a PMTiles archive (version 3, github.com/protomaps/PMTiles) says of itself; GDAL leaves much empty."""

import gzip
import json
import math
import shutil
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from odc.geo.geobox import GeoBox
from pyproj import Transformer

from geoseg.core.files import as_output_error
from geoseg.scenes.grid import gsd_m

_FIXED = struct.Struct("<7sB11Q6BiiiiBii")
"""The header: magic and version; offsets and lengths; numbers of tiles; flags; bounds; centre."""
_EQUATOR_M = 2 * math.pi * 6378137
_ROOM = 768
"""Pixels that the longer side of a map may take on the screen at first."""


@dataclass(frozen=True)
class View:
    """A part of the earth on a screen."""

    center: tuple[float, float]
    """Longitude and latitude in degrees."""
    zoom: float
    """Zoom level, in tiles of 512 px."""


def view_of(geobox: GeoBox) -> View:
    """Return the middle of a grid, and the zoom level at which all of it can be seen.

    Parameters
    ----------
    geobox
        A grid with a CRS that has a place on the earth.
    """
    to_earth = Transformer.from_crs(geobox.crs.proj, "EPSG:4326", always_xy=True)
    height, width = geobox.shape
    lon, lat = to_earth.transform(*(geobox.transform @ (width / 2, height / 2)))
    metres = max(height, width) * (gsd_m(geobox) or 1.0)
    # Web Mercator widens the parallels.
    share = metres / (_EQUATOR_M * max(math.cos(math.radians(lat)), 0.01))
    return View((round(lon, 6), round(lat, 6)), round(max(0.0, math.log2(_ROOM / 512 / share)), 2))


def describe_tiles(path: Path, view: View, *, name: str, description: str, attribution: str) -> None:
    """Write where an archive is looked at first, and what it is, into its header and its metadata.

    Parameters
    ----------
    path
        The archive; it is replaced as a whole.
    view
        What is shown first; at a whole zoom level, at most that of the finest tiles.
    name, description
        Name and description.
    attribution
        Where the tiles come from, as HTML.

    Raises
    ------
    OutputError
        When the file cannot be written.
    """
    temporary = path.with_name(f".{path.name}.tmp")
    try:
        with as_output_error(path), path.open("rb") as source, temporary.open("wb") as target:
            head = list(_FIXED.unpack(source.read(_FIXED.size)))
            root, about, leaves, tiles = ((head[i], head[i + 1]) for i in (2, 4, 6, 8))
            facts = json.loads(gzip.decompress(_read(source, about)))
            zoom = min(math.floor(view.zoom), head[18])
            facts |= {"name": name, "description": description, "attribution": attribution}
            facts["center"] = f"{view.center[0]},{view.center[1]},{zoom}"
            packed = gzip.compress(json.dumps(facts, ensure_ascii=False).encode(), mtime=0)
            at = _FIXED.size
            for i, size in zip((2, 4, 6, 8), (root[1], len(packed), leaves[1], tiles[1]), strict=True):
                head[i : i + 2] = at, size
                at += size
            head[23:] = [zoom, *(round(1e7 * degrees) for degrees in view.center)]
            target.write(_FIXED.pack(*head) + _read(source, root) + packed + _read(source, leaves))
            source.seek(tiles[0])
            shutil.copyfileobj(source, target)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def _read(source: BinaryIO, part: tuple[int, int]) -> bytes:
    source.seek(part[0])
    return source.read(part[1])
