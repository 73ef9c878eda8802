"""Outlines of what is not to be trusted, as lines that the map of a page draws."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox
from pyproj import CRS, Transformer

from geoseg.core.doubt import DOUBT_LAYER, REASON, REASONS
from geoseg.core.errors import OutputError, one_line
from geoseg.core.paths import plain_path

MOST = 180_000
"""Largest number of characters of all lines on a page; of larger ones the page has the file alone."""

_LARGEST_FILE = 8_000_000
"""Bytes of the largest file that is read: a vertex takes 16 bytes there, and some four on the page."""


@dataclass(frozen=True)
class DoubtLines:
    """The outlines of one reason."""

    title: str
    color: str
    lines: tuple[tuple[int, ...], ...]
    """Rings, those of holes too: column and row of the first vertex, then steps to the next, in pixels."""


def doubt_lines(path: Path, geobox: GeoBox) -> list[DoubtLines]:
    """Return the outlines by reason, in whole pixels of the map.

    Parameters
    ----------
    path
        `doubt.gpkg` of a run.
    geobox
        The grid of its map; outlines in another CRS are brought back to it.

    Returns
    -------
    list[DoubtLines]
        Empty where there are none, or too many for a page.

    Raises
    ------
    OutputError
        When the file cannot be read.
    """
    if path.stat().st_size > _LARGEST_FILE:
        return []
    crs, wkb, reasons = _read(path)
    shapes = shapely.from_wkb(wkb)
    if geobox.crs is not None and crs is not None and CRS(crs) != CRS(geobox.crs):
        there = Transformer.from_crs(crs, geobox.crs, always_xy=True)
        shapes = shapely.transform(shapes, lambda points: np.column_stack(there.transform(*points.T)))
    back = ~geobox.transform
    found = []
    for reason in REASONS.classes:
        rings = shapely.get_rings(shapes[reasons == reason.title])
        coordinates, of = shapely.get_coordinates(rings, return_index=True)
        x, y = coordinates.T
        pixels = np.rint(np.column_stack(back @ (x, y))).astype(np.int64)
        parts = np.split(pixels, np.flatnonzero(np.diff(of)) + 1) if len(of) else []
        lines = tuple(line for part in parts if (line := _steps(part)))
        if lines:
            found.append(DoubtLines(reason.title, reason.color, lines))
    return found if sum(len(str(n)) + 1 for f in found for line in f.lines for n in line) <= MOST else []


def _read(path: Path) -> tuple[str | None, NDArray[np.object_], NDArray[np.object_]]:
    """Return the CRS, the geometries as WKB and the reasons."""
    import pyogrio.raw  # noqa: PLC0415 (slow to import)

    try:
        with plain_path(path) as plain:
            meta, _, wkb, fields = pyogrio.raw.read(plain, layer=DOUBT_LAYER, columns=[REASON])
    except (OSError, RuntimeError, ValueError) as error:
        raise OutputError(f"{path}: outlines of the run cannot be read: {one_line(error)}") from error
    names: Any = fields[0] if fields else []
    return meta["crs"], wkb, np.asarray(names, dtype=object)


def _steps(ring: NDArray[np.int64]) -> tuple[int, ...]:
    """Return the first vertex of a ring and the steps from one to the next; empty for a lone pixel's dot."""
    moved = np.diff(ring, axis=0)
    moved = moved[moved.any(axis=1)]
    return () if len(moved) < 3 else (*ring[0].tolist(), *moved.ravel().tolist())
