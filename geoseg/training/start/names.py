"""Names and colours of classes: from tables beside labels, or lists in a folder."""

import csv
import json
import re
import xml.etree.ElementTree as ET
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import yaml

from geoseg.config.yaml_text import parse_yaml
from geoseg.core.text import printable

_NAME = (
    "name",
    "class_name",
    "class",
    "classname",
    "title",
    "label",
    "category",
    "land_cover",
    "description",
)
_CODE = ("code", "id", "value", "class_id", "index", "pixel_value", "pixel", "number", "gray", "grey")
_ABOUT = re.compile(r"class|label|legend|code|categor|palette|color|colour|rat\b", re.IGNORECASE)
_LARGEST = 200_000
"""Bytes of a list of classes."""
_UNREADABLE = (
    OSError, ValueError, csv.Error, yaml.YAMLError, LookupError, TypeError, AttributeError, RecursionError,
)  # fmt: skip
"""What reading a file raises that is no list of classes."""
_VOID = re.compile(
    r"(?i)^(void|un-?label+ed|un-?classified|ignored?|no[ _-]?data|unknown|border|clutter/?void)$"
)


@dataclass(frozen=True)
class ClassName:
    """What is known of a class: its code or its colour in labels, or both, and its name."""

    code: int | None = None
    title: str = ""
    color: str = ""
    """`#rrggbb`, or empty."""

    @property
    def void(self) -> bool:
        """Whether its pixels are those that no class was given to."""
        return _VOID.match(self.title.strip()) is not None


@dataclass(frozen=True)
class NameList:
    """Classes as one file lists them."""

    source: str
    """Name of the file."""
    classes: tuple[ClassName, ...]

    def of_codes(self) -> dict[int, ClassName]:
        """Return the classes by code."""
        return {c.code: c for c in self.classes if c.code is not None}

    def of_colors(self) -> dict[str, ClassName]:
        """Return the classes by colour."""
        return {c.color.lower(): c for c in self.classes if c.color}


def lists_beside(label: Path, palette: Mapping[int, str]) -> Iterator[NameList]:
    """Yield what the files beside a label raster say of its codes, and the colours of its palette.

    Parameters
    ----------
    label
        The raster; `label.tif.aux.xml` may hold a raster attribute table or category names (GDAL), and
        `label.qml` a style of QGIS.
    palette
        Colour of each code in the raster's colour table.
    """
    for file, read in ((label.with_name(f"{label.name}.aux.xml"), _pam), (label.with_suffix(".qml"), _qml)):
        if (root := _xml(file)) is not None and (found := tuple(read(root))):
            yield NameList(file.name, found)
    if palette:
        yield NameList(label.name, tuple(ClassName(code, "", color) for code, color in palette.items()))


def lists_in(folder: Path, places: Iterable[Path] = ()) -> Iterator[NameList]:
    """Yield the lists of classes in folders: CSV, JSON, YAML or text; what cannot be read is skipped."""
    files = [f for p in dict.fromkeys((folder, *places)) for f in sorted(p.glob("*")) if _may_be_list(f)]
    for file in files:
        try:
            found = tuple(_listed(file))
        except _UNREADABLE:
            continue
        if found:
            yield NameList(file.name, tuple(_cleaned(c) for c in found))


def _may_be_list(file: Path) -> bool:
    if file.suffix.lower() not in {".csv", ".tsv", ".json", ".yaml", ".yml", ".txt"}:
        return False
    return bool(_ABOUT.search(file.stem)) and file.is_file() and file.stat().st_size <= _LARGEST


def _cleaned(one: ClassName) -> ClassName:
    return replace(one, title=printable(" ".join(one.title.split()))[:100])


def _xml(file: Path) -> ET.Element | None:
    try:
        text = file.read_bytes()
        # Entities could make a small file huge; none of these formats has a document type of its own.
        return None if len(text) > 20 * _LARGEST or b"<!ENTITY" in text else ET.fromstring(text)  # noqa: S314
    except (OSError, ET.ParseError):
        return None


def _pam(root: ET.Element) -> Iterator[ClassName]:
    """Yield the rows of GDAL's raster attribute table, else its category names."""
    table = root.find(".//GDALRasterAttributeTable")
    if table is not None:
        usage = [int(f.findtext("Usage") or 0) for f in table.iter("FieldDefn")]
        titles = [(f.findtext("Name") or "").lower() for f in table.iter("FieldDefn")]
        # Usages of GDAL: 2 is the name, 5 the value, 6 to 8 red, green and blue.
        code = next((i for i, u in enumerate(usage) if u == 5), _index(titles, _CODE))
        name = next((i for i, u in enumerate(usage) if u == 2), _index(titles, _NAME))
        rgb = [next((i for i, u in enumerate(usage) if u == k), None) for k in (6, 7, 8)]
        if code is None:
            return
        for row in table.iter("Row"):
            cells = [f.text or "" for f in row.iter("F")]
            title = cells[name] if name is not None else ""
            numbers = [int(float(cells[i])) for i in rgb if i is not None and cells[i]]
            yield _cleaned(ClassName(int(float(cells[code])), title, _hex(numbers)))
        return
    for code, one in enumerate(root.iterfind(".//CategoryNames/Category")):
        if one.text and one.text.strip():
            yield _cleaned(ClassName(code, one.text))


