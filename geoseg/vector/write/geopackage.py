"""Write features to a GeoPackage (OGC 12-128), and from it to the other formats of GDAL."""

import contextlib
import math
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyogrio
import shapely
from numpy.typing import NDArray
from odc.geo.crs import CRS
from odc.geo.geobox import GeoBox
from pyogrio.errors import DataLayerError, DataSourceError, FeatureError, GeometryError
from rasterio.warp import transform_bounds

from geoseg.core.files import as_output_error, give_usual_mode, unusable_place
from geoseg.core.notices import ignore_warnings
from geoseg.core.paths import plain_path

GEOMETRY = "geom"
"""Name of the geometry column."""

_OPTIONS: dict[str, dict[str, Any]] = {
    "GPKG": {
        "dataset_options": {"VERSION": "1.3"},
        "layer_options": {"SPATIAL_INDEX": "YES", "GEOMETRY_NAME": GEOMETRY, "FID": "id"},
    },
    "FlatGeobuf": {"layer_options": {"SPATIAL_INDEX": "YES"}},
    # RFC 7946: longitude and latitude, shells counterclockwise.
    "GeoJSON": {"layer_options": {"RFC7946": "YES", "WRITE_BBOX": "YES"}},
    # Vector tiles in Web Mercator; GDAL cuts and thins the polygons for each zoom level.
    "PMTiles": {},
}
_GEOJSON_WITHOUT_CRS: dict[str, Any] = {"layer_options": {"WRITE_BBOX": "YES"}}
"""Options of GeoJSON when the features have no CRS, and so no longitude and latitude."""

_INDEX_MEMORY, _INDEX_BYTES = "OGR_GPKG_MAX_RAM_USAGE_RTREE", "100000000"
"""GDAL's default is a share of the machine's memory."""
_CLOCK = "OGR_CURRENT_DATE"
_one_at_a_time = threading.RLock()
"""Held while the option is set, which is one for the whole process."""

_MERCATOR_PIXEL = 2 * math.pi * 6378137 / 256
"""Metres of Web Mercator in a pixel of zoom level 0."""


def finest_zoom(geobox: GeoBox) -> int:
    """Return the zoom level of Web Mercator whose tiles of 256 px show four pixels of a map as one.

    Vector tiles have 16 steps in such a pixel, so nothing that a map pixel shows is lost.
    """
    left, _, right, _ = transform_bounds(geobox.crs.proj, "EPSG:3857", *geobox.boundingbox)
    if right - left > _MERCATOR_PIXEL * 128:
        # Perhaps the two ends of the world, of a map across the antimeridian: its middle column tells, too.
        middle = geobox[:, geobox.shape.x // 2 : geobox.shape.x // 2 + 1].boundingbox
        degrees = transform_bounds(geobox.crs.proj, "EPSG:4326", *middle)
        pixel = (degrees[2] - degrees[0]) % 360 * _MERCATOR_PIXEL * 256 / 360
    else:
        pixel = (right - left) / geobox.shape.x
    return max(0, math.ceil(math.log2(_MERCATOR_PIXEL / pixel)) - 2)


def write_features(
    path: Path,
    schema: pa.Schema,
    batches: Iterator[pa.RecordBatch],
    crs: CRS | None,
    *,
    layer: str,
    driver: str = "GPKG",
    geometry_type: str = "Polygon",
    zoom: int | None = None,
) -> None:
    """Write features as they come, with a spatial index.

    Parameters
    ----------
    path
        The file to make.
    schema, batches
        The features; the column `geom` holds WKB.
    crs
        CRS of the coordinates.
    layer
        Name of the layer.
    driver
        GDAL driver: `GPKG`, `FlatGeobuf`, `GeoJSON` or `PMTiles`.
    geometry_type
        `Polygon` or `MultiPolygon`.
    zoom
        Finest zoom level of vector tiles.

    Raises
    ------
    OutputError
        When the file cannot be written.
    """
    with as_output_error(path):
        path.unlink(missing_ok=True)
    options = _OPTIONS[driver] if crs is not None or driver != "GeoJSON" else _GEOJSON_WITHOUT_CRS
    raised: list[BaseException] = []
    if zoom is not None:
        options = {"dataset_options": {"MINZOOM": "0", "MAXZOOM": str(zoom)}}
    reader = pa.RecordBatchReader.from_batches(schema, _keeping_errors(batches, raised))
    try:
        # pyogrio warns of a map without a CRS.
        with ignore_warnings(), without_clock(), plain_path(path) as plain:
            pyogrio.write_arrow(
                reader, plain, layer=layer, driver=driver, geometry_name=GEOMETRY,
                geometry_type=geometry_type, crs=None if crs is None else crs.proj.to_wkt(), **options,
            )  # fmt: skip
        give_usual_mode(path)
    except (DataLayerError, DataSourceError, FeatureError, GeometryError, OSError, RuntimeError) as error:
        path.unlink(missing_ok=True)
        if raised:
            # GDAL only reports that the stream broke.
            raise raised[0] from None
        raise unusable_place(path, error) from error


def _keeping_errors(
    batches: Iterator[pa.RecordBatch], raised: list[BaseException]
) -> Iterator[pa.RecordBatch]:
    """Yield the batches; append the error that ends them to `raised`."""
    try:
        yield from batches
    except BaseException as error:
        raised.append(error)
        raise


def copy_features(
    source: Path,
    path: Path,
    crs: CRS | None,
    *,
    layer: str,
    driver: str,
    geometry_type: str,
    zoom: int | None = None,
    change: Callable[[NDArray[np.object_]], NDArray[np.object_]] | None = None,
) -> None:
    """Write the features of a GeoPackage in another format, with changed geometries; see `write_features`."""
    with read_features(source) as reader:
        batches = iter(reader) if change is None else (_changed(b, change) for b in reader)
        write_features(
            path, reader.schema, batches, crs, layer=layer, driver=driver, geometry_type=geometry_type,
            zoom=zoom,
        )  # fmt: skip


def _changed(
    batch: pa.RecordBatch, change: Callable[[NDArray[np.object_]], NDArray[np.object_]]
) -> pa.RecordBatch:
    """Return a batch with changed geometries."""
    place = batch.schema.get_field_index(GEOMETRY)
    wkb = shapely.to_wkb(change(shapely.from_wkb(batch.column(place).to_numpy(zero_copy_only=False))))
    field = batch.schema.field(place)
    return batch.set_column(place, field, pa.array(wkb, field.type))


@contextlib.contextmanager
def without_clock() -> Iterator[None]:
    """Let GDAL write one date into GeoPackages, and build their index in memory that the plan announces.

    So equal content gives equal files, on machines with any clock and any memory.

    When a file was made is known from `run.json`, and from the file system.
    """
    with _one_at_a_time:
        ours = {_CLOCK: "1970-01-01T00:00:00.000Z", _INDEX_MEMORY: _INDEX_BYTES}
        before = {name: pyogrio.get_gdal_config_option(name) for name in ours}
        pyogrio.set_gdal_config_options(ours)
        try:
            yield
        finally:
            pyogrio.set_gdal_config_options(before)


@contextlib.contextmanager
def read_features(path: Path) -> Iterator[pa.RecordBatchReader]:
    """Open the features of a GeoPackage as a stream of batches: its columns, `id`, and `geom` as WKB."""
    options: dict[str, Any] = {"use_pyarrow": True, "batch_size": 20_000, "return_fids": True}
    with plain_path(path) as plain, pyogrio.open_arrow(plain, **options) as (_, reader):
        yield reader
