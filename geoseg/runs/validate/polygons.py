"""Checks of polygons: valid, indexed, a coverage of the class map, the same in all files."""

import math
import sqlite3
from collections.abc import Generator, Iterator
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import shapely
from pyogrio.errors import DataLayerError, DataSourceError
from pyproj import CRS, Transformer
from pyproj.exceptions import ProjError
from rasterio.errors import RasterioError

from geoseg.core.errors import one_line
from geoseg.core.run_files import RunFile
from geoseg.runs.validate.edges import unshared_edges
from geoseg.runs.validate.findings import Failure
from geoseg.runs.validate.finished_folder import FinishedFolder
from geoseg.runs.validate.geopackage import FILE, check_database, only_layer, open_readonly
from geoseg.runs.validate.objects import check_features
from geoseg.runs.validate.polygon_file import PolygonFile, ProjectedLayer, same_crs
from geoseg.runs.validate.strips import Tally, tally_strips
from geoseg.vector.write.features import schema

UNREADABLE = (
    sqlite3.Error, DataSourceError, DataLayerError, RasterioError, ProjError, shapely.GEOSException,
    pa.ArrowException, ValueError, TypeError, KeyError, OSError,
)  # fmt: skip
_SMALL = 50_000
"""Features up to which all edges are checked in memory."""


def check_polygons(run: FinishedFolder) -> Iterator[Failure]:
    """Check the polygons against the class map, and the files against what a GIS expects.

    Rasterising polygons that are not generalised gives the map. Generalised polygons still cover each pixel
    once, except near nodata, where edges may have moved, and keep each class's share of the map to 5 %, or to
    a few times what is simplified or joined at once.
    Classes and polygons that were left out leave gaps.
    """
    first, *more = run.polygon_files
    try:
        layer = yield from _open_layer(run, first)
        yield from _attributes(run, layer)
        projected = ProjectedLayer.on(layer, map_crs(run))
        edges = None
        overlap = run.recipe.rules.whole_masks
        if layer.attributes.num_rows < _SMALL and not overlap:
            # In the layer's own CRS, in which neighbours have vertices equal to the last bit.
            edges = unshared_edges(layer.polygons()[0])
            if len(edges.wrong):
                x, y = edges.wrong[0]
                found = f"{len(edges.wrong)} others, one at {x:.9g}, {y:.9g}"
                yield Failure(first, "edges", "one polygon on each side", found)
            # Its ends lie on the line on the map that an edge was; its middle in another CRS may not.
            ends = [projected.points(edges.lonely[:, i : i + 2]) for i in (0, 2)]
            edges = replace(edges, lonely=np.hstack(ends))
        tally = None if overlap else tally_strips(run, projected, edges)
    except UNREADABLE as error:
        yield Failure(first, "polygons", "readable", one_line(error.__cause__ or error))
        return
    if tally is not None:
        yield from _coverage(run, tally, first, layer.attributes.num_rows)
        yield from _areas(run, tally, first, layer.attributes)
    for name in more:
        try:
            other = yield from _open_layer(run, name)
            yield from _compare(layer, other)
        except UNREADABLE as error:
            yield Failure(name, "polygons", "readable", one_line(error.__cause__ or error))


def map_crs(run: FinishedFolder) -> CRS | None:
    """Return the CRS of the map."""
    crs = run.geobox.crs
    return None if crs is None else CRS.from_wkt(crs.to_wkt())


def middle_longitude(run: FinishedFolder) -> float | None:
    """Return the longitude of the map's middle; None when it has none."""
    crs, (west, south, east, north) = map_crs(run), run.geobox.boundingbox
    if crs is None:
        return None
    if crs.is_geographic:
        return float(west + east) / 2
    try:
        to_degrees = Transformer.from_crs(crs, "EPSG:4326", always_xy=True)
    except ProjError:
        return None
    longitude = float(to_degrees.transform((west + east) / 2, (south + north) / 2)[0])
    return longitude if math.isfinite(longitude) else None


