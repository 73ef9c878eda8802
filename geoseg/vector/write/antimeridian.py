"""Features of maps near the antimeridian, cut at 180 degrees as RFC 7946 asks."""

from collections.abc import Callable
from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray
from odc.geo.crs import CRS
from odc.geo.geobox import GeoBox
from pyproj import Transformer
from pyproj.exceptions import ProjError

from geoseg.core.errors import ConfigError
from geoseg.scenes.grid import crs_name
from geoseg.vector.write.geodesy import divided, longest_edge, transformed

WGS84 = CRS("EPSG:4326")
"""Longitude and latitude, as GeoJSON and web maps have them."""

_LATTICE = 65
"""Points of a map along each side, between which a jump of its coordinates is looked for."""
_HALVINGS = 24
_SNAP = 1e-9
"""Degrees from the antimeridian that are a rounding error."""


def longitude_to_cut_around(geobox: GeoBox, crs: CRS | None) -> float | None:
    """Return the longitude of a map's middle if its features in a CRS reach the antimeridian, else None.

    Parameters
    ----------
    geobox
        The grid of the map.
    crs
        CRS of the features; None for that of the map, in which nothing is cut.

    Raises
    ------
    ConfigError
        When the CRS tears the map apart elsewhere, so that features would span the world: a projected CRS
        with its edge within the map, or degrees for a map around a pole. When the CRS cannot show the map: it
        has no plane coordinates, is of another planet, or ends within the map.
    """
    if geobox.crs is None or crs is None or crs == geobox.crs:
        return None
    project = _projection(geobox.crs, crs)
    degrees = crs.geographic and crs.proj.axis_info[0].unit_name == "degree"
    middle = project.transform(*(geobox.transform @ (geobox.shape.x / 2, geobox.shape.y / 2)))[0]
    around = float(middle) if degrees and np.isfinite(middle) else None

    def place(xy: NDArray[np.float64]) -> NDArray[np.float64]:
        there = np.stack(project.transform(*xy.T), axis=1)
        return there if around is None else unwrapped(there, around)

    col, row = np.meshgrid(*(np.linspace(0, n, _LATTICE) for n in (geobox.shape.x, geobox.shape.y)))
    points = np.stack(geobox.transform @ (col, row), axis=-1)
    if _jumps(points, place):
        raise ConfigError(
            f"vectorize.crs: {crs_name(crs)} has its edge within the map, and polygons across it would span "
            "the world; choose a CRS that shows the map in one piece, or leave it out for the map's own"
        )
    shown = place(points.reshape(-1, 2))
    if not np.isfinite(shown).all():
        raise ConfigError(
            f"vectorize.crs: a part of the map lies beyond what {crs_name(crs)} can show; choose a CRS that "
            "shows all of it, or leave it out for the map's own"
        )
    return around if (np.abs(shown[:, 0]) > 180 - 1e-6).any() else None


def _projection(source: CRS, target: CRS) -> Transformer:
    if not (target.geographic or target.projected):
        raise ConfigError(
            f"vectorize.crs: {crs_name(target)} is neither geographic nor projected, so polygons have no "
            "place in it; write one that is, like EPSG:4326"
        )
    try:
        return Transformer.from_crs(source.proj, target.proj, always_xy=True)
    except ProjError as error:
        raise ConfigError(
            f"vectorize.crs: there is no way from {crs_name(source)} of the map to {crs_name(target)}; "
            "choose another, or leave it out for the map's own"
        ) from error


def _jumps(points: NDArray[np.float64], place: Any) -> bool:
    """Return whether neighbours in a lattice of points, shape (rows, cols, 2), are torn apart.

    Each line between two neighbours is halved again and again towards the larger step. Only a step at an edge
    of the CRS does not shrink.
    """
    start = np.concatenate([points[:, :-1].reshape(-1, 2), points[:-1].reshape(-1, 2)])
    stop = np.concatenate([points[:, 1:].reshape(-1, 2), points[1:].reshape(-1, 2)])
    first, last = place(start), place(stop)
    fine = np.isfinite(first).all(axis=1) & np.isfinite(last).all(axis=1)
    start, stop, first, last = start[fine], stop[fine], first[fine], last[fine]
    step = np.hypot(*(last - first).T)
    for _ in range(_HALVINGS):
        middle = (start + stop) / 2
        there = place(middle)
        left = (np.hypot(*(there - first).T) > np.hypot(*(last - there).T))[:, None]
        start, stop = np.where(left, start, middle), np.where(left, middle, stop)
        first, last = np.where(left, first, there), np.where(left, there, last)
    return bool((np.hypot(*(last - first).T) > 0.1 * step)[step > 0].any())


