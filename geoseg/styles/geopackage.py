"""The default style of a GeoPackage layer for QGIS, and its provenance."""

import contextlib
import json
import sqlite3
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

from geoseg.core.errors import OutputError, one_line
from geoseg.core.legend import Legend
from geoseg.styles.polygons import CLASS_ID
from geoseg.styles.qml import categorised
from geoseg.styles.sld import polygon_sld

PROVENANCE = "urn:geoseg:provenance"
"""`md_standard_uri` of the provenance in `gpkg_metadata`."""

# As QGIS 3.22 itself creates it when a user saves a style into a GeoPackage.
_LAYER_STYLES = """
CREATE TABLE IF NOT EXISTS layer_styles (
    "id" INTEGER PRIMARY KEY AUTOINCREMENT NOT NULL, "f_table_catalog" TEXT(256), "f_table_schema" TEXT(256),
    "f_table_name" TEXT(256), "f_geometry_column" TEXT(256), "styleName" TEXT(30), "styleQML" TEXT,
    "styleSLD" TEXT, "useAsDefault" BOOLEAN, "description" TEXT, "owner" TEXT(30), "ui" TEXT(30),
    "update_time" DATETIME DEFAULT (strftime('%Y-%m-%dT%H:%M:%fZ','now')));
"""

# OGC 12-128r19 (GeoPackage 1.3.1), annex F.8.
_METADATA = """
CREATE TABLE IF NOT EXISTS gpkg_extensions (
    table_name TEXT, column_name TEXT, extension_name TEXT NOT NULL, definition TEXT NOT NULL,
    scope TEXT NOT NULL, CONSTRAINT ge_tce UNIQUE (table_name, column_name, extension_name));
CREATE TABLE IF NOT EXISTS gpkg_metadata (
    id INTEGER CONSTRAINT m_pk PRIMARY KEY ASC NOT NULL, md_scope TEXT NOT NULL DEFAULT 'dataset',
    md_standard_uri TEXT NOT NULL, mime_type TEXT NOT NULL DEFAULT 'text/xml',
    metadata TEXT NOT NULL DEFAULT '');
CREATE TABLE IF NOT EXISTS gpkg_metadata_reference (
    reference_scope TEXT NOT NULL, table_name TEXT, column_name TEXT, row_id_value INTEGER,
    timestamp DATETIME NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%fZ','now')),
    md_file_id INTEGER NOT NULL, md_parent_id INTEGER,
    CONSTRAINT crmr_mfi_fk FOREIGN KEY (md_file_id) REFERENCES gpkg_metadata(id),
    CONSTRAINT crmr_mpi_fk FOREIGN KEY (md_parent_id) REFERENCES gpkg_metadata(id));
"""
_METADATA_DEFINITION = "http://www.geopackage.org/spec120/#extension_metadata"


def add_style_and_provenance(
    path: Path,
    layer: str,
    legend: Legend,
    provenance: Mapping[str, Any],
    *,
    geometry_column: str = "geom",
    style: ET.Element | None = None,
) -> None:
    """Write a layer's default style and its provenance into a GeoPackage, in one transaction.

    The style goes into `layer_styles`, which QGIS reads when it opens a layer; the provenance goes as JSON
    into `gpkg_metadata` (OGC 12-128, extension Metadata). Both are stamped with the time of the layer's last
    change, so equal layers make equal files. The style and provenance of an earlier call are replaced.

    Parameters
    ----------
    path
        A GeoPackage with the layer; no other process may write it meanwhile.
    layer
        Name of a polygon layer, with the column `class_id` unless a style is given.
    legend
        The classes.
    provenance
        Where the layer comes from, plain JSON values.
    geometry_column
        Geometry column of the layer; QGIS ignores a style with another one.
    style
        Another style than a fill for each class, as QML.

    Raises
    ------
    OutputError
        When the file cannot be written or has no such layer.
    """
    try:
        with contextlib.closing(_connect(path)) as db:
            db.execute("BEGIN IMMEDIATE")
            row = db.execute("SELECT last_change FROM gpkg_contents WHERE table_name = ?", [layer]).fetchone()
            if row is None:
                raise OutputError(f"{path}: has no layer {layer}")
            texts = _styles(legend, layer) if style is None else (_text(style), "")
            _add_style(db, (layer, geometry_column), texts, row[0])
            _add_provenance(db, layer, provenance, row[0])
            db.execute("COMMIT")
    except sqlite3.Error as error:
        raise OutputError(f"{path}: its style cannot be written: {one_line(error)}") from error


