import json
import sqlite3
from contextlib import closing
from xml.etree import ElementTree as ET

import geopandas as gpd
import pyarrow as pa
import pyogrio
import pytest
import shapely
from hypothesis import HealthCheck, given, settings
from odc.geo.crs import CRS

from geoseg.core.errors import OutputError
from geoseg.core.legend import Legend, LegendClass
from geoseg.styles.geopackage import PROVENANCE, add_style_and_provenance
from geoseg.vector.write.geopackage import write_features
from tests.styles.test_raster import ANY_TITLE, BY_ID, LEGEND, SLD

ABOUT = {"scene": "Szene & <eins>", "model": {"name": "水体", "classes": 4}, "files": ["a \"b\" 'c'"]}


@pytest.fixture
def package(tmp_path):
    """A GeoPackage with two layers of polygons, without a style."""
    path = tmp_path / "p.gpkg"
    columns = {
        "class_id": [i for i, _ in BY_ID],
        "class_name": [t for _, t in BY_ID],
        "area_m2": [1.0] * 4,
        "geom": [shapely.box(i, 0, i + 1, 1).wkb for i in range(4)],
    }
    batch = pa.RecordBatch.from_pydict(columns)
    write_features(path, batch.schema, iter([batch]), CRS("EPSG:32633"), layer="land cover")
    return path


def query(path, text, *values):
    with closing(sqlite3.connect(path)) as db:
        return db.execute(text, values).fetchall()


def style(path, column="styleQML"):
    ((text,),) = query(path, f"SELECT {column} FROM layer_styles")  # noqa: S608
    return ET.fromstring(text)  # noqa: S314


def test_qgis_finds_one_default_style(package):
    add_style_and_provenance(package, "land cover", LEGEND, ABOUT)
    chosen = "SELECT f_table_catalog, f_table_schema, f_table_name, f_geometry_column, useAsDefault, owner"
    assert query(package, chosen + " FROM layer_styles") == [("", "", "land cover", "geom", 1, "")]
    listed = query(package, "SELECT table_name, data_type, srs_id FROM gpkg_contents ORDER BY table_name")
    assert listed == [("land cover", "features", 32633), ("layer_styles", "attributes", 0)]


def test_the_style_names_and_colours_every_class(package):
    add_style_and_provenance(package, "land cover", LEGEND, ABOUT)
    renderer = style(package).find("renderer-v2")
    assert (renderer.get("type"), renderer.get("attr")) == ("categorizedSymbol", "class_id")
    symbols = {s.get("name"): s for s in renderer.iterfind("symbols/symbol")}
    found = []
    for category in renderer.iterfind("categories/category"):
        symbol = symbols[category.get("symbol")]
        for options in (
            {o.get("name"): o.get("value") for o in symbol.iterfind("layer/Option/Option")},
            {p.get("k"): p.get("v") for p in symbol.iterfind("layer/prop")},
        ):
            found.append((int(category.get("value")), category.get("label"), options["color"]))
            assert 0 < float(options["outline_width"]) < 0.2
    colors = ["0,255,0,255", "255,0,0,255", "0,0,255,255", "1,2,3,255"]
    expected = [(i, t, c) for (i, t), c in zip(BY_ID, colors, strict=True)]
    assert found[::2] == found[1::2] == expected


