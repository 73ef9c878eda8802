"""Areas and lengths on the ground."""

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
        geod = self.geod
        return np.array([abs(geod.geometry_area_perimeter(g)[0]) for g in self._geographic(geometry)])

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
