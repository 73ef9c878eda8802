"""Areas and lengths on the ground."""

import itertools
import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox
from pyproj import Geod, Transformer

from geoseg.scenes.grid import gsd_m, is_planar, metres_in_unit

_LONGEST_M = 10_000
"""Metres of an edge that is measured as one geodesic, which departs from it by a few metres."""
_METRES_IN_DEGREE = 111_000
_RADIUS_M = 6_371_000


@dataclass(frozen=True)
class GroundMeasure:
    """How the geometries of one map are measured.

    Areas and lengths are planar where `geoseg.scenes.grid.is_planar` says so, as in UTM; elsewhere, as in Web
    Mercator or a geographic CRS, they are geodesic (Karney 2013, through PROJ). Without a CRS they are in
    units of the coordinates.
    """

    unit: float = 1.0
    """Metres in a unit of the coordinates."""
    geod: Geod | None = None
    """The ellipsoid, where measures are geodesic."""
    to_geographic: Transformer | None = None
    """To longitude and latitude."""
    longest: float = math.inf
    """Edges that are longer, in units of the coordinates, are divided: a parallel is no geodesic."""

    @classmethod
    def of(cls, geobox: GeoBox) -> "GroundMeasure":
        """Choose the measure for the map on a grid."""
        crs = geobox.crs
        if crs is None:
            return cls()
        proj = crs.proj
        if is_planar(geobox):
            return cls(unit=metres_in_unit(crs))
        geod = proj.get_geod() or Geod(ellps="WGS84")
        pixel = max(abs(geobox.resolution.x), abs(geobox.resolution.y))
        if crs.geographic:
            return cls(geod=geod, longest=max(pixel, _LONGEST_M / _METRES_IN_DEGREE))
        longest = max(pixel, _LONGEST_M / metres_in_unit(crs))
        to_geographic = Transformer.from_crs(proj, proj.geodetic_crs, always_xy=True)
        return cls(geod=geod, to_geographic=to_geographic, longest=longest)

    def areas(self, geometry: NDArray[np.object_]) -> NDArray[np.float64]:
        """Return the areas of polygons in square metres."""
        if self.geod is None:
            return np.asarray(shapely.area(geometry)) * self.unit**2
        if not len(geometry):
            return np.empty(0)
        parts, place = shapely.get_parts(geometry, return_index=True)
        rings, part = shapely.get_rings(parts, return_index=True)
        hole = np.r_[False, part[1:] == part[:-1]]
        areas = np.where(hole, -1.0, 1.0) * self._ring_areas(rings)
        return np.asarray(np.bincount(place[part], areas, minlength=len(geometry)))

    def lengths(self, geometry: NDArray[np.object_]) -> NDArray[np.float64]:
        """Return the lengths of all rings of polygons in metres."""
        if self.geod is None:
            return np.asarray(shapely.length(geometry)) * self.unit
        xy, place = shapely.get_coordinates(shapely.get_rings(self._geographic(geometry)), return_index=True)
        _, polygon = shapely.get_rings(geometry, return_index=True)
        same = place[1:] == place[:-1]
        _, _, metres = self.geod.inv(*xy[:-1][same].T, *xy[1:][same].T)
        total = np.bincount(polygon[place[1:][same]], weights=metres, minlength=len(geometry))
        return np.asarray(total, np.float64)

    def _ring_areas(self, rings: NDArray[np.object_]) -> NDArray[np.float64]:
        """Return the geodesic area inside each ring in square metres, also of more than a hemisphere.

        The geodesic area is exact but for whole areas of the Earth, since a line divides it into two sides.
        How often to add that is told by the area on a sphere, an integral of the sine of the latitude over
        the longitude: 0 at the equator, so it lacks the half of a sphere where a ring runs around a pole.
        """
        geod = self.geod or Geod(ellps="WGS84")
        turned = np.where(shapely.is_ccw(rings), rings, shapely.reverse(rings))
        lonlat, ring = shapely.get_coordinates(self._geographic(turned), return_index=True)
        same = ring[1:] == ring[:-1]
        step, sine = np.diff(lonlat[:, 0]), np.sin(np.radians(lonlat[:, 1]))
        step = np.radians(step - 360 * np.round(step / 360))[same]
        under = step * ((sine[1:] + sine[:-1]) / 2)[same]
        around, below = (np.bincount(ring[1:][same], w, minlength=len(rings)) for w in (step, under))
        on_sphere = (2 * np.pi * np.round(np.abs(around) / (2 * np.pi)) - below) / (4 * np.pi)
        whole = 8 * geod.polygon_area_perimeter([0, 90, 0], [0, 0, 90])[0]
        bounds = np.r_[0, np.flatnonzero(~same) + 1, len(lonlat)]
        signed = np.array(
            [geod.polygon_area_perimeter(*lonlat[a:b].T)[0] for a, b in itertools.pairwise(bounds)]
        )
        return np.asarray(signed + whole * np.round(on_sphere - signed / whole))

    def _geographic(self, geometry: NDArray[np.object_]) -> NDArray[np.object_]:
        fine = np.asarray(shapely.segmentize(geometry, self.longest))
        return fine if self.to_geographic is None else transformed(fine, self.to_geographic)


