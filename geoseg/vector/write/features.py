"""From polygons in pixels to features with attributes."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pyarrow as pa
import shapely
from affine import Affine
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox
from pyproj import Transformer

from geoseg.core.detections import SCORES
from geoseg.vector.objects.paint import Numbered
from geoseg.vector.objects.parts import whole_objects
from geoseg.vector.recipe import Rules
from geoseg.vector.trace.assemble import Rings
from geoseg.vector.trace.coverage import RegionPolygons
from geoseg.vector.write.antimeridian import cut_at_antimeridian, longitude_to_cut_around
from geoseg.vector.write.geodesy import GroundMeasure, divided, longest_edge, transformed
from geoseg.vector.write.table import FeatureTable

_FEATURES = 20_000
"""Most features of a batch: geometries as objects take much more memory than as arrays."""


def schema(rules: Rules) -> pa.Schema:
    """Return the columns of the features; `geom` is WKB."""
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
    if rules.scored:
        columns[4:7] = [("joined", pa.int32())]
        columns.insert(2, ("score", pa.float64()))
    if rules.with_objects:
        columns.insert(2, ("object_id", pa.int64()))
    if rules.with_color:
        columns.insert(2, ("class_color", pa.string()))
    if rules.with_strangeness:
        columns.append(("mean_strangeness", pa.float64()))
    wkb = pa.field("geom", pa.binary(), metadata={"ARROW:extension:name": "geoarrow.wkb"})
    return pa.schema([*columns, wkb])


def features(
    polygons: Iterator[RegionPolygons], geobox: GeoBox, rules: Rules, found: Numbered | None = None
) -> Iterator[pa.RecordBatch]:
    """Yield features, in batches of `schema(rules)`.

    Areas and lengths are those of the geometry, in square metres and metres, see `GroundMeasure`; confidences
    are those of the pixels of the feature's region.

    Parameters
    ----------
    polygons
        Polygons in pixels.
    geobox
        The grid of the map.
    rules
        Which polygons become features, and their CRS.
    found
        The objects that a network found: each is one feature, a multipolygon, with its score.
    """
    builder = _FeatureBuilder(geobox, rules, found)
    tables: Iterator[FeatureTable] = (builder.select(p, part) for p in polygons for part in _slices(len(p)))
    if found is not None:
        tables = whole_objects(tables, found)
    if rules.dissolve:
        tables = _dissolved(tables)
    for table in tables:
        if len(table.geometry):
            yield builder.batch(table)


def _slices(count: int) -> Iterator[slice]:
    for start in range(0, count, _FEATURES):
        yield slice(start, min(start + _FEATURES, count))


class _FeatureBuilder:
    """Builds the features of one map."""

    def __init__(self, geobox: GeoBox, rules: Rules, found: Numbered | None) -> None:
        self._transform, self._rules, self._found = geobox.transform, rules, found
        self._schema = schema(rules)
        self._around = longitude_to_cut_around(geobox, rules.crs)
        self._measure, self._longest = GroundMeasure.of(geobox), longest_edge(geobox)
        self._titles = {i: c.title for i, c in rules.legend.by_id().items()}
        self._colors = {i: c.color for i, c in rules.legend.by_id().items()}
        self._project = (
            Transformer.from_crs(geobox.crs.proj, rules.crs.proj, always_xy=True)
            if geobox.crs is not None and rules.crs is not None and rules.crs != geobox.crs
            else None
        )

    def select(self, polygons: RegionPolygons, part: slice) -> FeatureTable:
        """Return the polygons of a part that the rules keep, in the map's CRS."""
        stats = polygons.stats
        chosen = np.arange(part.start, part.stop)
        drop = np.isin(stats.value[chosen] % 256, list(self._rules.leave_out))
        # Compared as integers, so that rounding decides nothing.
        if self._found is None:
            least = round(self._rules.minimum_confidence * 100)
            drop |= stats.confidence[chosen] < least * stats.pixels[chosen]
        else:
            least, ids = round(self._rules.minimum_confidence * SCORES), stats.value[chosen] // 256
            drop |= self._found.scores[ids] < least
            drop |= self._found.pixels[ids] < self._rules.minimum_pixels
        chosen = chosen[~drop]
        taken = stats.take(chosen)
        geometry = _geometries(polygons.rings, chosen, self._transform)
        return FeatureTable(
            geometry, taken.value, self._measure.areas(geometry), self._measure.lengths(geometry),
            taken.pixels, taken.confidence, taken.minimum, taken.doubtful, taken.distance, taken.edge,
        )  # fmt: skip

    def batch(self, table: FeatureTable) -> pa.RecordBatch:
        """Return the features of a table in the CRS of the layer."""
        geometry = table.geometry
        if self._project is not None:
            geometry = transformed(divided(geometry, self._longest), self._project)
        if self._around is not None:
            geometry = cut_at_antimeridian(geometry, self._around)
        ids, objects = (table.value % 256).astype(np.int32), table.value // 256
        columns: dict[str, Any] = {
            "class_id": ids,
            "class_name": [self._titles.get(i, str(i)) for i in ids.tolist()],
            "class_color": [self._colors.get(i) for i in ids.tolist()] if self._rules.with_color else None,
            "object_id": objects,
            "area_m2": table.area,
            "perimeter_m": table.perimeter,
            "mean_confidence": np.round(table.confidence / (100 * table.pixels), 4),
            "min_confidence": table.minimum / 100,
            "low_confidence_share": np.round(table.doubtful / table.pixels, 4),
            "mean_strangeness": np.round(table.distance / (100 * table.pixels), 4),
            "touches_edge": table.edge,
            "geom": shapely.to_wkb(geometry),
        }
        if self._found is not None:
            columns["score"] = self._found.scores[objects] / SCORES
            columns["joined"] = self._found.joined[objects]
            columns["touches_edge"] = self._found.edge[objects]
        arrays = [pa.array(columns[field.name], field.type) for field in self._schema]
        return pa.record_batch(arrays, schema=self._schema)


def _dissolved(tables: Iterator[FeatureTable]) -> Iterator[FeatureTable]:
    """Yield one table with a multipolygon for each class; memory holds all polygons until then."""
    parts = list(tables)
    if not parts:
        return
    every = FeatureTable.concatenate(parts)
    _, place = np.unique(every.value, return_inverse=True)
    order = np.argsort(place, kind="stable")
    starts = np.searchsorted(place[order], np.arange(place.max(initial=-1) + 1))
    yield every.grouped(order, starts) if len(every) else every


def _geometries(rings: Rings, chosen: NDArray[np.int64], transform: Affine) -> NDArray[np.object_]:
    """Return the chosen polygons in coordinates of the map's CRS."""
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
    """Return the integers from each start to its stop, one range after another."""
    lengths = stops - starts
    shift = np.repeat(starts - np.r_[0, np.cumsum(lengths)[:-1]][: len(starts)], lengths)
    return np.asarray(np.arange(lengths.sum()) + shift)
