"""The polygons of whole masks, which may overlap: each object is traced by itself."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from geoseg.core.geometry import Window
from geoseg.vector.objects.collected import Collected
from geoseg.vector.objects.paint import Numbered
from geoseg.vector.recipe import Generalize
from geoseg.vector.shape.guard import Corners
from geoseg.vector.shape.simplify import generalize
from geoseg.vector.trace.arcs import arcs_of
from geoseg.vector.trace.assemble import Rings, assemble
from geoseg.vector.trace.boundaries import trace
from geoseg.vector.trace.components import NONE
from geoseg.vector.trace.coverage import RegionPolygons
from geoseg.vector.trace.stats import Stats

_AT_ONCE = 2_000
"""Objects whose polygons are in memory together."""


def mask_polygons(
    objects: Collected, found: Numbered, how: Generalize, shape: tuple[int, int]
) -> Iterator[RegionPolygons]:
    """Yield the polygons of the whole mask of each object that is seen, by number.

    Parameters
    ----------
    objects
        All objects.
    found
        Those that are seen, numbered.
    how
        How boundaries are generalised; neighbours do not keep common edges.
    shape
        Rows and columns of the map.
    """
    for first in range(1, len(found) + 1, _AT_ONCE):
        numbers = range(first, min(first + _AT_ONCE, len(found) + 1))
        yield _together(
            [
                _traced(
                    objects.mask(int(found.index[n])), objects.window(int(found.index[n])),
                    int(found.classes[n]) + 256 * n, how, shape,
                )
                for n in numbers
            ]
        )  # fmt: skip


def _traced(
    mask: NDArray[np.bool_], window: Window, value: int, how: Generalize, shape: tuple[int, int]
) -> RegionPolygons:
    """Return the polygons of one mask in a window of the map."""
    origin = window.rows.start, window.cols.start
    traced = trace(
        np.pad(np.where(mask, np.int64(value), NONE), 1, constant_values=NONE), origin, (True, True)
    )
    if how.needs_corners:
        arcs = generalize(traced.chains, Corners.pack(traced.corners(), origin), how, shape)
    else:
        arcs = arcs_of(traced.chains)
    stats = Stats.of(traced.runs, None, 0)
    rings = assemble(arcs, np.maximum(arcs.sides, 0))
    return RegionPolygons(rings, stats.take(rings.regions - 1))


def _together(parts: list[RegionPolygons]) -> RegionPolygons:
    """Return the polygons of all parts, one after another."""
    rings = [p.rings for p in parts]
    vertices = np.concatenate([r.vertices for r in rings])
    offsets = _running([r.offsets for r in rings])
    polygons = _running([r.polygons for r in rings])
    regions = np.arange(len(polygons) - 1, dtype=np.int32)
    stats = Stats.concatenate([p.stats for p in parts])
    return RegionPolygons(Rings(vertices, offsets, polygons, regions), stats)


def _running(offsets: list[NDArray[np.int64]]) -> NDArray[np.int64]:
    """Return the offsets of parts that lie one after another."""
    lengths = np.concatenate([np.diff(o) for o in offsets])
    return np.append(0, np.cumsum(lengths))
