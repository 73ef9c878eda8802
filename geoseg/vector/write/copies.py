"""Polygons in other formats than the GeoPackage that they are made in."""

import contextlib
from functools import partial
from pathlib import Path

from odc.geo.crs import CRS
from odc.geo.geobox import GeoBox

from geoseg.core.errors import ConfigError
from geoseg.vector.write.antimeridian import WGS84, web_cut
from geoseg.vector.write.geodesy import divided, longest_edge
from geoseg.vector.write.geopackage import copy_features, finest_zoom

_GEOGRAPHIC = {"GeoJSON", "PMTiles"}
"""Drivers whose coordinates are always degrees, or those of web tiles."""


def copy_to(
    package: Path, path: Path, driver: str, geobox: GeoBox, chosen: CRS | None, layer: str, kind: str
) -> None:
    """Write the features of a GeoPackage in another format, fit for where its coordinates are degrees.

    Parameters
    ----------
    package, path
        The GeoPackage, and the file to make.
    driver
        GDAL driver of the format.
    geobox
        The grid of the map.
    chosen
        CRS of the features; None for that of the map.
    layer
        Name of the layer.
    kind
        `Polygon` or `MultiPolygon`.

    Raises
    ------
    OutputError
        When the file cannot be written.
    """
    crs, change, zoom = geobox.crs if chosen is None else chosen, None, None
    if driver == "PMTiles":
        zoom, change = finest_zoom(geobox), web_cut(geobox, chosen)
    elif driver == "GeoJSON":
        # Of a map around a pole GDAL cuts the features.
        with contextlib.suppress(ConfigError):
            change = web_cut(geobox, chosen)
    if change is not None:
        crs, kind = WGS84, "MultiPolygon"
    elif driver in _GEOGRAPHIC and chosen is None and crs is not None and not crs.geographic:
        change = partial(divided, longest=longest_edge(geobox))  # before GDAL makes them degrees
    copy_features(
        package, path, crs, layer=layer, driver=driver, geometry_type=kind, zoom=zoom, change=change
    )
