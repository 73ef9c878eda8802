"""The style files that lie beside polygons: for QGIS, and for maps on the web."""

import json
from pathlib import Path
from xml.etree import ElementTree as ET

from geoseg.core.files import write_atomic
from geoseg.core.legend import Legend
from geoseg.styles.maplibre import polygon_style
from geoseg.styles.qml import categorised

CLASS_ID = "class_id"
"""Column of the polygons with the class id, by which they are styled."""


def write_polygon_style(path: Path, legend: Legend) -> Path:
    """Write the QML that QGIS reads beside polygons of any format whose file has the same stem.

    Raises
    ------
    OutputError
        When the file cannot be written.
    """
    root = categorised(legend, CLASS_ID)
    ET.indent(root)
    write_atomic(path, ET.tostring(root, encoding="utf-8"))
    return path


def write_web_style(
    path: Path,
    tiles: str,
    layer: str,
    legend: Legend,
    *,
    center: tuple[float, float],
    zoom: float,
    attribution: str,
) -> Path:
    """Write the MapLibre style of vector tiles; parameters as in `geoseg.styles.maplibre.polygon_style`.

    Raises
    ------
    OutputError
        When the file cannot be written.
    """
    style = polygon_style(tiles, layer, legend, CLASS_ID, center=center, zoom=zoom, attribution=attribution)
    write_atomic(path, json.dumps(style, indent=2, ensure_ascii=False).encode() + b"\n")
    return path
