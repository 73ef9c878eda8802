"""Checks of the database inside a GeoPackage of polygons."""

import contextlib
import sqlite3
from collections.abc import Iterator
from pathlib import Path

from geoseg.core.run_files import RunFile
from geoseg.runs.validate.findings import Failure
from geoseg.runs.validate.finished_folder import FinishedFolder

FILE = RunFile.GEOPACKAGE


@contextlib.contextmanager
def open_readonly(path: Path) -> Iterator[sqlite3.Connection]:
    """Open a GeoPackage without changing it."""
    with contextlib.closing(sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True)) as db:
        yield db


def only_layer(db: sqlite3.Connection) -> str:
    """Return the name of the only layer.

    Raises
    ------
    ValueError
        When there is no layer, or more than one.
    """
    rows = db.execute("SELECT table_name FROM gpkg_contents WHERE data_type = 'features'").fetchall()
    if len(rows) != 1:
        raise ValueError(f"{len(rows)} layers of features, not one")
    return str(rows[0][0])


def count(db: sqlite3.Connection, table: str) -> int:
    """Return the number of rows of a table."""
    (rows,) = db.execute(f"SELECT COUNT(*) FROM {_quoted(table)}").fetchone()  # noqa: S608
    return int(rows)


def check_database(run: FinishedFolder, db: sqlite3.Connection) -> Iterator[Failure]:
    """Check the integrity of the database, its spatial index against the rows, and class names."""
    (found,) = db.execute("PRAGMA quick_check(1)").fetchone()
    if found != "ok":
        yield Failure(FILE, "database", "whole", found)
    layer = only_layer(db)
    features = count(db, layer)
    indexed = db.execute(
        "SELECT column_name FROM gpkg_extensions"
        " WHERE extension_name = 'gpkg_rtree_index' AND table_name = ?",
        [layer],
    ).fetchone()
    entries = count(db, f"rtree_{layer}_{indexed[0]}") if indexed else 0
    if entries != features:
        yield Failure(FILE, "spatial index", f"{features} entries", str(entries) if indexed else "none")
    titles = {i: c.title for i, c in run.legend.by_id().items()}
    named = db.execute(f"SELECT DISTINCT class_id, class_name FROM {_quoted(layer)}")  # noqa: S608
    for number, name in named.fetchall():
        if titles.get(number) != name:
            expected = titles.get(number, f"one of the classes {', '.join(map(str, titles))}")
            yield Failure(FILE, f"name of class {number}", expected, str(name))


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
