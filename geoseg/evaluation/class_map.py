"""Class maps: rasters of class ids, read as channel numbers."""

import re
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from xml.etree import ElementTree as ET

import numpy as np
from numpy.typing import NDArray

from geoseg.core.errors import BundleError, ConfigError, SceneError
from geoseg.core.geometry import Window
from geoseg.core.legend import IGNORE, NODATA, Legend, LegendClass
from geoseg.core.parsing import parse_json, read_bytes
from geoseg.core.run_files import RunFile
from geoseg.models.bundle import CARD, find_bundle
from geoseg.models.card import read_card
from geoseg.scenes import sources
from geoseg.scenes.sources import SourceFile

_LISTED = 8
"""Most values that a message lists."""
_RGB = ("Red", "Green", "Blue")
_GREY = "#808080"
"""Colour of classes without a colour."""


@dataclass(frozen=True)
class ClassMap:
    """A raster of class ids and its legend."""

    source: SourceFile
    legend: Legend

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width in pixels."""
        return self.source.geobox.shape.y, self.source.geobox.shape.x

    @cached_property
    def _channel(self) -> NDArray[np.int16]:
        """Channel of each pixel value, shape (256,): 255 for 255, -1 for values that are no class."""
        table = np.full(256, -1, dtype=np.int16)
        table[NODATA] = IGNORE
        table[self.legend.ids] = np.arange(len(self.legend))
        return table

    def read(self, window: Window) -> NDArray[np.uint8]:
        """Read a window, which may lie beyond the map, as channel numbers; 255 where there is no class.

        Raises
        ------
        SceneError
            When the file cannot be read or holds values that its legend does not name.
        """
        found = np.full(window.shape, IGNORE, dtype=np.uint8)
        inside = window.clip(self.shape)
        if not inside:
            return found
        planes, valid = sources.read(self.source, (1,), inside)
        values = planes[0].astype(np.promote_types(planes.dtype, np.uint8), copy=False)  # int8 lacks 255
        channels = np.where((values >= 0) & (values <= 255), self._channel[values & 255], -1)
        if self.source.nodata[0] is not None:
            channels[values == self.source.nodata[0]] = IGNORE
        if valid is not None:
            channels[~valid] = IGNORE
        unknown = np.unique(values[channels < 0])
        if unknown.size:
            listed = ", ".join(map(str, unknown[:_LISTED].tolist()))
            listed += ", ..." if unknown.size > _LISTED else ""
            ids = ", ".join(f"{c.id} {c.slug}" for c in self.legend.by_id().values())
            raise SceneError(
                f"{self.source.path}: holds {listed}, no class of its legend ({ids}); is it a class map? "
                "Give its classes with --legend"
            )
        found[inside.relative_to(window)] = channels
        return found


def open_class_map(path: Path, legend: Legend | None = None) -> ClassMap:
    """Open a class map, with the given legend or its own.

    Its own legend is that of the bundle named in `run.json` beside it, else the names and colours in its
    `.aux.xml`.

    Raises
    ------
    SceneError
        When the file is missing or is no class map.
    ConfigError
        When no legend is given and the map has none.
    """
    source = sources.inspect(str(path))
    bands = len(source.data_bands)
    if source.data_bands != (1,) or source.dtype(1).kind not in "iu":
        raise SceneError(
            f"{path}: is no class map: it holds {bands} band{'s' * (bands != 1)} of {source.dtypes[0]}, not "
            "one of class ids; a run writes it as classes.tif"
        )
    own = legend or _of_run(path) or _of_names(path.with_name(f"{path.name}.aux.xml"))
    if own is None:
        raise ConfigError(f"{path}: nothing beside it says what its classes are; give --legend NAME or FILE")
    return ClassMap(source, own)


def _of_run(path: Path) -> Legend | None:
    """Return the legend of the bundle that made a map; None when the run or the bundle is not there."""
    try:
        manifest = parse_json(read_bytes(path.parent / RunFile.RECORD))
        if path.name in manifest["outputs"]:
            model = manifest["pipeline"]["model"]
            # The map of an ensemble has the classes of its first network.
            return read_card(find_bundle(model if isinstance(model, str) else model[0]) / CARD).legend
    except (OSError, ValueError, KeyError, TypeError, BundleError):
        pass
    return None


def _of_names(path: Path) -> Legend | None:
    """Return the legend in GDAL's auxiliary file, from its attribute table or else its category names."""
    try:
        # Expat resolves no external entities and stops at entity bombs.
        root = ET.parse(path).getroot()  # noqa: S314
    except (OSError, ET.ParseError, LookupError, ValueError):  # the last two: encodings that Expat lacks
        return None
    rows = [[f.text or "" for f in row.findall("F")] for row in root.iterfind(".//Row")]
    fields = [f.text for f in root.iterfind(".//FieldDefn/Name")]
    try:
        if {"Value", "Class", *_RGB} <= set(fields):
            cells = [dict(zip(fields, row, strict=True)) for row in rows]
            colors = _colors([[cell[c] for c in _RGB] for cell in cells])
            ids = [int(cell["Value"] or NODATA) for cell in cells]
            classes = list(zip(ids, (cell["Class"] for cell in cells), colors, strict=True))
        else:
            names = [c.text or "" for c in root.iterfind(".//CategoryNames/Category")]
            classes = [(i, name, _GREY) for i, name in enumerate(names)]
        named = [LegendClass(i, _slug(n) or f"class-{i}", n, c) for i, n, c in classes if n and i < NODATA]
        return Legend(tuple(named)) if named else None
    except ValueError:
        return None


def _colors(rows: list[list[str]]) -> list[str]:
    """Return rows of red, green, blue (0 to 255, or all 0 to 1) as `#rrggbb`, grey where they are neither."""
    values = [[_number(cell) for cell in row] for row in rows]
    factor = 1 if any(v > 1 for row in values for v in row) else 255
    return [_color([v * factor for v in row]) for row in values]


def _color(rgb: list[float]) -> str:
    known = all(0 <= v <= 255 for v in rgb)  # NaN is not
    return "#{:02x}{:02x}{:02x}".format(*map(round, rgb)) if known else _GREY


def _number(cell: str) -> float:
    try:
        return float(cell or 0)
    except ValueError:
        return np.nan


def _slug(title: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", title.casefold()).strip("-")