def _connect(path: Path) -> sqlite3.Connection:
    """Open an existing database; transactions begin and end with explicit statements only."""
    return sqlite3.connect(f"{path.resolve().as_uri()}?mode=rw", uri=True, isolation_level=None)


def _styles(legend: Legend, layer: str) -> tuple[str, str]:
    """Return QML and SLD of a fill for each class."""
    return _text(categorised(legend, CLASS_ID)), _text(polygon_sld(legend, layer, CLASS_ID))


def _add_style(db: sqlite3.Connection, place: tuple[str, str], styles: tuple[str, str], time: str) -> None:
    """Make QML and SLD the default style of a layer, by its name and geometry column."""
    _create(db, _LAYER_STYLES)
    # QGIS and GDAL find the table only when the contents list it.
    db.execute(
        "INSERT OR IGNORE INTO gpkg_contents"
        " (table_name, data_type, identifier, description, last_change, srs_id)"
        " VALUES ('layer_styles', 'attributes', 'layer_styles', '', ?, 0)",
        [time],
    )
    db.execute("DELETE FROM layer_styles WHERE f_table_name = ? AND f_geometry_column = ?", place)
    db.execute(
        "INSERT INTO layer_styles (f_table_catalog, f_table_schema, f_table_name, f_geometry_column,"
        " styleName, styleQML, styleSLD, useAsDefault, description, owner, update_time)"
        " VALUES ('', '', ?, ?, 'classes', ?, ?, 1, 'Classes of geoseg', '', ?)",
        [*place, *styles, time],
    )


def _add_provenance(db: sqlite3.Connection, layer: str, provenance: Mapping[str, Any], time: str) -> None:
    _create(db, _METADATA)
    for table in ("gpkg_metadata", "gpkg_metadata_reference"):
        # Not INSERT OR IGNORE: two NULLs in column_name are never equal.
        db.execute("DELETE FROM gpkg_extensions WHERE table_name = ?", [table])
        db.execute(
            "INSERT INTO gpkg_extensions VALUES (?, NULL, 'gpkg_metadata', ?, 'read-write')",
            [table, _METADATA_DEFINITION],
        )
    old = (
        "SELECT r.md_file_id FROM gpkg_metadata_reference r JOIN gpkg_metadata m ON m.id = r.md_file_id"
        " WHERE m.md_standard_uri = ? AND r.table_name = ?"
    )
    for (number,) in db.execute(old, [PROVENANCE, layer]).fetchall():
        db.execute("DELETE FROM gpkg_metadata_reference WHERE md_file_id = ?", [number])
        db.execute("DELETE FROM gpkg_metadata WHERE id = ?", [number])
    text = json.dumps(provenance, indent=1, ensure_ascii=False)
    written = db.execute(
        "INSERT INTO gpkg_metadata (md_scope, md_standard_uri, mime_type, metadata)"
        " VALUES ('dataset', ?, 'application/json', ?)",
        [PROVENANCE, text],
    )
    db.execute(
        "INSERT INTO gpkg_metadata_reference (reference_scope, table_name, timestamp, md_file_id)"
        " VALUES ('table', ?, ?, ?)",
        [layer, time, written.lastrowid],
    )


def _create(db: sqlite3.Connection, script: str) -> None:
    # Not executescript: that would commit first.
    for statement in filter(str.strip, script.split(";\n")):
        db.execute(statement)


def _text(root: ET.Element) -> str:
    ET.indent(root)
    return ET.tostring(root, encoding="unicode")