def _open_layer(run: FinishedFolder, name: str) -> Generator[Failure, None, PolygonFile]:
    """Open a polygon file; check its database and its CRS."""
    path = run.folder / name
    around = middle_longitude(run)
    layer = PolygonFile(path, around=around)
    if name == FILE:
        with open_readonly(path) as db:
            yield from check_database(run, db)
            layer = PolygonFile(path, only_layer(db), around)
    chosen = run.recipe.rules.crs
    expected = map_crs(run) if chosen is None else chosen.proj
    if path.suffix == ".geojson":
        expected = CRS.from_epsg(4326)
    found = layer.crs
    if (found is None) != (expected is None) or (found and expected and not same_crs(found, expected)):
        names = ["none" if crs is None else crs.to_string() for crs in (expected, found)]
        yield Failure(name, "CRS", *names)
    return layer


def _attributes(run: FinishedFolder, layer: PolygonFile) -> Iterator[Failure]:
    """Check the names and ranges of the columns."""
    table, name, rules = layer.attributes, layer.path.name, run.recipe.rules
    columns = [n for n in schema(rules).names if n != "geom"]
    if table.column_names != columns:
        yield Failure(name, "columns", ", ".join(columns), ", ".join(table.column_names))
    ids = set(pc.unique(table["class_id"]).to_pylist())
    if rules.scored:
        yield from check_features(run, name, table)
        return
    if extra := sorted(ids & rules.leave_out):
        yield Failure(name, "classes left out", "no polygons", f"some of class {', '.join(map(str, extra))}")
    if rules.dissolve and table.num_rows != len(ids):
        yield Failure(name, "dissolved polygons", f"{len(ids)}, one for each class", str(table.num_rows))
    mean, least = (table[c].to_numpy() for c in ("mean_confidence", "min_confidence"))
    share, perimeter = (table[c].to_numpy() for c in ("low_confidence_share", "perimeter_m"))
    # Means are rounded to four digits.
    low = mean < rules.minimum_confidence - 1e-4
    if not rules.dissolve and low.any():
        yield Failure(name, "mean_confidence", f"{rules.minimum_confidence:g} or more", f"{mean[low][0]:g}")
    for wrong, what, expected in (
        (~((mean >= 0) & (mean <= 1)), "mean_confidence", "0 to 1"),
        (~((least >= 0) & (least <= mean + 1e-4)), "min_confidence", "0 to mean_confidence"),
        (~((share >= 0) & (share <= 1)), "low_confidence_share", "0 to 1"),
        (~(perimeter > 0), "perimeter_m", "above 0"),
    ):
        if wrong.any():
            yield Failure(name, what, expected, f"{int(wrong.sum())} others")


def _coverage(run: FinishedFolder, tally: Tally, name: str, features: int) -> Iterator[Failure]:
    if tally.polygons != features:
        yield Failure(name, "polygons on the map", str(features), str(tally.polygons))
    if tally.invalid:
        found = f"{len(tally.invalid)} others: {tally.invalid[0]}"
        yield Failure(name, "geometries", "valid polygons", found)
    for pixels, what in (
        (tally.overlaps, "overlaps"),
        (tally.gaps, "gaps"),
        (tally.on_nodata, "nodata under polygons"),
    ):
        if pixels:
            yield Failure(name, what, "none", f"{pixels} pixels")
    if run.gaps_are_known and tally.open_edges:
        yield Failure(name, "edges within the map", "shared by neighbours", f"{tally.open_edges} are not")
    if not run.generalised:
        if tally.mismatched:
            yield Failure(name, "classes", "those of the map", f"{tally.mismatched} pixels differ")
        if tally.partly_covered and run.recipe.objects is None and not run.recipe.rules.scored:
            yield Failure(
                name, "regions", "whole or left out", f"{tally.partly_covered} pixel edges between both"
            )
    yield from _shares(run, tally, name)


