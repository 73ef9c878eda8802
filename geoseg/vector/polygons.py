"""Polygons of a class map: 4-connected regions of one class, as `rasterio.features.shapes` traces them.

The whole map is held in memory here.
"""

import itertools
from pathlib import Path

import geopandas as gpd
import numpy as np
import rasterio
import shapely
from numpy.typing import NDArray
from pyproj import CRS, Geod, Proj
from rasterio import features
from shapely.geometry import shape

from geoseg.core.legend import NODATA, Legend


def trace(
    class_map: Path, legend: Legend, *, minimum_pixels: int = 0, simplify_pixels: float = 0.0
) -> gpd.GeoDataFrame:
    """Return the polygons of a class map with `class_id`, `class_name` and `area_m2`.

    Parameters
    ----------
    class_map
        A class raster with nodata 255.
    legend
        Its classes.
    minimum_pixels
        Minimum mapping unit: smaller regions join their largest neighbour (GDAL's sieve); 0 keeps all.
    simplify_pixels
        Tolerance in pixels (Visvalingam-Whyatt on shared edges: neighbours keep one common line, the map's
        outer border stays); 0 keeps pixel edges.
    """
    with rasterio.open(class_map) as src:
        classes, transform, crs = src.read(1), src.transform, src.crs
    valid = classes != NODATA
    if minimum_pixels > 1:
        classes = _sieve(classes, valid, minimum_pixels)
    # Traced in pixels, where corners are whole numbers and common edges equal to the last bit. Converted one
    # by one: outlines as Python numbers would need several times the memory.
    traced = [(shape(o), int(v)) for o, v in features.shapes(classes, mask=valid, connectivity=4)]
    geometry = np.array([g for g, _ in traced], dtype=object)
    ids = np.array([i for _, i in traced], dtype=np.int32)
    if simplify_pixels > 0:
        # Vertices at every pixel corner: a corner in the middle of a neighbour's edge would let the two
        # drift apart.
        dense = shapely.segmentize(geometry, 1.0)
        geometry = _without_idle_vertices(
            shapely.coverage_simplify(dense, simplify_pixels, simplify_boundary=False)
        )
    a, b, c, d, e, f = transform[:6]
    placed = shapely.transform(geometry, lambda xy: xy @ np.array([[a, d], [b, e]]) + np.array([c, f]))
    titles = {i: klass.title for i, klass in legend.by_id().items()}
    frame = gpd.GeoDataFrame(
        {"class_id": ids, "class_name": [titles.get(i, str(i)) for i in ids.tolist()]},
        geometry=placed,
        crs=None if crs is None else crs.to_wkt(),
    )
    frame.insert(2, "area_m2", _areas_m2(frame))
    return frame


def _sieve(classes: NDArray[np.uint8], valid: NDArray[np.bool_], minimum_pixels: int) -> NDArray[np.uint8]:
    """Merge small regions into their largest neighbour, the smallest first.

    GDAL's sieve merges a region only into one that is large enough itself; with thresholds that double, small
    regions first grow together, and few are left whose neighbours are all as small.
    """
    limit = min(minimum_pixels, classes.size - 1)
    thresholds = itertools.takewhile(lambda size: size < limit, (2**k for k in itertools.count(1)))
    for size in [*thresholds, limit]:
        before = None
        while before is None or not np.array_equal(before, classes):
            before, classes = classes, features.sieve(classes, size=size, mask=valid, connectivity=4)
            classes[~valid] = NODATA
    return classes


def _without_idle_vertices(geometry: NDArray[np.object_]) -> NDArray[np.object_]:
    """Drop vertices at which no polygon turns; where one does, its neighbours keep the vertex as well."""
    if not len(geometry):
        return geometry
    kind, xy, (rings, polygons) = shapely.to_ragged_array(geometry)
    position = np.arange(len(xy))
    ring = np.searchsorted(rings, position, side="right") - 1
    first, last = rings[ring], rings[ring + 1] - 1  # a ring ends with its first vertex
    before = np.where(position == first, last - 1, position - 1)
    after = np.where(position == last, first + 1, position + 1)
    (ax, ay), (bx, by) = (xy - xy[before]).T, (xy[after] - xy).T
    turns = ax * by != ay * bx
    _, place = np.unique(xy, axis=0, return_inverse=True)
    kept = np.bincount(place.ravel(), weights=turns) > 0
    keep = kept[place.ravel()]
    # A ring may begin at an idle vertex; it then begins and ends at its next kept one.
    rows: list[NDArray[np.float64]] = []
    for start, stop in itertools.pairwise(rings.tolist()):
        line = xy[start : stop - 1][keep[start : stop - 1]]
        rows.append(np.concatenate([line, line[:1]]))
    offsets = np.concatenate([[0], np.cumsum([len(r) for r in rows])])
    return np.asarray(shapely.from_ragged_array(kind, np.concatenate(rows), (offsets, polygons)))


def _areas_m2(frame: gpd.GeoDataFrame) -> NDArray[np.float64]:
    """Planar where the CRS keeps areas to 1 %, geodesic elsewhere; in square pixels without a CRS."""
    planar = np.asarray(shapely.area(frame.geometry.values), dtype=np.float64)
    if frame.crs is None or not len(frame):
        return planar
    crs = CRS(frame.crs)
    if not crs.is_geographic:
        left, bottom, right, top = frame.total_bounds
        projection = Proj(crs)
        lon, lat = projection((left + right) / 2, (bottom + top) / 2, inverse=True)
        if abs(projection.get_factors(lon, lat).areal_scale - 1) <= 0.01:
            return planar * float(crs.axis_info[0].unit_conversion_factor) ** 2
    ground = frame.geometry if crs.is_geographic else frame.geometry.to_crs(crs.geodetic_crs)
    geod = crs.get_geod() or Geod(ellps="WGS84")
    return np.array([abs(geod.geometry_area_perimeter(g)[0]) for g in ground])
