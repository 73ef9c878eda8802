"""The style files that desktop GIS reads beside the rasters of a run."""

import colorsys
from collections.abc import Iterator, Mapping
from pathlib import Path
from xml.etree import ElementTree as ET

from geoseg.core.files import write_atomic
from geoseg.core.legend import Legend
from geoseg.styles.qml import flagged, paletted, ramp
from geoseg.styles.sld import raster_sld

# Viridis: perceptually uniform, also for colour-blind readers and in grey.
_SHARES = ((0.0, "#440154"), (0.25, "#3b528b"), (0.5, "#21918c"), (0.75, "#5ec962"), (1.0, "#fde725"))

STRANGENESS = (
    (0.0, "#f7f7f7", "as the training pixels"), (0.75, "#fddbc7", "0.75"), (1.0, "#f4a582", "1: unlike them"),
    (1.5, "#d6604d", "1.5"), (2.54, "#67001f", "2.54 or more"),
)  # fmt: skip
"""Colours of the distance from the training pixels, from like to unlike."""

_MOST_STOPS = 1024
"""Most colours of a raster of object numbers."""


def write_raster_styles(raster: Path, legend: Legend) -> list[Path]:
    """Write the files that GDAL, QGIS and GeoServer read beside a class raster; return the paths.

    `classes.tif.aux.xml` holds names and attribute table for GDAL, `classes.qml` and `classes.sld` the style
    for QGIS and GeoServer. QGIS shows a bare TIFF colour table as 256 nameless rows; with the QML it lists
    the classes by name.

    Raises
    ------
    OutputError
        When a file cannot be written.
    """
    return _write(
        {
            raster.with_name(f"{raster.name}.aux.xml"): _pam(legend),
            raster.with_suffix(".qml"): paletted(legend),
            raster.with_suffix(".sld"): raster_sld(legend, raster.stem),
        }
    )


def write_share_style(raster: Path) -> list[Path]:
    """Write a QML beside a raster of shares from 0 to 1, of its first band; return the path.

    Without it QGIS stretches grey to the values of each map, so that two maps cannot be compared, and shows
    the first three bands of several as red, green and blue.

    Raises
    ------
    OutputError
        When the file cannot be written.
    """
    stops = ((value, color, f"{value:.0%}") for value, color in _SHARES)
    return _write({raster.with_suffix(".qml"): ramp(stops)})


def write_strangeness_style(raster: Path) -> list[Path]:
    """Write a QML beside a raster of distances from the training pixels; return the path.

    The colours are the same for all maps: pale up to 1, which 99 of 100 training pixels keep under, then red.

    Raises
    ------
    OutputError
        When the file cannot be written.
    """
    return _write({raster.with_suffix(".qml"): ramp(STRANGENESS)})


def write_count_style(raster: Path, most: int) -> list[Path]:
    """Write a QML beside a raster of counts, 0 where there is none; return the path.

    Parameters
    ----------
    raster
        The raster.
    most
        The highest count.

    Raises
    ------
    OutputError
        When the file cannot be written.
    """
    beyond = max(most, 2) - 1
    stops = ((1 + value * beyond, color, f"{1 + value * beyond:g}") for value, color in _SHARES)
    return _write({raster.with_suffix(".qml"): ramp(stops)})


def write_value_style(raster: Path, low: float, high: float) -> list[Path]:
    """Write a QML beside a raster of numbers; return the path.

    The ramp spans the range of the network and not that of one map, so that two maps can be compared.

    Parameters
    ----------
    raster
        The raster.
    low, high
        Values of both ends of the ramp.

    Raises
    ------
    OutputError
        When the file cannot be written.
    """
    values = [(low + share * (high - low), color) for share, color in _SHARES]
    return _write({raster.with_suffix(".qml"): ramp((v, color, f"{v:.6g}") for v, color in values)})


def write_label_style(raster: Path, color: str) -> list[Path]:
    """Write a QML beside a raster of labels, 1 where a pixel has one, of its first band; return the path.

    Parameters
    ----------
    raster
        The raster.
    color
        Colour of the first label, `#rrggbb`.

    Raises
    ------
    OutputError
        When the file cannot be written.
    """
    return _write({raster.with_suffix(".qml"): flagged(color)})


def write_object_style(raster: Path, objects: int) -> list[Path]:
    """Write a QML beside a raster of object numbers, 0 where there is none; return the path.

    Consecutive numbers, which neighbours often have, get colours far from each other. Beyond `_MOST_STOPS`
    objects, colours in between are interpolated.

    Parameters
    ----------
    raster
        The raster.
    objects
        The highest number.

    Raises
    ------
    OutputError
        When the file cannot be written.
    """
    return _write({raster.with_suffix(".qml"): ramp(_object_stops(max(objects, 1)))})


def _object_stops(objects: int) -> Iterator[tuple[float, str, str]]:
    count = min(objects, _MOST_STOPS)
    for place in range(count):
        number = 1 + place * (objects - 1) // max(count - 1, 1)
        # Hues in steps of the golden section never come close to those before them.
        hue, light = place * 0.618034 % 1, (0.45, 0.65)[place % 2]
        rgb = colorsys.hls_to_rgb(hue, light, 0.7)
        yield float(number), "#{:02x}{:02x}{:02x}".format(*(round(255 * v) for v in rgb)), str(number)


def _write(files: Mapping[Path, ET.Element]) -> list[Path]:
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