def test_the_descriptor_names_and_colours_every_class(package):
    add_style_and_provenance(package, "land cover", LEGEND, ABOUT)
    root = style(package, "styleSLD")
    assert root.findtext(f"{SLD}NamedLayer/{SLD}Name") == "land cover"
    ogc = "{http://www.opengis.net/ogc}"
    paths = (f".//{ogc}Literal", f"{SLD}Title", f".//{SLD}Fill/{SLD}CssParameter")
    rules = [tuple(rule.findtext(path) for path in paths) for rule in root.iter(f"{SLD}Rule")]
    colors = ["#00FF00", "#ff0000", "#0000ff", "#010203"]
    assert rules == [(str(i), t, c) for (i, t), c in zip(BY_ID, colors, strict=True)]
    assert {e.text for e in root.iter(f"{ogc}PropertyName")} == {"class_id"}


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(ANY_TITLE)
def test_any_title_survives(package, title):
    legend = Legend((LegendClass(3, "c", title, "#123456"),))
    add_style_and_provenance(package, "land cover", legend, {"title": title})
    (category,) = style(package).iter("category")
    assert category.get("label") == title
    assert style(package, "styleSLD").findtext(f".//{SLD}Rule/{SLD}Title") == title
    ((text,),) = query(package, "SELECT metadata FROM gpkg_metadata")
    assert json.loads(text) == {"title": title}


def test_provenance_belongs_to_the_layer(package):
    add_style_and_provenance(package, "land cover", LEGEND, ABOUT)
    ((number, scope, uri, mime, text),) = query(package, "SELECT * FROM gpkg_metadata")
    assert (scope, uri, mime, json.loads(text)) == ("dataset", PROVENANCE, "application/json", ABOUT)
    rows = query(package, "SELECT reference_scope, table_name, md_file_id FROM gpkg_metadata_reference")
    assert rows == [("table", "land cover", number)]
    extensions = query(
        package,
        "SELECT table_name, column_name, scope FROM gpkg_extensions WHERE extension_name = 'gpkg_metadata'",
    )
    assert extensions == [
        ("gpkg_metadata", None, "read-write"),
        ("gpkg_metadata_reference", None, "read-write"),
    ]
    assert (
        json.dumps(ABOUT, ensure_ascii=False, indent=1)
        in pyogrio.read_info(package, layer="land cover")["layer_metadata"].values()
    )


def test_a_second_call_replaces_the_first(package):
    add_style_and_provenance(package, "land cover", LEGEND, {"first": 1})
    before = query(package, "SELECT * FROM gpkg_extensions")
    add_style_and_provenance(package, "land cover", Legend(LEGEND.classes[:1]), {"second": 2})
    assert len(list(style(package).iter("category"))) == 1
    assert [json.loads(t) for (t,) in query(package, "SELECT metadata FROM gpkg_metadata")] == [{"second": 2}]
    assert sorted(map(str, query(package, "SELECT * FROM gpkg_extensions"))) == sorted(map(str, before))


def test_equal_layers_make_equal_files(package, tmp_path):
    other = tmp_path / "other.gpkg"
    other.write_bytes(package.read_bytes())
    for path in (package, other):
        add_style_and_provenance(path, "land cover", LEGEND, ABOUT)
    assert other.read_bytes() == package.read_bytes()


def test_the_polygons_and_the_database_stay_whole(package):
    before = gpd.read_file(package, layer="land cover")
    add_style_and_provenance(package, "land cover", LEGEND, ABOUT)
    assert gpd.read_file(package, layer="land cover").equals(before)
    assert query(package, "PRAGMA integrity_check") == [("ok",)]
    assert query(package, "PRAGMA foreign_key_check") == []
    assert query(package, "PRAGMA user_version") == [(10300,)]
    assert [p.name for p in package.parent.iterdir()] == ["p.gpkg"]


def test_a_layer_that_is_not_there_is_told_and_nothing_written(package):
    before = package.read_bytes()
    with pytest.raises(OutputError, match=r"p\.gpkg: has no layer forest"):
        add_style_and_provenance(package, "forest", LEGEND, ABOUT)
    assert package.read_bytes() == before


def test_a_file_that_is_not_there_is_told_and_not_made(tmp_path):
    with pytest.raises(OutputError, match=r"gone\.gpkg: its style cannot be written: "):
        add_style_and_provenance(tmp_path / "gone.gpkg", "x", LEGEND, ABOUT)
    assert not (tmp_path / "gone.gpkg").exists()
