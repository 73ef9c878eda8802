"""Checks of styles: titles and colours are those of the legend."""

import json
import sqlite3
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from xml.etree import ElementTree as ET

import rasterio
from rasterio.errors import RasterioError

from geoseg.core.errors import one_line
from geoseg.core.run_files import RunFile
from geoseg.runs.validate.findings import Failure
from geoseg.runs.validate.finished_folder import FinishedFolder
from geoseg.runs.validate.geopackage import FILE, open_readonly

ClassStyles = dict[int, tuple[str | None, str]]
"""Title (None in formats without names) and colour of each class id."""

_OPTIONAL = (FILE, RunFile.POLYGONS_QML, RunFile.POLYGONS_STYLE, RunFile.PROJECT)

_MOST_BYTES = 64_000_000
"""Bytes of an unpacked project: those of a run have less than a hundredth."""

_SLD = "{http://www.opengis.net/sld}"


def check_styles(run: FinishedFolder) -> Iterator[Failure]:
    """Check colour table, names, attribute table, QML, SLD and default style against the legend."""
    readers: list[tuple[str, str, Callable[[Path], ClassStyles]]] = [
        (RunFile.CLASSES, "colour table", _color_table),
        (RunFile.CLASSES_METADATA, "attribute table", _attribute_table),
        (RunFile.CLASSES_METADATA, "category names", _category_names),
        (RunFile.CLASSES_QML, "classes", _qml),
        (RunFile.CLASSES_SLD, "classes", _sld),
        (FILE, "default style", _layer_style),
        (RunFile.POLYGONS_QML, "classes", _polygon_qml),
        (RunFile.POLYGONS_STYLE, "classes", _web_style),
        (RunFile.PROJECT, "classes", _project),
    ]
    if run.map_name != RunFile.CLASSES:
        readers = []
    legend = {i: (c.title, c.color.lower()) for i, c in run.legend.by_id().items()}
    for name, what, read in readers:
        if name not in run.outputs and name in _OPTIONAL:
            continue
        try:
            styles = read(run.folder / name)
        except (
            OSError,
            RasterioError,
            ET.ParseError,
            sqlite3.Error,
            zipfile.BadZipFile,
            ValueError,
            TypeError,
            AttributeError,
            LookupError,
        ) as error:
            yield Failure(name, what, "readable", one_line(error))
            continue
        # A TIFF palette always has 256 colours.
        for number in sorted(legend.keys() if read is _color_table else legend.keys() | styles.keys()):
            title, color = legend.get(number, ("no class", "no colour"))
            found = styles.get(number, ("nothing", "nothing"))
            if found[1] not in {color, ""} or found[0] not in {title, None}:
                yield Failure(
                    name, f"{what}, class {number}", f"{title} {color}", " ".join(filter(None, found))
                )
    for name in (n for n in run.rasters if n != RunFile.CLASSES):
        style = Path(name).with_suffix(".qml").name
        if not (run.folder / style).exists():
            yield Failure(style, "file", "present", "missing")


def _color_table(path: Path) -> ClassStyles:
    with rasterio.open(path) as src:
        return {i: (None, _hex(rgba[:3])) for i, rgba in src.colormap(1).items()}


def _attribute_table(path: Path) -> ClassStyles:
    root = _parse(path)
    fields = [f.text for f in root.iterfind(".//GDALRasterAttributeTable/FieldDefn/Name")]
    rows = [dict(zip(fields, (f.text for f in r), strict=True)) for r in root.iterfind(".//Row")]
    return {
        int(row["Value"] or ""): (row["Class"], _hex([int(row[c] or "") for c in ("Red", "Green", "Blue")]))
        for row in rows
    }


def _category_names(path: Path) -> ClassStyles:
    names = [c.text for c in _parse(path).iterfind(".//CategoryNames/Category")]
    return {i: (name, "") for i, name in enumerate(names) if name}


def _qml(path: Path) -> ClassStyles:
    entries = _parse(path).iterfind("pipe/rasterrenderer/colorPalette/paletteEntry")
    return {int(e.attrib["value"]): (e.get("label"), e.attrib["color"].lower()) for e in entries}


def _project(path: Path) -> ClassStyles:
    with zipfile.ZipFile(path) as archive:
        member = archive.getinfo(f"{path.stem}.qgs")
        if member.file_size > _MOST_BYTES:
            raise ValueError(f"{member.file_size} bytes are no project of a run")
        root = ET.fromstring(archive.read(member))  # noqa: S314 (Expat stops at entity bombs)
    layers = root.iterfind("projectlayers/maplayer")
    maps = [m for m in layers if m.findtext("datasource") == f"./{RunFile.CLASSES}"]
    return {
        int(e.attrib["value"]): (e.get("label"), e.attrib["color"].lower())
        for m in maps
        for e in m.iterfind("pipe/rasterrenderer/colorPalette/paletteEntry")
    }


def _sld(path: Path) -> ClassStyles:
    entries = _parse(path).iter(f"{_SLD}ColorMapEntry")
    return {int(e.attrib["quantity"]): (e.get("label"), e.attrib["color"].lower()) for e in entries}


def _layer_style(path: Path) -> ClassStyles:
    chosen = (
        "SELECT s.styleQML FROM layer_styles s JOIN gpkg_geometry_columns g"
        " ON g.table_name = s.f_table_name AND g.column_name = s.f_geometry_column WHERE s.useAsDefault"
    )
    with open_readonly(path) as db:
        rows = db.execute(chosen).fetchall()
    if len(rows) != 1:
        raise ValueError(f"{len(rows)} default styles for the layer")
    return _categories(ET.fromstring(rows[0][0]))  # noqa: S314 (Expat stops at entity bombs)


def _polygon_qml(path: Path) -> ClassStyles:
    return _categories(_parse(path))


def _web_style(path: Path) -> ClassStyles:
    layers = json.loads(path.read_bytes())["layers"]
    fills = [(layer["filter"][2], layer) for layer in layers if layer["type"] == "fill"]
    return {i: (f["id"].removeprefix(f"{i} "), f["paint"]["fill-color"].lower()) for i, f in fills}


def _categories(root: ET.Element) -> ClassStyles:
    """Read the categories of a polygon style of QGIS."""
    renderer = root.find("renderer-v2")
    if renderer is None or renderer.get("type") != "categorizedSymbol":
        raise ValueError("its style has no classes")
    colors = {
        symbol.get("name"): _hex([int(v) for v in option.attrib["value"].split(",")[:3]])
        for symbol in renderer.iterfind("symbols/symbol")
        for option in symbol.iterfind("layer/Option/Option[@name='color']")
    }
    return {
        int(c.attrib["value"]): (c.get("label"), colors[c.get("symbol")])
        for c in renderer.iterfind("categories/category")
    }


def _parse(path: Path) -> ET.Element:
    return ET.parse(path).getroot()  # noqa: S314 (Expat resolves no external entities, stops at entity bombs)


def _hex(rgb: tuple[int, ...] | list[int]) -> str:
    return "#{:02x}{:02x}{:02x}".format(*rgb)
