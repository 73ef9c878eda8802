import sqlite3
from contextlib import closing

import geopandas as gpd
import pyogrio
import pytest
import shapely

from geoseg.core.errors import OutputError
from geoseg.vector.geopackage import write_geopackage

TITLES = ["Wald & <Wiese>", "a \"b\" 'c'", "Forêt é", "水体"]


def frame(count=4, crs="EPSG:32633"):
    squares = [shapely.box(i, 0, i + 1, 1) for i in range(count)]
    columns = {
        "class_id": list(range(count)),
        "class_name": TITLES[:count],
        "area_m2": [1.0] * count,
    }
    return gpd.GeoDataFrame(columns, geometry=squares, crs=crs)


def query(path, text):
    with closing(sqlite3.connect(path)) as db:
        return db.execute(text).fetchall()


def test_polygons_survive(tmp_path):
    path = tmp_path / "p.gpkg"
    write_geopackage(path, frame(), "polygons")
    back = gpd.read_file(path, layer="polygons")
    assert back.class_name.tolist() == TITLES
    assert back.class_id.tolist() == [0, 1, 2, 3]
    assert back.area_m2.tolist() == [1.0] * 4
    assert back.geometry.geom_equals(frame().geometry).all()
    assert back.crs.to_epsg() == 32633


def test_the_file_is_a_geopackage_1_3_with_an_index(tmp_path):
    path = tmp_path / "p.gpkg"
    write_geopackage(path, frame(), "classes")
    assert query(path, "PRAGMA user_version") == [(10300,)]
    assert query(path, "SELECT table_name, data_type FROM gpkg_contents") == [("classes", "features")]
    assert query(path, "SELECT column_name, geometry_type_name FROM gpkg_geometry_columns") == [
        ("geom", "POLYGON")
    ]
    assert query(path, "SELECT extension_name FROM gpkg_extensions") == [("gpkg_rtree_index",)]
    assert query(path, "SELECT id FROM classes") == [(1,), (2,), (3,), (4,)]


def test_an_older_file_is_replaced(tmp_path):
    path = tmp_path / "p.gpkg"
    write_geopackage(path, frame(4), "old")
    write_geopackage(path, frame(2), "new")
    assert pyogrio.list_layers(path)[:, 0].tolist() == ["new"]
    assert len(gpd.read_file(path)) == 2


def test_no_polygons_are_a_layer_too(tmp_path):
    path = tmp_path / "p.gpkg"
    write_geopackage(path, frame(4).iloc[:0], "polygons")
    back = gpd.read_file(path)
    assert len(back) == 0
    assert {"class_id", "class_name", "area_m2"} <= set(back.columns)
    assert query(path, "SELECT geometry_type_name FROM gpkg_geometry_columns") == [("POLYGON",)]


def test_polygons_without_crs_are_written_without_a_complaint(tmp_path):
    path = tmp_path / "p.gpkg"
    write_geopackage(path, frame(crs=None), "polygons")
    assert len(gpd.read_file(path)) == 4


@pytest.mark.filterwarnings("ignore:.crs. was not provided:UserWarning")
def test_polygons_without_crs_survive(tmp_path):
    path = tmp_path / "p.gpkg"
    write_geopackage(path, frame(crs=None), "polygons")
    assert gpd.read_file(path).geometry.geom_equals(frame(crs=None).geometry).all()


def test_a_folder_that_is_not_there_is_told(tmp_path):
    with pytest.raises(OutputError, match=r"gone/p\.gpkg: cannot be written: ") as caught:
        write_geopackage(tmp_path / "gone" / "p.gpkg", frame(), "polygons")
    assert "\n" not in str(caught.value)


def test_a_folder_in_the_way_is_told(tmp_path):
    (tmp_path / "p.gpkg").mkdir()
    with pytest.raises(OutputError, match=r"p\.gpkg: cannot be written"):
        write_geopackage(tmp_path / "p.gpkg", frame(), "polygons")
