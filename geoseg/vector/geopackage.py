"""Write polygons to a GeoPackage (OGC 12-128)."""

import warnings
from pathlib import Path

import geopandas as gpd
from pyogrio.errors import DataLayerError, DataSourceError, FeatureError

from geoseg.core.errors import OutputError, one_line


def write_geopackage(path: Path, frame: gpd.GeoDataFrame, layer: str) -> None:
    """Write a layer with a spatial index.

    Raises
    ------
    OutputError
        When the file cannot be written.
    """
    try:
        path.unlink(missing_ok=True)
        with warnings.catch_warnings():
            # A scene without CRS gives polygons without CRS; the run has said so already.
            warnings.filterwarnings("ignore", message="'crs' was not provided")
            frame.to_file(
                path, layer=layer, driver="GPKG", engine="pyogrio", geometry_type="Polygon",
                VERSION="1.3", SPATIAL_INDEX="YES", GEOMETRY_NAME="geom", FID="id",
            )  # fmt: skip
    except (DataLayerError, DataSourceError, FeatureError, OSError) as error:
        raise OutputError(
            f"{path}: cannot be written: {one_line(error)}; make room and run the same command again, "
            "finished blocks are kept"
        ) from error
