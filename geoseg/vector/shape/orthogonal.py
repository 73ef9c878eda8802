"""Rectangular outlines for classes like buildings.

An object inside another region gets an outline with right angles instead of stairs of pixels: a rectangle of
its area where it fills one, else edges along two orthogonal directions. Its neighbour gets the same line, so
the polygons stay a coverage. Three conditions make that safe:

- the rectangle around an object, widened by a margin, holds nothing but that other region and objects that
  get a new outline, too; and the new outline stays within the rectangle;
- new outlines do not touch each other;
- the corners of the rectangle count as corners of the map for all other boundaries. A line that came into
  the rectangle would have moved over one of them, which the guard of `simplify` forbids.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import shapely
from numpy.typing import NDArray

from geoseg.core.geometry import Window
from geoseg.vector.shape.outlines import Outline
from geoseg.vector.trace.block import MapFiles
from geoseg.vector.trace.coverage import RegionPolygons

REACH = 1.45
"""Least tolerance in pixels: how far the stairs of a slanting edge lie from its new line."""

_FILLED = 0.8
"""An object becomes a rectangle when it fills this share of its smallest rotated rectangle."""
_COMMON = 0.8
"""Least share of the area that an object and its new outline have in common."""
_LEAST = 4
"""Least pixels of an object that gets a new outline."""


@dataclass(frozen=True)
class _Object:
    """A region of a class whose objects get right angles."""

    polygon: shapely.Polygon
    """The object along pixel edges, (x, y)."""
    zone: shapely.Polygon
    """The rectangle around it, widened by the margin."""
    outline: shapely.Polygon | None
    """Its new outline, None when it has none."""


def orthogonal_outlines(
    polygons: Iterable[RegionPolygons], files: MapFiles, classes: frozenset[int], tolerance: float
) -> list[Outline]:
    """Return new outlines for the objects that can have one; memory holds all objects of the classes.

    Parameters
    ----------
    polygons
        The polygons of the whole map along pixel edges.
    files
        The map.
    classes
        Ids of the classes whose objects get right angles.
    tolerance
        How far a new outline may lie from the old one, in pixels; at least `REACH` is allowed.
    """
    reach = max(REACH, tolerance)
    return _compatible([one for part in polygons for one in _objects(part, files, classes, reach)])


def _objects(
    polygons: RegionPolygons, files: MapFiles, classes: frozenset[int], reach: float
) -> list[_Object]:
    rings, (rows, cols) = polygons.rings, files.shape()
    margin = math.floor(reach) + 1
    objects = []
    for i in np.flatnonzero(np.isin(polygons.stats.value % 256, list(classes))).tolist():
        first, last = rings.polygons[i : i + 2]
        outer, *inner = (
            rings.vertices[rings.offsets[r] : rings.offsets[r + 1], ::-1].astype(np.float64)
            for r in range(first, last)
        )
        (left, top), (right, bottom) = outer.min(axis=0) - margin, outer.max(axis=0) + margin
        outline = None
        if (
            not inner
            and polygons.stats.pixels[i] >= _LEAST
            and min(left, top) >= 0
            and right <= cols
            and bottom <= rows
        ):
            values = files.values(Window.of(int(top), int(left), int(bottom - top), int(right - left)))
            around = values[~np.isin(values % 256, list(classes)) | (values < 0)]
            if len(around) and np.ptp(around) == 0:
                outline = orthogonal_outline(outer, reach)
        objects.append(_Object(shapely.Polygon(outer, inner), shapely.box(left, top, right, bottom), outline))
    return objects


def _compatible(objects: list[_Object]) -> list[Outline]:
    """Return the outlines of the objects left when none comes too close to one without a new outline."""
    polygons, boxes, new = (
        np.array([getattr(one, name) for one in objects], dtype=object)
        for name in ("polygon", "zone", "outline")
    )
    good = ~shapely.is_missing(new)
    near, other = shapely.STRtree(polygons).query(boxes, predicate="intersects")
    near, other = near[near != other], other[near != other]
    # Objects that touch in a corner keep their old outlines.
    good[near[shapely.intersects(polygons[near], polygons[other])]] = False
    a, b = shapely.STRtree(new).query(new, predicate="intersects")
    a, b = a[a != b], b[a != b]
    while True:
        still = good.copy()
        still[near[~good[other]]] = False
        still[a[good[a] & good[b]]] = False
        if (still == good).all():
            return [_outline(objects[i]) for i in np.flatnonzero(good).tolist()]
        good = still


def _outline(one: _Object) -> Outline:
    x, y = shapely.get_coordinates(one.polygon).astype(np.int64).T
    zone = shapely.get_coordinates(one.zone).astype(np.int64)[:4, ::-1]
    # Eastwards from the north-west corner, the direction of loops.
    ring = shapely.get_coordinates(shapely.orient_polygons(one.outline, exterior_cw=False))
    return Outline(
        key=int((y << 32 | x).min()),
        ring=np.ascontiguousarray(ring[:, ::-1]),
        zone=tuple((int(row), int(col)) for row, col in zone),
    )


def orthogonal_outline(ring: NDArray[np.float64], reach: float) -> shapely.Polygon | None:
    """Return an outline with right angles in nearly the same place, None where none fits.

    Parameters
    ----------
    ring
        Corners (x, y) of the old outline in pixels, closed, shape (V, 2).
    reach
        How far the new outline may lie outside the old one, in pixels.
    """
    shape = shapely.Polygon(ring)
    box = shapely.oriented_envelope(shape)
    corner, along, _, across = shapely.get_coordinates(box)[:4]
    a, b = along - corner, across - corner
    length, width = np.hypot(*a), np.hypot(*b)
    axes = np.stack([a / length, b / width])
    # In the object's own frame its edges lie along the axes.
    turned = (ring - corner) @ axes.T
    full = shape.area >= _FILLED * length * width
    corners = _rectangle(length, width, shape.area) if full else _right_angled(turned, reach)
    if corners is None:
        return None
    result = shapely.Polygon(corners @ axes + corner)
    fits = (
        result.is_valid
        and shape.buffer(reach).covers(result)
        and shapely.intersection(result, shape).area >= _COMMON * max(result.area, shape.area)
    )
    return result if fits else None


def _rectangle(length: float, width: float, area: float) -> NDArray[np.float64]:
    """Return a rectangle of the given area, at the same distance from all four sides of a larger one."""
    half = (length + width) / 4
    inset = half - np.sqrt(max(0.0, half**2 - (length * width - area) / 4))
    low, right, top = inset, length - inset, width - inset
    return np.array([[low, low], [right, low], [right, top], [low, top]])


def _right_angled(ring: NDArray[np.float64], reach: float) -> NDArray[np.float64] | None:
    """Return a ring with edges along the axes: the mean lines of successive edges of one direction."""
    thin = shapely.get_coordinates(shapely.simplify(shapely.Polygon(ring), reach))
    edges = np.diff(thin, axis=0)
    flat = np.abs(edges[:, 0]) >= np.abs(edges[:, 1])
    turns = np.flatnonzero(flat != np.roll(flat, 1))
    if len(turns) < 4:
        return None
    # The first edge is the beginning of a run of edges of one direction.
    edges, flat = np.roll(edges, -turns[0], axis=0), np.roll(flat, -turns[0])
    middles = np.roll(thin[:-1], -turns[0], axis=0) + edges / 2
    run = np.cumsum(np.r_[False, flat[1:] != flat[:-1]])
    weight = np.hypot(*edges.T)
    fixed = np.where(flat, middles[:, 1], middles[:, 0])
    lines = np.bincount(run, weight * fixed) / np.bincount(run, weight)
    # Runs are flat and steep in turn, so each meets the next one in a corner.
    following = np.roll(lines, -1)
    is_flat = flat[np.searchsorted(run, np.arange(len(lines)))]
    x, y = np.where(is_flat, following, lines), np.where(is_flat, lines, following)
    return np.stack([x, y], axis=1)
