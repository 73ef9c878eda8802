"""Polygons of a run: valid, indexed, and a coverage of the class map.

The map is walked in strips; of the polygons only those that reach into a strip are in memory.
"""

import math
import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pyogrio
import rasterio
import shapely
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox
from pyogrio.errors import DataLayerError, DataSourceError
from pyproj import CRS, Transformer
from pyproj.exceptions import ProjError
from rasterio.enums import MergeAlg
from rasterio.errors import RasterioError
from rasterio.features import rasterize
from rasterio.transform import Affine
from rasterio.windows import Window
from scipy.ndimage import maximum_filter

from geoseg.core.errors import one_line
from geoseg.core.legend import NODATA
from geoseg.raster.area import pixel_area_m2
from geoseg.validation.findings import Failure
from geoseg.validation.geopackage import FILE, check_database, count, opened, sums, the_layer
from geoseg.validation.rasters import row_spans
from geoseg.validation.record import Record

_UNREADABLE = (
    sqlite3.Error, DataSourceError, DataLayerError, RasterioError, shapely.GEOSException, ProjError,
    ValueError,
)  # fmt: skip


@dataclass
class _Tally:
    """What the strips add up to."""

    polygons: int = 0
    invalid: list[str] = field(default_factory=list)
    area: float = 0.0
    """Planar area of all polygons, in pixels."""
    overlaps: int = 0
    gaps: int = 0
    beyond: int = 0
    """Pixels of nodata under a polygon."""
    others: int = 0
    """Pixels under a polygon of another class."""
    mapped: NDArray[np.int64] = field(default_factory=lambda: np.zeros(256, np.int64))
    burnt: NDArray[np.int64] = field(default_factory=lambda: np.zeros(256, np.int64))
    burnt_m2: NDArray[np.float64] = field(default_factory=lambda: np.zeros(256))


def check_polygons(record: Record) -> Iterator[Failure]:
    """Hold the polygons to the class map, and the file to what GIS expect of it.

    Unless they were generalised, rasterising them gives the map back. Generalised polygons still cover each
    pixel once, up to the tolerance of the simplification beside nodata, and keep each class's share of the
    map to 5 %. Classes that were left out count as nodata; where polygons were left out for their confidence
    there may be gaps.
    """
    path = record.folder / FILE
    try:
        with opened(path) as db:
            yield from check_database(record, db)
            layer = the_layer(db)
            features, told = count(db, layer), sums(db, layer)
        tally = _walk(record, path, layer)
    except _UNREADABLE as error:
        yield Failure(FILE, "polygons", "readable", one_line(error.__cause__ or error))
        return
    yield from _coverage(record, tally, features)
    yield from _areas(record, tally, told)


def _walk(record: Record, path: Path, layer: str) -> _Tally:
    """Add up what polygons and map say, strip by strip."""
    tally, box = _Tally(), record.geobox
    transform, areas = Affine(*box.transform[:6]), pixel_area_m2(box)
    if areas is None:
        areas = np.full(box.shape.y, abs(transform.a * transform.e))
    # Edges may move that far beside nodata: Visvalingam's tolerance is the root of an area, a flat triangle
    # of that area is higher than it.
    reach = math.ceil(2 * record.moved_pixels) + 1 if record.moved_pixels else 0
    for start, stop in row_spans(box.shape):
        first, last = max(start - reach, 0), min(stop + reach, box.shape.y)
        with rasterio.open(record.folder / "classes.tif") as src:
            around = src.read(1, window=Window(0, first, src.width, last - first))
        around[np.isin(around, record.left_out)] = NODATA
        classes, valid = around[start - first : stop - first], around != NODATA
        loose = _near_other(valid, reach)[start - first : stop - first]
        here = transform @ Affine.translation(0, start)
        geometry, ids = _polygons(path, layer, box, _bounds(here, classes.shape))
        _count_polygons(tally, geometry, here, (start, stop, box.shape.y))
        if not record.moved_pixels:
            # A region may reach through the whole map. Its edges along pixels are cut without rounding;
            # simplified ones, which are short, are left whole.
            geometry = shapely.clip_by_rect(geometry, *_bounds(here, classes.shape))
        burnt = _burn(geometry, ids, here, classes.shape)
        times, values = burnt >> 8, (burnt & 255).astype(np.uint8)
        inside = classes != NODATA
        tally.overlaps += int((times > 1).sum())
        tally.gaps += int((inside & (times == 0) & ~loose).sum())
        tally.beyond += int((~inside & (times > 0) & ~loose).sum())
        tally.others += int((inside & (times == 1) & (values != classes)).sum())
        tally.mapped += np.bincount(classes[inside], minlength=256)
        once = np.where(times == 1, values, np.uint8(NODATA))
        lines = np.stack([np.bincount(line, minlength=256) for line in once])
        tally.burnt += lines.sum(axis=0)
        tally.burnt_m2 += areas[start:stop] @ lines
    return tally


def _near_other(valid: NDArray[np.bool_], reach: int) -> NDArray[np.bool_]:
    """Return which pixels lie within `reach` pixels of nodata, the frame of the map, or of valid pixels."""
    if reach == 0:
        return np.zeros(valid.shape, dtype=np.bool_)
    size = 2 * reach + 1
    beside_nodata = maximum_filter(~valid, size, mode="constant", cval=1)
    beside_valid = maximum_filter(valid, size, mode="constant", cval=0)
    near: NDArray[np.bool_] = np.where(valid, beside_nodata, beside_valid)
    return near


