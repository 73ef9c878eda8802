"""The files of a run for its page: what each is for, what opens it, how large it is."""

from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import quote

from geoseg.config.run_record import OutputFile
from geoseg.core.run_files import RunFile
from geoseg.report.run_facts import megabytes

LAST = (RunFile.PAGE, RunFile.PROFILE)
"""Files that are finished after the page, which therefore cannot state their checksums."""

_GIS, _TABLES = "QGIS, ArcGIS, GDAL, rasterio", "QGIS, GeoPandas, R sf"
_KNOWN: dict[str, tuple[str, str]] = {
    RunFile.CLASSES: ("class map", _GIS),
    RunFile.CONFIDENCE: ("confidence of each pixel, 0 to 1", _GIS),
    RunFile.STRANGENESS: ("distance from the training pixels", _GIS),
    RunFile.DISAGREEMENT: ("by how much the networks disagree, 0 to 1", _GIS),
    RunFile.PROBABILITIES: ("probability of each class, a band each", _GIS),
    RunFile.OBSERVATIONS: ("clear observations of each pixel", _GIS),
    RunFile.INSTANCES: ("number of the object of each pixel", _GIS),
    RunFile.VALUES: ("map of numbers", _GIS),
    RunFile.LABELS: ("labels, a band each", _GIS),
    RunFile.COCO: ("objects as COCO results", "pycocotools, FiftyOne"),
    RunFile.GEOPACKAGE: ("polygons with their style", f"{_TABLES}, ArcGIS"),
    RunFile.GEOPARQUET: ("polygons", "GeoPandas, DuckDB, QGIS"),
    RunFile.FLATGEOBUF: ("polygons", _TABLES),
    RunFile.GEOJSON: ("polygons in longitude and latitude", "any web map, QGIS, GeoPandas"),
    RunFile.PMTILES: ("polygons as vector tiles", "MapLibre, QGIS"),
    RunFile.DOUBT: ("outlines of what not to trust, with the reason", f"{_TABLES}, ArcGIS"),
    RunFile.POLYGONS_STYLE: ("style of the vector tiles", "MapLibre"),
    RunFile.MASK: ("classes as a mask of the size of the picture", "any viewer, Pillow"),
    RunFile.OVERLAY_PNG: ("picture with the map over it", "any viewer"),
    RunFile.OVERLAY_JPG: ("picture with the map over it", "any viewer"),
    RunFile.PROJECT: ("QGIS project: scene, map and polygons in their styles", "QGIS"),
    RunFile.SCENE_VRT: ("bands of the scene joined for the project", "QGIS, GDAL"),
    RunFile.QUICKLOOK: ("picture of scene and map", "any viewer"),
    RunFile.ITEM: ("STAC item: what, where, when", "pystac, STAC Browser"),
    RunFile.RECORD: ("record: settings, hashes, versions, areas, timings", "any editor, jq"),
    RunFile.CLASSES_METADATA: ("class names for GDAL, found by itself", "beside the class map"),
}
_BY_SUFFIX = {
    ".qml": ("style for QGIS, found by itself", "QGIS"),
    ".sld": ("style for servers", "GeoServer, MapServer, QGIS"),
    ".tif": ("raster", _GIS),
    ".png": ("picture", "any viewer"),
    ".jpg": ("picture", "any viewer"),
    ".json": ("document", "any editor"),
    ".parquet": ("table", "GeoPandas, DuckDB"),
    ".gpkg": ("vector layers", _TABLES),
}


@dataclass(frozen=True)
class FileRow:
    """A file of the run folder."""

    name: str
    href: str
    """Reference relative to the page."""
    purpose: str
    opens: str
    """What it is opened with."""
    size: str
    """Empty of a file that is written after the page."""
    sha256: str
    """As `size`."""


def file_rows(outputs: Mapping[str, OutputFile]) -> list[FileRow]:
    """Return the files of a run: maps and polygons first, styles last, and its record."""
    listed = {name: file for name, file in outputs.items() if name not in LAST}
    found = [_row(name, megabytes(f.bytes), f.sha256) for name, f in listed.items()]
    return sorted([*found, _row(RunFile.RECORD, "", "")], key=lambda row: _rank(row.name))


def _row(name: str, size: str, sha256: str) -> FileRow:
    suffix = "." + name.rpartition(".")[2]
    purpose, opens = _KNOWN.get(name) or _BY_SUFFIX.get(suffix, ("file of the run", "–"))
    return FileRow(str(name), quote(str(name)), purpose, opens, size, sha256)


def _rank(name: str) -> int:
    order = ((".qgz", ".tif"), (".gpkg", ".parquet", ".fgb", ".geojson", ".pmtiles"), (".png", ".jpg"))
    if name in {RunFile.ITEM, RunFile.RECORD, RunFile.COCO}:
        return len(order)
    return next((i for i, ends in enumerate(order) if name.endswith(ends)), len(order) + 1)