def _shares(run: FinishedFolder, tally: Tally, name: str) -> Iterator[Failure]:
    """Check the share of each class against the map, and the confidence of polygons that were left out."""
    rules, boundary = run.recipe.rules, run.boundary
    # A few corners or small regions decide a small map.
    slack = 0.05 * int(tally.mapped.sum()) + 2 * run.reach**2 + 4 * run.recipe.minimum_pixels
    for number, c in run.legend.by_id().items():
        mapped, burnt = int(tally.mapped[number]), int(tally.burnt[number])
        more = slack + (0 if boundary is None else int(tally.mapped[boundary]))
        dropped = rules.minimum_confidence or rules.minimum_pixels
        less = mapped if dropped or number in (boundary, *rules.leave_out) else slack
        if not mapped - less <= burnt <= mapped + more:
            yield Failure(
                name, f"area of {c.slug}", f"{mapped} pixels, {slack:.0f} more or less", f"{burnt} pixels"
            )
        bare = int(tally.uncovered[number])
        if rules.minimum_confidence and bare and not run.generalised and RunFile.CONFIDENCE in run.outputs:
            mean = float(tally.uncovered_confidence[number]) / bare
            # Polygons are left out by whole per cent.
            if mean > rules.minimum_confidence + 0.01:
                expected = f"below {rules.minimum_confidence:g}"
                yield Failure(name, f"confidence of what is left out of {c.slug}", expected, f"{mean:.3f}")


def _areas(run: FinishedFolder, tally: Tally, name: str, table: pa.Table) -> Iterator[Failure]:
    """Check the planar area of all polygons against the map, and `area_m2` against the covered pixels."""
    rules = run.recipe.rules
    covered_pixels = int(tally.mapped.sum()) - (0 if run.generalised else int(tally.uncovered.sum()))
    if not run.generalised:
        covered_pixels -= int(tally.mapped[list(rules.leave_out)].sum())
    # Only this check sees slivers between pixel centres.
    whole = int(tally.mapped.sum()) == math.prod(run.geobox.shape) and run.gaps_are_known
    exact = not run.generalised or (whole and not rules.leave_out)
    if exact and abs(tally.area - covered_pixels) > 0.01 + 1e-6 * covered_pixels:
        yield Failure(name, "area of all polygons", f"{covered_pixels} pixels", f"{tally.area:.3f} pixels")
    stated = np.bincount(table["class_id"].to_numpy(), weights=table["area_m2"].to_numpy(), minlength=256)
    for number, c in run.legend.by_id().items():
        covered = float(tally.burnt_m2[number])
        pixel = covered / max(int(tally.burnt[number]), 1)
        # With oblique edges, counting pixel centres gives the area to about a pixel for each polygon.
        slack = 0.02 * covered + (4 * pixel * math.sqrt(tally.parts[number]) if run.edges_moved else 1e-3)
        if abs(stated[number] - covered) > slack:
            yield Failure(name, f"sum of area_m2 of {c.slug}", f"{covered:.1f}", f"{stated[number]:.1f}")


def _compare(layer: PolygonFile, other: PolygonFile) -> Iterator[Failure]:
    """Compare a further file with the first one."""
    name, first, mine, its = other.path.name, layer.path.name, layer.attributes, other.attributes
    if its.num_rows != mine.num_rows:
        yield Failure(name, "polygons", f"{mine.num_rows} as in {first}", str(its.num_rows))
        return
    if its.column_names != mine.column_names:
        yield Failure(name, "columns", ", ".join(mine.column_names), ", ".join(its.column_names))
        return
    for column in mine.column_names:
        # The order of features differs between formats.
        a, b = (np.sort(table[column].to_numpy()) for table in (mine, its))
        same = np.allclose(a, b, rtol=1e-9, atol=1e-9) if a.dtype.kind in "fiu" else np.array_equal(a, b)
        if not same:
            yield Failure(name, column, f"values as in {first}", "others")
    if mine.num_rows < _SMALL:
        geometry, ids = ProjectedLayer.on(other, layer.crs).polygons()
        expected, expected_ids = layer.polygons()
        a, b = (
            np.bincount(i, weights=shapely.area(g), minlength=256)
            for g, i in ((expected, expected_ids), (geometry, ids))
        )
        extent, found = shapely.total_bounds(expected), shapely.total_bounds(geometry)
        # GeoJSON has seven digits of a degree: a centimetre.
        slack = 1e-3 * np.ptp(extent)
        if not np.allclose(a, b, rtol=1e-3) or not np.allclose(
            extent, found, rtol=0, atol=slack, equal_nan=True
        ):
            yield Failure(name, "geometries", f"those of {first}", "others")