def _polygons(
    path: Path, layer: str, box: GeoBox, bounds: tuple[float, float, float, float]
) -> tuple[NDArray[np.object_], NDArray[np.int64]]:
    """Return the polygons that reach into bounds, in the CRS of the map, and their classes."""
    there = CRS.from_user_input(pyogrio.read_info(path, layer=layer)["crs"]) if box.crs is not None else None
    back = None
    if there is not None and there != CRS.from_wkt(box.crs.to_wkt()):
        back = Transformer.from_crs(there, box.crs.to_wkt(), always_xy=True)
        bounds = back.transform_bounds(*bounds, direction="INVERSE")
    _, _, wkb, (ids,) = pyogrio.raw.read(path, layer=layer, columns=["class_id"], bbox=bounds)
    geometry = shapely.from_wkb(wkb)
    if back is not None:
        geometry = shapely.transform(geometry, lambda xy: np.stack(back.transform(*xy.T), axis=1))
    return geometry, ids.astype(np.int64)


def _bounds(transform: Affine, shape: tuple[int, int]) -> tuple[float, float, float, float]:
    """Return the extent of a grid: left, lower, right, upper."""
    left, upper = transform @ (0, 0)
    right, lower = transform @ (shape[1], shape[0])
    return left, min(lower, upper), right, max(lower, upper)


def _count_polygons(
    tally: _Tally, geometry: NDArray[np.object_], transform: Affine, rows: tuple[int, int, int]
) -> None:
    """Look at each polygon once: in the strip where it begins."""
    start, stop, height = rows
    if not len(geometry):
        return
    upper = shapely.bounds(geometry)[:, 3]
    row = np.floor((upper - transform.f) / transform.e + 1e-6).astype(np.int64) + start
    mine = geometry[(row.clip(0, height - 1) >= start) & (row.clip(0, height - 1) < stop)]
    tally.polygons += len(mine)
    tally.area += float(shapely.area(mine).sum()) / abs(transform.a * transform.e)
    good = shapely.is_valid(mine) & ~shapely.is_empty(mine) & (shapely.get_dimensions(mine) == 2)
    tally.invalid += list(shapely.is_valid_reason(mine[~good]))


def _burn(
    geometry: NDArray[np.object_], ids: NDArray[np.int64], transform: Affine, shape: tuple[int, int]
) -> NDArray[np.int32]:
    """Return 256 for each polygon over a pixel's centre, plus the sum of their classes."""
    solid = shapely.area(geometry) > 0
    if not solid.any():
        return np.zeros(shape, dtype=np.int32)
    shapes = zip(geometry[solid], (256 + ids[solid]).tolist(), strict=True)
    burnt: NDArray[np.int32] = rasterize(
        shapes, shape, fill=0, transform=transform, merge_alg=MergeAlg.add, dtype="int32"
    )
    return burnt


def _coverage(record: Record, tally: _Tally, features: int) -> Iterator[Failure]:
    if tally.polygons != features:
        yield Failure(FILE, "polygons on the map", str(features), str(tally.polygons))
    if tally.invalid:
        yield Failure(
            FILE, "geometries", "valid polygons", f"{len(tally.invalid)} others: {tally.invalid[0]}"
        )
    for pixels, what in (
        (tally.overlaps, "overlaps"),
        (0 if record.partial else tally.gaps, "gaps"),
        (0 if record.mixed else tally.beyond, "nodata under polygons"),
    ):
        if pixels:
            yield Failure(FILE, what, "none", f"{pixels} pixels")
    if not record.generalised and tally.others:
        yield Failure(FILE, "classes", "those of the map", f"{tally.others} pixels differ")
    valid = int(tally.mapped.sum())
    for number, c in record.legend.by_id().items():
        moved = abs(int(tally.burnt[number]) - int(tally.mapped[number]))
        if moved > 0.05 * valid and not record.partial:
            expected = f"{tally.mapped[number]} pixels within 5 % of the map"
            yield Failure(FILE, f"area of {c.slug}", expected, f"{tally.burnt[number]} pixels")


def _areas(record: Record, tally: _Tally, told: dict[int, tuple[int, float]]) -> Iterator[Failure]:
    """Hold the planar area of all polygons to the map's, the column `area_m2` to what they cover."""
    valid, total = int(tally.mapped.sum()), math.prod(record.geobox.shape)
    # Slivers between pixel centres show here only.
    exact = (not record.moved_pixels or valid == total) and not record.partial
    if exact and abs(tally.area - valid) > 0.01 + 1e-9 * valid:
        yield Failure(FILE, "area of all polygons", f"{valid} pixels", f"{tally.area:.3f} pixels")
    for number, c in record.legend.by_id().items():
        polygons, area = told.get(number, (0, 0.0))
        covered = float(tally.burnt_m2[number])
        pixel = covered / max(int(tally.burnt[number]), 1)
        # Where edges are oblique, pixel centres tell an area to a pixel or so for each polygon.
        slack = 0.02 * covered + (4 * pixel * math.sqrt(polygons) if record.moved_pixels else 1e-3)
        if abs(area - covered) > slack:
            yield Failure(FILE, f"sum of area_m2 of {c.slug}", f"{covered:.1f}", f"{area:.1f}")
