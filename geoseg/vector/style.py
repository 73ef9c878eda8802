"""One legend, in the formats that desktop GIS read beside a class raster."""

from pathlib import Path
from xml.etree import ElementTree as ET

from geoseg.core.files import write_atomic
from geoseg.core.legend import Legend


def write_raster_styles(raster: Path, legend: Legend) -> list[Path]:
    """Write `classes.tif.aux.xml` (GDAL: names and attribute table) and `classes.qml` (QGIS) beside a raster.

    QGIS shows a bare TIFF colour table as 256 nameless rows; with the QML it lists the classes by name.

    Raises
    ------
    OutputError
        When a file cannot be written.
    """
    files = {
        raster.with_name(f"{raster.name}.aux.xml"): _pam(legend),
        raster.with_suffix(".qml"): _qml(legend),
    }
    for path, root in files.items():
        ET.indent(root)
        write_atomic(path, ET.tostring(root, encoding="utf-8"))
    return list(files)


def _pam(legend: Legend) -> ET.Element:
    """Describe category names and a raster attribute table as GDAL's persistent auxiliary metadata."""
    classes = legend.by_id()
    root = ET.Element("PAMDataset")
    band = ET.SubElement(root, "PAMRasterBand", band="1")
    names = ET.SubElement(band, "CategoryNames")
    for value in range(max(classes) + 1):
        ET.SubElement(names, "Category").text = classes[value].title if value in classes else ""
    table = ET.SubElement(band, "GDALRasterAttributeTable", tableType="thematic")
    # Type: 0 integer, 2 text. Usage: 5 value (MinMax), 2 name, 6 to 9 red, green, blue, alpha.
    fields = [
        ("Value", 0, 5), ("Class", 2, 2), ("Red", 0, 6), ("Green", 0, 7), ("Blue", 0, 8), ("Alpha", 0, 9),
    ]  # fmt: skip
    for index, (name, kind, usage) in enumerate(fields):
        field = ET.SubElement(table, "FieldDefn", index=str(index))
        for key, text in (("Name", name), ("Type", str(kind)), ("Usage", str(usage))):
            ET.SubElement(field, key).text = text
    for index, (value, c) in enumerate(classes.items()):
        row = ET.SubElement(table, "Row", index=str(index))
        for cell in (value, c.title, *c.rgb, 255):
            ET.SubElement(row, "F").text = str(cell)
    return root


def _qml(legend: Legend) -> ET.Element:
    """Describe the raster layer style of QGIS: a paletted renderer with one named entry for each class."""
    root = ET.Element("qgis", version="3.22", styleCategories="Symbology")
    pipe = ET.SubElement(root, "pipe")
    renderer = ET.SubElement(
        pipe, "rasterrenderer", type="paletted", band="1", opacity="1", alphaBand="-1", nodataColor=""
    )
    palette = ET.SubElement(renderer, "colorPalette")
    for value, c in legend.by_id().items():
        ET.SubElement(palette, "paletteEntry", value=str(value), color=c.color, label=c.title, alpha="255")
    return root
