"""List many scenes, from a glob, a list or a table."""

import csv
import glob
import os
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from geoseg.config.scene import SceneEntry
from geoseg.config.wording import first_of
from geoseg.core.errors import ConfigError, one_line
from geoseg.core.parsing import read_bytes
from geoseg.core.paths import at_home, plain_path
from geoseg.core.secrets import redact
from geoseg.scenes.catalog import Catalog
from geoseg.scenes.products import item_entries, merged, names_item
from geoseg.scenes.remote import is_remote
from geoseg.scenes.versions import file_of, names_dataset, placed

PATHS = ("path", "uri", "location", "href", "file", "filename")
"""Columns with the path of a scene; gdaltindex writes `location`."""

NAMES = ("name", "id", "title")

FACTS = ("datetime", "scale", "offset", "nodata", "gsd", "sensor")
"""Columns with the meaning of the same key in a scene entry."""

_TABLES = (".csv", ".parquet", ".gpkg", ".geojson", ".fgb", ".shp", ".dbf")
_LISTS = (".txt", ".lst", ".list")
_COMMENT = re.compile(r"(^|\s)#.*")
"""Names of folders and files may have a #."""
SIDECARS = (".aux.xml", ".ovr", ".msk", ".tfw", ".jgw", ".prj")
"""Ends of files beside a raster, which a glob finds with it."""


@dataclass(frozen=True)
class ListedScene:
    """One scene of a list."""

    name: str
    """Name of its run and run folder, unique in the list."""
    scene: str | SceneEntry


def list_scenes(
    source: str | Sequence[str], template: SceneEntry | None = None, catalog: Path | str | None = None
) -> list[ListedScene]:
    """Return the scenes that a text or a sequence of texts names.

    A text is a glob (`scenes/*.tif`, `**` for any folder), a list (`.txt`: one scene a line, # for comments),
    a table (CSV, Parquet, or a tile index as gdaltindex or QGIS write it), the result of a STAC search (JSON
    or stac-geoparquet: a scene for each item), or a single scene. A scene is a
    name in the catalog, a file, a folder or a URI. A path in a list or table that does not exist in the
    current folder is looked up beside that file.

    Parameters
    ----------
    source
        The text or texts.
    template
        Keys for every scene that is not a name in the catalog: bands, scale, nodata, mask.
    catalog
        The data catalog.

    Raises
    ------
    ConfigError
        When there is no scene, a table lacks a column, or two scenes have the same name.
    """
    texts = [source] if isinstance(source, str) else list(source)
    rows = [row for text in texts for row in _rows(text)]
    if not rows:
        raise ConfigError(f"scenes: {', '.join(texts) or 'the list'} names no scene")
    known = Catalog.open(catalog).scenes
    names = _names(rows)
    return [
        ListedScene(n, r["path"] if r["path"] in known else _entry(r, template))
        for n, r in zip(names, rows, strict=True)
    ]


def _rows(text: str) -> Iterable[dict[str, Any]]:
    """Return the scenes of a text, as rows with `path` and perhaps a name and facts."""
    text = at_home(text)
    suffix = Path(text).suffix.lower()
    if glob.has_magic(text) and "://" not in text and not os.path.lexists(text):
        found = sorted(glob.glob(text, recursive=True))  # noqa: PTH207 (any path, any folder)
        return [{"path": p} for p in found if not p.endswith(SIDECARS)]
    if (items := _items(text)) is not None:
        return items
    if suffix in _LISTS:
        lines = (_COMMENT.sub("", line).strip() for line in _text_of(text).splitlines())
        return [{"path": _beside(line, text)} for line in lines if line]
    if suffix in _TABLES:
        return [_row(row, text) for row in _table(text)]
    return [{"path": text}]


def _items(text: str) -> list[dict[str, Any]] | None:
    """Return the STAC items of a search result as rows; None when the text names none."""
    if not names_item(text) or not (is_remote(text) or Path(text).is_file()):
        return None
    entries = item_entries(text)
    return None if entries is None else [{"path": text, "name": e.item, "entry": e} for e in entries]


def _text_of(path: str) -> str:
    try:
        return read_bytes(Path(path)).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ConfigError(f"scenes: {path}: cannot be read: it is not UTF-8; save it as UTF-8") from error
    except (OSError, ValueError) as error:
        raise ConfigError(f"scenes: {path}: cannot be read: {one_line(error)}") from error


