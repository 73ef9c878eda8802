"""From polygons in pixels to features with attributes."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import shapely
from affine import Affine
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox
from pyproj import Transformer

from geoseg.vector.recipe import Rules
from geoseg.vector.trace.assemble import Rings
from geoseg.vector.trace.coverage import Polygons
from geoseg.vector.write.geodesy import GroundMeasure, transformed

_FEATURES = 20_000
"""Features of a batch at most, about: outlines as objects take much more memory than as arrays."""


def schema(rules: Rules) -> pa.Schema:
    """Return the columns of features; `geom` is WKB."""
    columns = [
        ("class_id", pa.int32()),
        ("class_name", pa.string()),
        ("area_m2", pa.float64()),
        ("perimeter_m", pa.float64()),
        ("mean_confidence", pa.float64()),
        ("min_confidence", pa.float64()),
        ("low_confidence_share", pa.float64()),
        ("touches_edge", pa.bool_()),
    ]
    if rules.with_objects:
        columns.insert(2, ("object_id", pa.int64()))
    wkb = pa.field("geom", pa.binary(), metadata={"ARROW:extension:name": "geoarrow.wkb"})
    return pa.schema([*columns, wkb])


def features(found: Iterator[Polygons], geobox: GeoBox, rules: Rules) -> Iterator[pa.RecordBatch]:
    """Yield features, in batches of `schema(rules)`.

    Areas and lengths are those of the geometry, in square metres and metres; see `GroundMeasure`. A feature's
    confidence is that of the pixels of its region.

    Parameters
    ----------
    found
        Polygons in pixels.
    geobox
        The grid of the map.
    rules
        Which polygons become features.
    """
    maker = _Maker(geobox, rules)
    parts: Iterator[_Table] = (maker.kept(p, part) for p in found for part in _slices(len(p)))
    if rules.dissolve:
        parts = maker.dissolved(parts)
    for table in parts:
        if len(table.geometry):
            yield maker.batch(table)


def _slices(count: int) -> Iterator[slice]:
    for start in range(0, count, _FEATURES):
        yield slice(start, min(start + _FEATURES, count))


@dataclass(frozen=True)
class _Table:
    """Features before they are written: one entry for each in every array."""

    geometry: NDArray[np.object_]
    value: NDArray[np.int64]
    area: NDArray[np.float64]
    perimeter: NDArray[np.float64]
    pixels: NDArray[np.int64]
    confidence: NDArray[np.int64]
    minimum: NDArray[np.int64]
    doubtful: NDArray[np.int64]
    edge: NDArray[np.bool_]


class _Maker:
    """Makes features of one map."""

    def __init__(self, geobox: GeoBox, rules: Rules) -> None:
        self._transform, self._rules = geobox.transform, rules
        self._schema = schema(rules)
        self._measure = GroundMeasure.of(geobox)
        self._titles = {i: c.title for i, c in rules.legend.by_id().items()}
        self._project = (
            Transformer.from_crs(geobox.crs.proj, rules.crs.proj, always_xy=True)
            if geobox.crs is not None and rules.crs is not None and rules.crs != geobox.crs
            else None
        )

    def kept(self, found: Polygons, part: slice) -> _Table:
        """Return what the rules keep of some polygons, in the map's CRS."""
        stats = found.stats
        chosen = np.arange(part.start, part.stop)
        drop = np.isin(stats.value[chosen] % 256, list(self._rules.leave_out))
        # In whole numbers, as the sums are.
        least = round(self._rules.minimum_confidence * 100)
        drop |= stats.confidence[chosen] < least * stats.pixels[chosen]
        chosen = chosen[~drop]
        taken = stats.take(chosen)
        geometry = _geometries(found.rings, chosen, self._transform)
        return _Table(
            geometry, taken.value, self._measure.areas(geometry), self._measure.lengths(geometry),
            taken.pixels, taken.confidence, taken.minimum, taken.doubtful, taken.edge,
        )  # fmt: skip

    def dissolved(self, parts: Iterator[_Table]) -> Iterator[_Table]:
        """Yield one table with a multipolygon for each class; all polygons are held until then."""
        tables = list(parts)
        if not tables:
            return
        every = _Table(*(np.concatenate(column) for column in zip(*map(_columns, tables), strict=True)))
        values, place = np.unique(every.value, return_inverse=True)
        first = np.argsort(place, kind="stable")
        starts = np.searchsorted(place[first], np.arange(len(values)))
        geometry = np.array(
            [shapely.multipolygons(every.geometry[g]) for g in np.split(first, starts[1:])], dtype=object
        )

        def total(column: NDArray[Any]) -> NDArray[Any]:
            return np.add.reduceat(column[first], starts)

        yield _Table(
            geometry, values, total(every.area), total(every.perimeter), total(every.pixels),
            total(every.confidence), np.minimum.reduceat(every.minimum[first], starts), total(every.doubtful),
            np.logical_or.reduceat(every.edge[first], starts),
        )  # fmt: skip

    def batch(self, table: _Table) -> pa.RecordBatch:
        """Return features in the CRS of the layer."""
        geometry = table.geometry
        if self._project is not None:
            geometry = transformed(geometry, self._project)
        ids = (table.value % 256).astype(np.int32)
        columns = {
            "class_id": ids,
            "class_name": [self._titles.get(i, str(i)) for i in ids.tolist()],
            "object_id": table.value // 256,
            "area_m2": table.area,
            "perimeter_m": table.perimeter,
            "mean_confidence": np.round(table.confidence / (100 * table.pixels), 4),
            "min_confidence": table.minimum / 100,
            "low_confidence_share": np.round(table.doubtful / table.pixels, 4),
            "touches_edge": table.edge,
            "geom": shapely.to_wkb(geometry),
        }
        arrays = [pa.array(columns[field.name], field.type) for field in self._schema]
        return pa.record_batch(arrays, schema=self._schema)


def _columns(table: _Table) -> tuple[Any, ...]:
    return tuple(getattr(table, name) for name in _Table.__dataclass_fields__)


def _geometries(rings: Rings, chosen: NDArray[np.int64], transform: Affine) -> NDArray[np.object_]:
    """Return some polygons in coordinates."""
    ring = _ranges(rings.polygons[chosen], rings.polygons[chosen + 1])
    vertex = _ranges(rings.offsets[ring], rings.offsets[ring + 1])
    y, x = rings.vertices[vertex].astype(np.float64).T
    a, b, c, d, e, f = transform[:6]
    xy = np.stack([a * x + b * y + c, d * x + e * y + f], axis=1)
    rings_of = np.diff(rings.polygons)[chosen]
    lengths = np.diff(rings.offsets)[ring]
    return np.asarray(
        shapely.from_ragged_array(
            shapely.GeometryType.POLYGON, xy, (np.r_[0, np.cumsum(lengths)], np.r_[0, np.cumsum(rings_of)])
        )
    )


def _ranges(starts: NDArray[np.int64], stops: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return start to stop of each pair, one after another."""
    lengths = stops - starts
    shift = np.repeat(starts - np.r_[0, np.cumsum(lengths)[:-1]][: len(starts)], lengths)
    return np.asarray(np.arange(lengths.sum()) + shift)
