"""Outlines of what is not to be trusted, from a map of the reasons."""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa

from geoseg.core.doubt import DOUBT_LAYER, REASON, REASONS, TRUSTED
from geoseg.core.ordered import Workers
from geoseg.core.run_files import RunFile
from geoseg.styles.geopackage import add_style_and_provenance
from geoseg.styles.qml import hatched
from geoseg.vector.recipe import Recipe, Rules
from geoseg.vector.shape.mapping_unit import write_generalized
from geoseg.vector.trace.block import MapFiles
from geoseg.vector.trace.coverage import polygons
from geoseg.vector.trace.opened import OPEN_RASTERS
from geoseg.vector.write.antimeridian import longitude_to_cut_around
from geoseg.vector.write.features import features, schema
from geoseg.vector.write.geopackage import write_features


def doubt_columns(*, confidence: bool, strangeness: bool) -> dict[str, str]:
    """Return the columns of the outlines, and those of polygons that they are.

    Parameters
    ----------
    confidence, strangeness
        Which of the two is known of pixels.
    """
    columns = {REASON: "class_name", "area_m2": "area_m2"}
    columns |= {"mean_confidence": "mean_confidence"} if confidence else {}
    columns |= {"mean_strangeness": "mean_strangeness"} if strangeness else {}
    return columns


def write_outlines(
    files: MapFiles, recipe: Recipe, workers: Workers, folder: Path, *, provenance: Mapping[str, Any]
) -> Path:
    """Write the outlines of a map of reasons as `doubt.gpkg`; return its path.

    They are made as the polygons of the classes are: the same minimum mapping unit, simplified and smoothed
    alike, in the same CRS. What is too small joins what is around it, doubt or trust.

    Parameters
    ----------
    files
        The map of reasons, see `geoseg.core.doubt`, and the confidence and strangeness of its pixels.
    recipe
        How the polygons of the classes are made.
    workers
        The threads or processes that work on blocks.
    folder
        Folder of the file, and of temporary ones.
    provenance
        Where the outlines come from, plain JSON values for the GeoPackage's metadata.

    Raises
    ------
    OutputError
        When a file cannot be written.
    """
    path, generalized = folder / RunFile.DOUBT, folder / "generalized-doubt.tif"
    rules = Rules(
        REASONS, leave_out=frozenset([TRUSTED]), crs=recipe.rules.crs,
        with_strangeness=files.strangeness is not None,
    )  # fmt: skip
    try:
        if recipe.minimum_pixels > 1:
            write_generalized(files.classes, generalized, recipe.minimum_pixels, workers)
            files = replace(files, classes=generalized)
        geobox = files.geobox()
        cut = longitude_to_cut_around(geobox, rules.crs) is not None
        columns = doubt_columns(
            confidence=files.confidence is not None, strangeness=files.strangeness is not None
        )
        named = schema(rules)
        fields = [named.field(old).with_name(new) for new, old in {**columns, "geom": "geom"}.items()]
        wanted = pa.schema(fields)
        parts = polygons(files, workers, how=recipe.how, folder=folder)
        batches = _chosen(features(parts, geobox, rules), [*columns.values(), "geom"], wanted)
        write_features(
            path, wanted, batches, geobox.crs if rules.crs is None else rules.crs, layer=DOUBT_LAYER,
            geometry_type="MultiPolygon" if cut else "Polygon",
        )  # fmt: skip
    finally:
        OPEN_RASTERS.close()
        generalized.unlink(missing_ok=True)
    add_style_and_provenance(path, DOUBT_LAYER, REASONS, provenance, style=hatched(REASONS, REASON))
    return path


def _chosen(
    batches: Iterator[pa.RecordBatch], names: list[str], wanted: pa.Schema
) -> Iterator[pa.RecordBatch]:
    """Yield some columns of batches under other names."""
    for batch in batches:
        yield pa.record_batch([batch.column(name) for name in names], schema=wanted)
