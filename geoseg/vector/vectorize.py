"""From a class map on disk to polygons on disk."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, Literal

from odc.geo.geobox import GeoBox

from geoseg.core import apart
from geoseg.core.ordered import Workers
from geoseg.core.run_files import RunFile
from geoseg.styles.geopackage import add_style_and_provenance
from geoseg.vector.objects.outline import mask_polygons
from geoseg.vector.objects.paint import Found, Numbered
from geoseg.vector.recipe import Generalize, Objects, Recipe
from geoseg.vector.shape.guard import write_obstacles
from geoseg.vector.shape.mapping_unit import write_generalized
from geoseg.vector.shape.orthogonal import orthogonal_outlines
from geoseg.vector.shape.outlines import NO_OUTLINES, Outlines
from geoseg.vector.trace.block import MapFiles
from geoseg.vector.trace.coverage import polygons
from geoseg.vector.trace.opened import OPEN_RASTERS
from geoseg.vector.write.antimeridian import longitude_to_cut_around
from geoseg.vector.write.copies import copy_to
from geoseg.vector.write.features import features, schema
from geoseg.vector.write.geopackage import write_features
from geoseg.vector.write.parquet import write_parquet

Format = Literal["gpkg", "parquet", "fgb", "geojson", "pmtiles"]

OBJECTS = "objects.tif"
"""File of the numbers of objects, a tiled GeoTIFF in the folder where polygons are made."""

_OBSTACLES = "obstacles.bits"
_DRIVERS = {"fgb": "FlatGeobuf", "geojson": "GeoJSON", "pmtiles": "PMTiles"}


def vectorize(
    files: MapFiles,
    recipe: Recipe,
    workers: Workers,
    folder: Path,
    *,
    layer: str,
    formats: tuple[Format, ...],
    provenance: Mapping[str, Any],
    on_step: Callable[[str, float], None] = lambda *_: None,
    found: Found | None = None,
) -> list[Path]:
    """Write the polygons of a class map as `polygons.gpkg`, `.parquet`, `.fgb`, `.geojson` and `.pmtiles`.

    Memory holds neither the whole map nor all its polygons. When the recipe has objects, their numbers are
    left in the folder as `OBJECTS`.

    Parameters
    ----------
    files
        The map.
    recipe
        How the polygons are made.
    workers
        The threads or processes that work on blocks.
    folder
        Folder of the files, and of temporary ones.
    layer
        Name of the layer.
    formats
        Formats to write.
    provenance
        Where the polygons come from, plain JSON values for the GeoPackage's metadata.
    on_step
        Called with `polygons` and the share of the map that is traced, then with each further file that is
        begun, like `polygons.fgb`, and 0.
    found
        The objects that a network found; the map has their numbers.

    Returns
    -------
    list
        Paths of the files.

    Raises
    ------
    OutputError
        When a file cannot be written.
    """
    generalized = folder / "generalized.tif"
    try:
        if recipe.minimum_pixels > 1:
            write_generalized(files.classes, generalized, recipe.minimum_pixels, workers)
            files = replace(files, classes=generalized)
        if recipe.objects is not None:
            files = _with_objects(files, recipe.objects, folder / OBJECTS)
        if not formats:
            return []
        package = folder / RunFile.GEOPACKAGE
        geobox = files.geobox()
        cut = longitude_to_cut_around(geobox, recipe.rules.crs) is not None
        kind = "MultiPolygon" if recipe.rules.dissolve or cut or found is not None else "Polygon"
        crs = geobox.crs if recipe.rules.crs is None else recipe.rules.crs
        percent = round(100 * recipe.low_confidence)
        files, outlines = _with_outlines(files, recipe.rectangles, recipe.how.tolerance, workers, folder)
        numbered: Numbered | None
        if found is not None and recipe.rules.whole_masks:
            numbered = found.numbered.whole(found.objects)
            parts = mask_polygons(found.objects, numbered, recipe.how, files.shape())
        else:
            numbered = None if found is None else found.numbered
            parts = polygons(
                files,
                workers,
                how=recipe.how,
                threshold=percent,
                folder=folder,
                outlines=outlines,
                on_rows=partial(on_step, "polygons"),
            )
        batches = features(parts, geobox, recipe.rules, numbered)
        write_features(package, schema(recipe.rules), batches, crs, layer=layer, geometry_type=kind)
    finally:
        OPEN_RASTERS.close()
        generalized.unlink(missing_ok=True)
        (folder / _OBSTACLES).unlink(missing_ok=True)
    for name in formats:
        if name != "gpkg":
            path = folder / RunFile.polygons(name)
            on_step(path.name, 0.0)
            _copy(package, path, name, geobox, recipe, crs, layer, kind)
    if "gpkg" in formats:
        add_style_and_provenance(package, layer, recipe.rules.legend, provenance)
    else:
        package.unlink()
    return [folder / RunFile.polygons(name) for name in formats]


def _copy(
    package: Path, path: Path, name: Format, geobox: GeoBox, recipe: Recipe, crs: Any, layer: str, kind: str
) -> None:
    """Write the polygons of a GeoPackage in another format."""
    if name == "parquet":
        write_parquet(package, path, crs, kind)
        return
    arguments = package, path, _DRIVERS[name], geobox, recipe.rules.crs, layer, kind
    if name == "pmtiles":  # a call of a minute for a large scene, in which GDAL holds Python's lock
        apart.call_apart(copy_to, *arguments)
    else:
        copy_to(*arguments)


def _with_outlines(
    files: MapFiles, classes: frozenset[int], tolerance: float, workers: Workers, folder: Path
) -> tuple[MapFiles, Outlines]:
    """Make new outlines for objects of some classes; write the corners that keep other boundaries away."""
    if not classes:
        return files, NO_OUTLINES
    exact = polygons(files, workers, how=Generalize(), folder=folder)
    outlines = orthogonal_outlines(exact, files, classes, tolerance)
    path = folder / _OBSTACLES
    write_obstacles(path, (corner for one in outlines for corner in one.zone), files.shape())
    return replace(files, obstacles=path), Outlines.of(outlines)


def _with_objects(files: MapFiles, objects: Objects, path: Path) -> MapFiles:
    from geoseg.vector.shape.instances import write_instances  # noqa: PLC0415 (slow to import)

    classes = write_instances(
        files.classes, path, classes=objects.classes, method=objects.method, boundary=objects.boundary
    )
    return replace(files, objects=path, object_classes=classes)