def _table(path: str) -> list[dict[str, Any]]:
    if path.lower().endswith(".csv"):
        lines = _text_of(path).splitlines()
        return list(csv.DictReader(lines, delimiter=_delimiter(lines[0] if lines else "")))
    try:
        with plain_path(path) as plain:
            if path.lower().endswith(".parquet"):
                from pyarrow import parquet  # noqa: PLC0415

                names = parquet.read_schema(plain).names
                columns = [c for c in names if c.lower() in (*PATHS, *NAMES, *FACTS)]
                rows: list[dict[str, Any]] = parquet.read_table(plain, columns=columns).to_pylist()
                return rows
            import pyogrio  # noqa: PLC0415

            frame = pyogrio.read_dataframe(plain, read_geometry=False)
        return [dict(zip(frame.columns, row, strict=True)) for row in frame.itertuples(index=False)]
    except Exception as error:
        raise ConfigError(f"scenes: {path}: cannot be read as a table: {one_line(error)}") from error


def _delimiter(head: str) -> str:
    """Return what parts the columns of a CSV: in many countries spreadsheets write semicolons."""
    for sign in (",", ";", "\t"):
        if any(name.strip().lower() in PATHS for name in next(csv.reader([head], delimiter=sign), [])):
            return sign
    return ","


def _row(row: Mapping[str, Any], table: str) -> dict[str, Any]:
    """Return path, name and facts of a row of a table."""
    given = {str(k).strip().lower(): v for k, v in row.items() if k is not None and _has_value(v)}
    path = next((given[c] for c in PATHS if c in given), None)
    if path is None:
        raise ConfigError(f"scenes: {table}: a row has no path; one column of {', '.join(PATHS)} is needed")
    name = next((given[c] for c in NAMES if c in given), None)
    facts = {k: given[k] for k in FACTS if k in given}
    return {
        "path": _beside(str(path), table),
        **({"name": str(name)} if name is not None else {}),
        **facts,
    }


def _has_value(value: Any) -> bool:
    # NaN and NaT, which tables have in empty cells, differ from themselves.
    return value is not None and str(value).strip() != "" and not value != value  # noqa: PLR0124, SIM202


def _beside(path: str, listing: str) -> str:
    path = at_home(path)
    if names_dataset(path):
        return path
    beside = placed(path, Path(listing).parent)
    # Unlike Path's, this takes names that no file can have.
    here, there = (os.path.exists(file_of(p)) for p in (path, beside))  # noqa: PTH110
    return beside if there and not here else path


def _names(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return a name for each row: its own, else that of its file, after its folder where two share it."""
    stems = [_clean(r.get("name") or Path(redact(r["path"])).stem) for r in rows]
    counts = Counter(stems)
    names = [
        _clean(f"{Path(r['path']).parent.name}-{stem}") if counts[stem] > 1 and "name" not in r else stem
        for r, stem in zip(rows, stems, strict=True)
    ]
    twice = [n for n, count in Counter(names).items() if count > 1]
    if twice:
        places = [r["path"] for r, n in zip(rows, names, strict=True) if n == twice[0]]
        raise ConfigError(
            f"scenes: {places[0]} and {places[1]} would both be called {twice[0]!r}; name them in a table "
            "with the columns name and path"
        )
    return names


def _clean(name: str) -> str:
    return re.sub(r"[^\w.-]+", "-", str(name)).strip("-.") or "scene"


def _entry(row: Mapping[str, Any], template: SceneEntry | None) -> SceneEntry:
    """Return the entry of a scene: the template with its path and facts, or a STAC item with the template."""
    if "entry" in row:
        found: SceneEntry = row["entry"]
        return found if template is None else merged(found, template)
    base = {} if template is None else template.model_dump(exclude_unset=True)
    folders = template is not None and template.uri is None
    place = {"folder": row["path"]} if folders else {"uri": row["path"], "folder": None}
    if template is not None and template.masks and not folders:
        raise ConfigError(
            f"scenes: the mask {template.masks[0].uri} is of one scene; give every scene a folder and every "
            "band a uri, or list the scenes in the catalog"
        )
    facts = {**base, **place, **{k: row[k] for k in FACTS if k in row}}
    try:
        return SceneEntry.model_validate(facts)
    except ValidationError as error:
        where, text = first_of(error, facts)
        raise ConfigError(f"scenes: {row['path']}: {where or 'scene'}: {text}") from None