def _qml(root: ET.Element) -> Iterator[ClassName]:
    """Yield the entries of QGIS's renderer of rasters by unique values."""
    for entry in root.iter("paletteEntry"):
        value, color = entry.get("value", ""), entry.get("color", "")
        if re.fullmatch(r"-?\d+", value):
            yield _cleaned(ClassName(int(value), entry.get("label", ""), color if _is_color(color) else ""))


def _listed(file: Path) -> Iterator[ClassName]:
    text = file.read_text(encoding="utf-8-sig", errors="replace")
    if file.suffix.lower() in {".csv", ".tsv"}:
        yield from _table(text)
    elif file.suffix.lower() == ".txt":
        yield from _lines(text)
    else:
        yield from _tree(json.loads(text) if file.suffix.lower() == ".json" else parse_yaml(text)[1])


def _table(text: str) -> Iterator[ClassName]:
    rows = csv.DictReader(text.splitlines(), dialect=csv.Sniffer().sniff(text[:4000], ",;\t"))
    for row in rows:
        # Cells that a header has no name for come as a list.
        yield _entry({str(k).strip().lower(): v for k, v in row.items() if isinstance(v, str)})


def _tree(tree: Any) -> Iterator[ClassName]:
    if isinstance(tree, dict) and isinstance(
        inner := tree.get("classes", tree.get("categories")), list | dict
    ):
        tree = inner
    if isinstance(tree, list):
        for number, one in enumerate(tree):
            if isinstance(one, str):
                yield ClassName(number, one)
            else:
                entry = _entry({str(k).lower(): v for k, v in one.items()})
                codes = one.get("codes")
                for code in codes if isinstance(codes, list) else [entry.code]:
                    yield replace(entry, code=code)
        return
    yield from _mapped(tree)


def _mapped(tree: Mapping[Any, Any]) -> Iterator[ClassName]:
    """Yield the classes of code -> name or entry, or of name -> code or colour."""
    for key, value in tree.items():
        if re.fullmatch(r"-?\d+", str(key)) is not None:
            entry = _entry({str(k).lower(): v for k, v in value.items()}) if isinstance(value, dict) else None
            yield ClassName(int(key), str(value)) if entry is None else replace(entry, code=int(key))
        elif isinstance(value, list) and len(value) == 3:
            yield ClassName(None, str(key), _hex([int(v) for v in value]))
        elif isinstance(value, int):
            yield ClassName(value, str(key))


def _entry(row: Mapping[str, Any]) -> ClassName:
    """Return a class of a row whose columns are named in lower case."""
    keys = [k.replace(" ", "_") for k in row]
    values = list(row.values())
    name, code = _index(keys, ("title", *_NAME)), _index(keys, _CODE)
    color = _index(keys, ("color", "colour", "hex", "rgb"))
    rgb = [_index(keys, names) for names in (("r", "red"), ("g", "green"), ("b", "blue"))]
    shown = "" if color is None else values[color]
    if isinstance(shown, list) and len(shown) == 3:
        shown = _hex([int(v) for v in shown])
    if all(i is not None for i in rgb):
        shown = _hex([int(float(values[i])) for i in rgb if i is not None])
    number = None if code is None or str(values[code]).strip() == "" else int(float(values[code]))
    title = "" if name is None else str(values[name])
    return ClassName(number, title, shown if isinstance(shown, str) and _is_color(shown) else "")


def _lines(text: str) -> Iterator[ClassName]:
    """Yield the classes of lines: `name`, `3 name`, `3: name`, or `128 64 128 name`."""
    lines = [line.strip() for line in text.splitlines() if line.strip() and not line.strip().startswith("#")]
    for number, line in enumerate(lines):
        if found := re.fullmatch(r"(\d{1,3})[\s,]+(\d{1,3})[\s,]+(\d{1,3})[\s,]+(\S.*)", line):
            yield ClassName(None, found[4], _hex([int(found[i]) for i in (1, 2, 3)]))
        elif found := re.fullmatch(r"(-?\d+)\s*[\s:,;=]\s*(\S.*)", line):
            yield ClassName(int(found[1]), found[2].strip("\"'"))
        elif re.search(r"[^\W\d]", line):
            yield ClassName(number, line)


def _index(names: list[str], wanted: Iterable[str]) -> int | None:
    return next((names.index(w) for w in wanted if w in names), None)


def _hex(rgb: list[int]) -> str:
    return "#{:02x}{:02x}{:02x}".format(*rgb) if len(rgb) == 3 and all(0 <= v < 256 for v in rgb) else ""


def _is_color(text: str) -> bool:
    return re.fullmatch(r"#[0-9a-fA-F]{6}", text) is not None
