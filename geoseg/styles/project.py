"""A project of QGIS: the layers of a run in order, with names and styles, and what is shown first.

Tried in QGIS 3.22, see docs/qgis.md.
"""

import io
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal
from xml.etree import ElementTree as ET

from geoseg.core.files import write_atomic

_DOCTYPE = b"<!DOCTYPE qgis PUBLIC 'http://mrcc.com/qgis.dtd' 'SYSTEM'>\n"
_MARGIN = 0.03
"""Share of the extent that is left free around the map."""
_EPOCH = (1980, 1, 1, 0, 0, 0)
"""The first time that a zip can state: equal runs make equal files."""


@dataclass(frozen=True)
class Reference:
    """A coordinate reference system."""

    wkt: str
    """Well-known text; empty: none."""
    authority: str = ""
    """Its name there, like `EPSG:32618`; empty where it has none."""
    geographic: bool = False
    """Whether coordinates are degrees."""


@dataclass(frozen=True)
class Layer:
    """A layer of a project."""

    name: str
    source: str
    """Path relative to the project; of a layer in a file `./polygons.gpkg|layername=landcover`."""
    reference: Reference
    style: ET.Element
    """Its style, as QML."""
    kind: Literal["raster", "polygons"] = "raster"
    shown: bool = True


def write_project(
    path: Path,
    title: str,
    layers: Sequence[Layer],
    reference: Reference,
    extent: tuple[float, float, float, float],
) -> Path:
    """Write a project (`.qgz`); QGIS need not be installed.

    Parameters
    ----------
    path
        The file to make.
    title
        What the window is called.
    layers
        The layers, the topmost first.
    reference
        CRS of the map.
    extent
        What is shown first: west, south, east, north in that CRS.

    Raises
    ------
    OutputError
        When the file cannot be written.
    """
    root = project(title, layers, reference, extent)
    ET.indent(root)
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        member = zipfile.ZipInfo(f"{path.stem}.qgs", _EPOCH)
        member.compress_type, member.external_attr = zipfile.ZIP_DEFLATED, 0o644 << 16
        archive.writestr(member, _DOCTYPE + ET.tostring(root, encoding="utf-8"))
    write_atomic(path, packed.getvalue())
    return path


def project(
    title: str,
    layers: Sequence[Layer],
    reference: Reference,
    extent: tuple[float, float, float, float],
) -> ET.Element:
    """Describe a project; parameters as in `write_project`."""
    root = ET.Element("qgis", version="3.22.16-Białowieża", projectname=title)
    ET.SubElement(root, "title").text = title
    _reference(ET.SubElement(root, "projectCrs"), reference)
    tree = ET.SubElement(root, "layer-tree-group")
    for number, layer in enumerate(layers):
        ET.SubElement(
            tree, "layer-tree-layer", id=_id(number), name=layer.name, source=layer.source,
            providerKey=_provider(layer), checked="Qt::Checked" if layer.shown else "Qt::Unchecked",
            # The legend of what is hidden would push that of the map out of sight.
            expanded=str(int(layer.shown)),
        )  # fmt: skip
    canvas = ET.SubElement(root, "mapcanvas", name="theMapCanvas", annotationsVisible="1")
    ET.SubElement(canvas, "units").text = "degrees" if reference.geographic else "meters"
    west, south, east, north = extent
    x, y = _MARGIN * (east - west), _MARGIN * (north - south)
    sides = {"xmin": west - x, "ymin": south - y, "xmax": east + x, "ymax": north + y}
    _extent(ET.SubElement(canvas, "extent"), sides)
    ET.SubElement(canvas, "rotation").text = "0"
    _reference(ET.SubElement(canvas, "destinationsrs"), reference)
    described = ET.SubElement(root, "projectlayers")
    for number, layer in enumerate(layers):
        described.append(_layer(layer, number))
    properties = ET.SubElement(root, "properties")
    paths = ET.SubElement(properties, "Paths")
    ET.SubElement(paths, "Absolute", type="bool").text = "false"
    if reference.wkt:  # otherwise QGIS takes the CRS of the project for unset
        ET.SubElement(ET.SubElement(properties, "SpatialRefSys"), "ProjectionsEnabled", type="int").text = "1"
    view = ET.SubElement(root, "ProjectViewSettings", UseProjectScales="0")
    default = ET.SubElement(view, "DefaultViewExtent", {k: repr(float(v)) for k, v in sides.items()})
    _reference(default, reference)
    return root


def _layer(layer: Layer, number: int) -> ET.Element:
    """Describe a layer: what it shows, from where, and how."""
    polygons = layer.kind == "polygons"
    shape = {"geometry": "Polygon", "wkbType": "MultiPolygon"} if polygons else {}
    element = ET.Element(
        "maplayer", {"type": "vector" if polygons else "raster", "autoRefreshEnabled": "0", **shape}
    )
    ET.SubElement(element, "id").text = _id(number)
    ET.SubElement(element, "datasource").text = layer.source
    ET.SubElement(element, "layername").text = layer.name
    _reference(ET.SubElement(element, "srs"), layer.reference)
    provider = ET.SubElement(element, "provider")
    provider.text = _provider(layer)
    if polygons:
        provider.set("encoding", "UTF-8")
    element.extend(layer.style)
    return element


def _provider(layer: Layer) -> str:
    return "ogr" if layer.kind == "polygons" else "gdal"


def _id(number: int) -> str:
    # QGIS replaces ids of ten characters or less, and the tree of layers would name none.
    return f"geoseg_layer_{number:03}"


def _reference(element: ET.Element, reference: Reference) -> None:
    inside = ET.SubElement(element, "spatialrefsys", nativeFormat="Wkt")
    ET.SubElement(inside, "wkt").text = reference.wkt
    ET.SubElement(inside, "authid").text = reference.authority
    ET.SubElement(inside, "geographicflag").text = str(reference.geographic).lower()


def _extent(element: ET.Element, sides: dict[str, float]) -> None:
    for name, value in sides.items():
        ET.SubElement(element, name).text = repr(float(value))
