"""A QGIS form inside a GeoPackage: a field whose value is chosen from a list of names."""

import sqlite3
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from xml.etree import ElementTree as ET

# The table as QGIS creates it.
_TABLE = """
CREATE TABLE layer_styles (
    id INTEGER PRIMARY KEY AUTOINCREMENT NOT NULL, f_table_catalog TEXT(256), f_table_schema TEXT(256),
    f_table_name TEXT(256), f_geometry_column TEXT(256), styleName TEXT(30), styleQML TEXT, styleSLD TEXT,
    useAsDefault BOOLEAN, description TEXT, owner TEXT(30), ui TEXT(30),
    update_time DATETIME DEFAULT (strftime('%Y-%m-%dT%H:%M:%fZ', 'now')))
"""


def add_form(
    path: Path,
    layer: str,
    field: str,
    values: Mapping[str, int | str],
    *,
    look: ET.Element | None = None,
    looks: Mapping[str, ET.Element] | None = None,
) -> None:
    """Make QGIS offer a list of names where a field is edited.

    Parameters
    ----------
    path
        A GeoPackage without styles, with geometry column `geom`.
    layer, field
        Layer and field of the form.
    values
        Value of the field for each name.
    look
        How the layer is drawn, a style of QGIS.
    looks
        How other layers are drawn.

    Raises
    ------
    OSError
        When the file cannot be written.
    """
    root = ET.Element("qgis", version="3.22", styleCategories="Fields|Forms")
    parent = ET.SubElement(ET.SubElement(root, "fieldConfiguration"), "field", name=field)
    widget = ET.SubElement(parent, "editWidget", type="ValueMap")
    config = ET.SubElement(ET.SubElement(widget, "config"), "Option", type="Map")
    choices = ET.SubElement(config, "Option", type="List", name="map")
    for name, value in values.items():
        entry = ET.SubElement(choices, "Option", type="Map")
        ET.SubElement(entry, "Option", type="QString", name=name, value=str(value))
    if look is not None:
        root.set("styleCategories", "Symbology|Fields|Forms")
        root.extend(list(look))
    styles = {layer: root, **(looks or {})}
    try:
        with closing(sqlite3.connect(path)) as database, database:
            database.execute(_TABLE)
            database.executemany(
                "INSERT INTO layer_styles (f_table_catalog, f_table_schema, f_table_name, f_geometry_column, "
                "styleName, styleQML, styleSLD, useAsDefault, description, update_time) "
                "SELECT '', '', table_name, 'geom', 'labelling', ?, '', 1, 'classes to choose from', "
                "last_change FROM gpkg_contents WHERE table_name = ?",
                [(ET.tostring(qml, encoding="unicode"), name) for name, qml in styles.items()],
            )
            database.execute(
                # The time of the layer, so that equal content gives equal files.
                "INSERT INTO gpkg_contents (table_name, data_type, identifier, description, last_change) "
                "SELECT 'layer_styles', 'attributes', 'layer_styles', '', last_change FROM gpkg_contents "
                "WHERE table_name = ?",
                (layer,),
            )
    except sqlite3.Error as error:
        raise OSError(str(error)) from error