def web_cut(geobox: GeoBox, crs: CRS | None) -> Callable[[NDArray[np.object_]], NDArray[np.object_]] | None:
    """Return the function that makes of features in a CRS those of web maps, in longitude and latitude.

    Return None where the map does not reach the antimeridian, or its features were cut there.

    Parameters
    ----------
    geobox
        The grid of the map.
    crs
        CRS of the features; None for that of the map.

    Raises
    ------
    ConfigError
        When the map surrounds a pole.
    """
    if geobox.crs is None:
        return None
    if geobox.crs == WGS84:
        west, _, east, _ = geobox.boundingbox
        beyond = crs is None and (west < -180 or east > 180)
        return (lambda geometry: cut_at_antimeridian(geometry, None)) if beyond else None
    try:
        around = longitude_to_cut_around(geobox, WGS84)
    except ConfigError as error:
        raise ConfigError(
            "outputs.polygons: pmtiles: web maps cannot show this map in one piece: it surrounds a pole or "
            "the world; leave pmtiles out"
        ) from error
    if around is None or crs == WGS84:
        return None
    project = Transformer.from_crs((crs or geobox.crs).proj, WGS84.proj, always_xy=True)
    longest = longest_edge(geobox) if crs is None or crs == geobox.crs else np.inf  # or divided before
    return lambda geometry: cut_at_antimeridian(transformed(divided(geometry, longest), project), around)


def unwrapped(lonlat: NDArray[np.float64], around: float) -> NDArray[np.float64]:
    """Return coordinates with longitudes within 180 degrees of another one, shape (N, 2)."""
    turns = np.round((around - lonlat[:, 0]) / 360)
    return np.column_stack([np.where(turns == 0, lonlat[:, 0], lonlat[:, 0] + 360 * turns), lonlat[:, 1]])


def cut_at_antimeridian(geometry: NDArray[np.object_], around: float | None) -> NDArray[np.object_]:
    """Return geometries between -180 and 180 degrees, as multipolygons.

    Neighbours stay neighbours: where an edge crosses the antimeridian both get the same vertex.

    Parameters
    ----------
    geometry
        Polygons or multipolygons in longitude and latitude.
    around
        Longitude within 180 degrees of which they lie; None when their longitudes are continuous, and may be
        beyond 180.
    """
    if around is not None:
        geometry = np.asarray(shapely.transform(geometry, lambda xy: unwrapped(xy, around)))
    geometry = np.asarray(shapely.transform(geometry, _snapped))
    west, _, east, _ = shapely.bounds(geometry).T
    first, last = np.floor((west + 180) / 360), np.ceil((east - 180) / 360)
    whole = [_shifted(g, turn) for g, turn in zip(geometry, first, strict=True)]
    for i in np.flatnonzero(last > first).tolist():
        marked = _with_crossings(geometry[i])
        turns = range(int(first[i]), int(last[i]) + 1)
        boxes = [shapely.box(360 * t - 180, -91, 360 * t + 180, 91) for t in turns]
        whole[i] = [_shifted(shapely.intersection(marked, b), t) for b, t in zip(boxes, turns, strict=True)]
    parts = [shapely.get_parts(shapely.get_parts(g)) for g in whole]
    return np.array([shapely.multipolygons([p for p in ps if p.area > 0]) for ps in parts], dtype=object)


def _snapped(xy: NDArray[np.float64]) -> NDArray[np.float64]:
    x = xy[:, 0]
    meridian = 360 * np.round((x - 180) / 360) + 180
    return np.column_stack([np.where(np.abs(x - meridian) < _SNAP, meridian, x), xy[:, 1]])


def _shifted(geometry: Any, turns: float) -> Any:
    return shapely.transform(geometry, lambda xy: xy - [360 * turns, 0]) if turns else geometry


def _with_crossings(geometry: Any) -> Any:
    """Return a geometry with a vertex wherever an edge crosses the antimeridian."""
    parts = [
        shapely.Polygon(_crossing(p.exterior), [_crossing(hole) for hole in p.interiors])
        for p in shapely.get_parts(geometry)
    ]
    return shapely.multipolygons(parts)


def _crossing(ring: Any) -> Any:
    xy = shapely.get_coordinates(ring)
    start, stop = xy[:-1], xy[1:]
    # From west to east in both neighbours, so that both compute the same vertex.
    turn = start[:, 0] > stop[:, 0]
    west, east = (np.where(turn[:, None], a, b) for a, b in ((stop, start), (start, stop)))
    meridian = 360 * np.floor((west[:, 0] + 180) / 360) + 180
    crosses = (west[:, 0] < meridian) & (meridian < east[:, 0])
    with np.errstate(divide="ignore", invalid="ignore"):
        share = (meridian - west[:, 0]) / (east[:, 0] - west[:, 0])
    y = west[:, 1] + share * (east[:, 1] - west[:, 1])
    at = np.flatnonzero(crosses)
    return shapely.linearrings(np.insert(xy, at + 1, np.column_stack([meridian, y])[at], axis=0))
