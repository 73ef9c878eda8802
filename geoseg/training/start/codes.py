"""What labels hold: codes of classes with their pixels, colours of classes, or names in a column."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyogrio
from numpy.typing import NDArray
from pyogrio.errors import DataLayerError, DataSourceError

from geoseg.core.errors import SceneError, did_you_mean, listed, one_line
from geoseg.core.geometry import Window
from geoseg.core.notices import ignore_warnings
from geoseg.core.paths import plain_path
from geoseg.scenes import sources
from geoseg.scenes.gdal import RASTER_ERRORS, open_raster
from geoseg.scenes.sources import SourceFile

_MOST_CLASSES = 200
"""Codes from which on labels are numbers of objects or measurements."""
_ROWS = 1024
"""Rows that are read at once, of wide rasters less."""
_PIXELS = 1 << 24
_COLUMNS = (
    "class_id", "class_name", "class", "classname", "klass", "klasse", "clase", "classe", "code", "label",
    "category", "type", "landcover", "land_cover", "landuse", "land_use", "lc", "lulc", "clc", "cover",
    "species", "dn", "gridcode", "value", "name",
)  # fmt: skip
"""Columns that hold classes, the surest first."""


@dataclass(frozen=True)
class Held:
    """What all labels of a folder hold."""

    codes: Mapping[int, int] = field(default_factory=dict)
    """Pixels of each code."""
    colors: Mapping[str, int] = field(default_factory=dict)
    """Pixels of each colour, `#rrggbb`, where labels are pictures."""
    texts: tuple[str, ...] = ()
    """Names of classes in a column of polygons."""
    attribute: str = ""
    """That column."""
    layer: str = ""
    """Layer of the polygons, where a file has several."""
    palette: Mapping[int, str] = field(default_factory=dict)
    """Colour of each code in the colour table of the first raster."""


def hold(folder: Path, labels: Sequence[str], attribute: str | None = None) -> Held:
    """Read labels and return what they hold.

    Parameters
    ----------
    folder
        Where they lie.
    labels
        Rasters, or vector files, relative to the folder.
    attribute
        Column of polygons that holds the class; default: found by its name and values.

    Raises
    ------
    SceneError
        When a label cannot be read, or holds no classes.
    """
    unique = list(dict.fromkeys(labels))
    if Path(unique[0]).suffix.lower() not in _raster_suffixes():
        return _polygons(folder, unique, attribute)
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda name: _count(folder / name), unique))
    kinds = {kind for kind, _, _ in found}
    if len(kinds) > 1:
        one, other = (
            next(n for n, (k, _, _) in zip(unique, found, strict=True) if k == kind) for kind in kinds
        )
        raise SceneError(f"{folder}: some labels are codes and others colours, such as {one} and {other}")
    total: Counter[int] = Counter()
    for _, counts, _ in found:
        total.update(counts)
    if not total:
        raise SceneError(f"{folder / unique[0]}: no label has a pixel that is not nodata")
    if len(total) > _MOST_CLASSES:
        lossy = unique[0].lower().endswith((".jpg", ".jpeg"))
        advice = (
            "JPEG blurs labels: save masks as PNG"
            if lossy
            else "numbers of objects are for task: instances, measurements for task: regression"
        )
        raise SceneError(
            f"{folder / unique[0]}: labels have {len(total)} codes or colours, too many for classes; {advice}"
        )
    codes = dict(sorted(total.items()))
    if kinds == {"colors"}:
        return Held(colors={f"#{c:06x}": n for c, n in codes.items()})
    return Held(codes, palette=next((p for _, _, p in found if p), {}))


def _raster_suffixes() -> tuple[str, ...]:
    from geoseg.training.start.pairs import RASTERS  # noqa: PLC0415

    return RASTERS


def looks_like_labels(path: Path) -> bool:
    """Return whether a raster's first rows look like codes or colours of classes."""
    try:
        source = sources.inspect(str(path))
        kind = _kind(source)
        height, width = source.geobox.shape
        rows = min(height, max(1, (1 << 20) // max(width, 1)))
        values, _ = sources.read(source, _bands(kind), Window.of((height - rows) // 2, 0, rows, width))
    except SceneError:
        return False
    return len(np.unique(_numbers(values))) <= 40


def _kind(source: SourceFile) -> str:
    """Return `codes` or `colors`.

    Raises
    ------
    SceneError
        When the raster can hold neither.
    """
    three = source.data_bands == (1, 2, 3) and all(source.dtype(i) == np.uint8 for i in (1, 2, 3))
    if three:
        return "colors"
    if source.data_bands != (1,):
        raise SceneError(
            f"{source.path}: has {len(source.data_bands)} bands; labels are one band of codes, or a picture "
            "in the colours of the classes"
        )
    return "codes"


def _bands(kind: str) -> tuple[int, ...]:
    return (1, 2, 3) if kind == "colors" else (1,)


def _numbers(values: NDArray[Any]) -> NDArray[Any]:
    """Return the bands of each pixel as one number."""
    if len(values) == 1:
        return np.asarray(values[0])
    red, green, blue = values.astype(np.int32)
    return np.asarray(red << 16 | green << 8 | blue)


def _count(path: Path) -> tuple[str, Counter[int], dict[int, str]]:
    """Return what a raster holds: codes or colours, their pixels, and its colour table."""
    source = sources.inspect(str(path))
    kind, total = _kind(source), Counter[int]()
    for window in _windows(source):
        values, valid = sources.read(source, _bands(kind), window)
        numbers = _numbers(values)
        known = np.ones(numbers.shape, dtype=np.bool_) if valid is None else valid
        if kind == "codes" and (nodata := source.nodata[0]) is not None:
            known = known & (numbers != nodata)
        if numbers.dtype.kind == "f":
            known = known & ~np.isnan(numbers)
            if (numbers[known] % 1 != 0).any():
                raise SceneError(
                    f"{path}: holds {numbers[known][0]:g}, a measurement and no code; for numbers write "
                    "task: regression, see docs/numbers.md"
                )
        found, counts = np.unique(numbers[known], return_counts=True)
        total.update({int(v): int(n) for v, n in zip(found, counts, strict=True)})
        if len(total) > 20 * _MOST_CLASSES:
            break
    return kind, total, _palette(source) if kind == "codes" and 1 in source.palettes else {}


def _windows(source: SourceFile) -> Iterator[Window]:
    height, width = source.geobox.shape
    step = max(1, min(_ROWS, _PIXELS // max(width, 1)))
    for row in range(0, height, step):
        yield Window.of(row, 0, min(step, height - row), width)


def _palette(source: SourceFile) -> dict[int, str]:
    try:
        with open_raster(source.place) as src:
            return {i: "#{:02x}{:02x}{:02x}".format(*c[:3]) for i, c in src.colormap(1).items()}
    except (*RASTER_ERRORS, ValueError):
        return {}


def _polygons(folder: Path, files: Sequence[str], attribute: str | None) -> Held:
    """Return the classes in a column of vector files."""
    found: set[Any] = set()
    column, layer = attribute or "", ""
    for number, name in enumerate(files):
        path = folder / name
        try:
            with plain_path(str(path)) as plain:
                layers = [
                    n for n, kind in pyogrio.list_layers(plain) if "Polygon" in str(kind) or kind is None
                ]
                if not layers:
                    raise SceneError(f"{path}: has no layer of polygons")
                layer = layers[0] if len(pyogrio.list_layers(plain)) > 1 else ""
                with ignore_warnings():
                    frame = pyogrio.read_dataframe(plain, layer=layers[0], read_geometry=False)
        except (DataSourceError, DataLayerError) as error:
            raise SceneError(f"{path}: cannot be read: {one_line(error)[:160]}") from error
        if number == 0:
            column = _column(path, frame, attribute)
        if column not in frame:
            raise SceneError(f"{path}: has no column {column!r}, which {files[0]} has its classes in")
        found.update(frame[column].dropna().tolist())
    whole = all(isinstance(v, int | float) and float(v).is_integer() for v in found)
    if not whole and not all(isinstance(v, str) for v in found):
        raise SceneError(f"{folder / files[0]}: column {column} holds neither whole numbers nor names")
    if whole:
        return Held({int(v): 0 for v in sorted(found)}, attribute=column, layer=layer)
    texts = sorted({str(v).strip() for v in found} - {""})
    return Held(texts=tuple(texts), attribute=column, layer=layer)


def _column(path: Path, frame: Any, attribute: str | None) -> str:
    """Return the column with the classes: the one that is named so, else the only one with few values."""
    columns = [str(c) for c in frame.columns]
    if attribute is not None:
        if attribute not in columns:
            raise SceneError(
                f"{path}: has no column {attribute!r}{did_you_mean(attribute, columns)}; it has "
                f"{listed(columns, 8) or 'none'}"
            )
        return attribute
    lower = {c.lower(): c for c in reversed(columns)}
    usable = {c for c in columns if 2 <= frame[c].nunique() <= min(_MOST_CLASSES, max(2, len(frame) // 2))}
    for known in _COLUMNS:
        if lower.get(known) in usable:
            return lower[known]
    if len(usable) == 1:
        return usable.pop()
    raise SceneError(
        f"{path}: which column holds the class? It has {listed(columns, 8) or 'none'}; give it with "
        "--attribute NAME; at least two classes are needed"
    )