def longest_edge(geobox: GeoBox) -> float:
    """Return the length up to which an edge on a grid may become one straight edge in another CRS.

    A whole number of pixels, so that their corners stay corners; the edge then departs from the line that it
    was by about a twentieth of a pixel in middle latitudes.
    """
    pixel, metres = float(abs(geobox.resolution.x)), gsd_m(geobox) or 1.0
    return pixel * max(1, math.floor(math.sqrt(0.4 * _RADIUS_M / metres)))


def divided(geometry: NDArray[np.object_], longest: float) -> NDArray[np.object_]:
    """Return polygons whose longer edges have further vertices, at multiples of a length.

    In another CRS a straight line is curved: a long edge would cut off what lies near it. Neighbours stay
    neighbours, since both of them count from the same end.
    """
    xy, place = shapely.get_coordinates(geometry, return_index=True)
    same = place[1:] == place[:-1]  # with steps between rings, which only cost time
    long = np.unique(place[1:][same & (np.hypot(*(xy[1:] - xy[:-1]).T) > longest)])
    if not len(long):
        return geometry
    found = geometry.copy()
    for i in long.tolist():
        parts = [
            shapely.Polygon(_divided(p.exterior, longest), [_divided(hole, longest) for hole in p.interiors])
            for p in shapely.get_parts(geometry[i])
        ]
        found[i] = parts[0] if geometry[i].geom_type == "Polygon" else shapely.multipolygons(parts)
    return found


def _divided(ring: Any, longest: float) -> NDArray[np.float64]:
    xy = shapely.get_coordinates(ring)
    start, stop = xy[:-1], xy[1:]
    turn = (start[:, 0] > stop[:, 0]) | ((start[:, 0] == stop[:, 0]) & (start[:, 1] > stop[:, 1]))
    low, high = (np.where(turn[:, None], a, b) for a, b in ((stop, start), (start, stop)))
    length = np.hypot(*(high - low).T)
    more = np.ceil(length / longest * (1 - 1e-9)).astype(int) - 1
    edge = np.repeat(np.arange(len(more)), more)
    count = np.arange(len(edge)) - np.repeat(np.cumsum(more) - more, more) + 1
    count = np.where(turn[edge], more[edge] + 1 - count, count)
    points = low[edge] + (high - low)[edge] * (count * longest / length[edge])[:, None]
    return np.insert(xy, edge + 1, points, axis=0)


def transformed(geometry: NDArray[np.object_], transformer: Transformer) -> NDArray[np.object_]:
    """Return geometries with all vertices in another CRS."""

    def project(xy: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.stack(transformer.transform(*xy.T), axis=1)

    return np.asarray(shapely.transform(geometry, project))
