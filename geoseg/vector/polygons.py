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
from pyproj import CRS
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
        classes = features.sieve(classes, size=minimum_pixels, mask=valid, connectivity=4)
    # Traced in pixels, where corners are whole numbers and common edges equal to the last bit.
    pairs = list(features.shapes(classes, mask=valid, connectivity=4))
    geometry = np.array([shape(outline) for outline, _ in pairs], dtype=object)
    ids = np.array([int(value) for _, value in pairs], dtype=np.int32)
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


def _areas_m2(frame: gpd.GeoDataFrame) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    """Planar in projected CRS, geodesic in geographic ones; in square pixels without a CRS."""
    planar = np.asarray(shapely.area(frame.geometry.values), dtype=np.float64)
    if frame.crs is None:
        return planar
    crs = CRS(frame.crs)
    geod = crs.get_geod()
    if not crs.is_geographic or geod is None:
        return planar * float(crs.axis_info[0].unit_conversion_factor) ** 2
    return np.array([abs(geod.geometry_area_perimeter(g)[0]) for g in frame.geometry])
