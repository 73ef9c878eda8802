"""What users give as an area of interest, read or refused."""

import warnings

import geopandas as gpd
import numpy as np
import pytest
import shapely

from geoseg.core.errors import ConfigError
from geoseg.scenes.areas import polygons_of, read_area

SQUARES = [shapely.box(i, 45, i + 1.5, 46) for i in range(3)]


def frame(geometry=tuple(SQUARES), crs="EPSG:4326"):
    return gpd.GeoDataFrame({"name": range(len(geometry))}, geometry=list(geometry), crs=crs)


@pytest.mark.parametrize("name", ["a.gpkg", "a.geojson", "a.shp", "a.fgb", "odd name!?;.gpkg"])
def test_all_features_of_a_file_are_one_area(tmp_path, name):
    crs = "EPSG:4326" if name.endswith("json") else "EPSG:32632"
    made = tmp_path / f"a.{name.rpartition('.')[2]}"
    frame().to_crs(crs).to_file(made)
    made.rename(tmp_path / name)
    area = read_area(str(tmp_path / name))
    assert area.crs == crs
    assert area.source == str(tmp_path / name)
    back = gpd.GeoSeries(area.polygons, crs=crs).to_crs(4326).union_all()
    assert back.symmetric_difference(shapely.box(0, 45, 3.5, 46)).area < 1e-6
    assert len(area.polygons) == 3


def test_a_layer_is_named(tmp_path):
    path = tmp_path / "a.gpkg"
    frame().to_file(path, layer="one")
    frame(SQUARES[:1]).to_file(path, layer="two")
    assert len(read_area(f"{path}|layer=one").polygons) == 3
    assert len(read_area(f"{path}|layername=two").polygons) == 1
    with pytest.raises(ConfigError, match=r"which layer\? write .*a.gpkg\|layer=NAME; .*one, two"):
        read_area(str(path))
    with pytest.raises(ConfigError, match=r"cannot be read as polygons: .*three"):
        read_area(f"{path}|layer=three")


def test_a_path_begins_at_home(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    frame().to_file(tmp_path / "a.gpkg")
    assert len(read_area("~/a.gpkg").polygons) == 3


def write(path, text="", **options):
    if text:
        path.write_text(text)
    else:
        with warnings.catch_warnings():  # of a file without a CRS
            warnings.simplefilter("ignore")
            frame(**options).to_file(path)
    return path.name


@pytest.mark.parametrize(
    ("name", "options", "expected"),
    [
        ("a.shp", {"crs": None}, r"a.shp: has no CRS, so its place is unknown; .*ogr2ogr -a_srs"),
        ("a.gpkg", {"geometry": [shapely.Point(1, 1)]}, "a.gpkg: holds Point and no polygon"),
        ("a.gpkg", {"geometry": []}, "a.gpkg: is empty: it covers no area"),
        ("a.gpkg", {"text": "not a database"}, "a.gpkg: cannot be read as polygons"),
        ("a.parquet", {"text": "PAR1"}, "GeoParquet is not read; convert it: ogr2ogr"),
        (
            "a.geojson",
            {"text": '{"type": "FeatureCollection", "features": []}'},
            "is empty: it covers no area",
        ),
        ("a.csv", {"text": "name\n1\n"}, "which layer|has no geometry"),
        ("a.geojson", {"geometry": [shapely.box(4e5, 5e6, 5e5, 6e6)]}, "these are no degrees of longitude"),
    ],
)
def test_a_file_that_is_no_area_is_one_line(tmp_path, monkeypatch, name, options, expected):
    monkeypatch.chdir(tmp_path)
    write(tmp_path / name, **options)
    with pytest.raises(ConfigError, match=expected) as told:
        read_area(name)
    assert len(str(told.value)) <= 300


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("nowhere", "nowhere: no such file, and neither WKT, GeoJSON nor a box of four numbers"),
        ("x" * 5000, "no such file"),
        ("POLYGON ((0 0, 1 1))", "aoi: is no valid WKT"),
        ("polygon((0 0, 1 1, 2 0))", "aoi: is no valid WKT"),
        ("POLYGON((0 0, 1 1, 2 0, 0 0", "aoi: is no valid WKT"),
        ("POLYGON EMPTY", "is empty: it covers no area"),
        ("POLYGON((0 0, 1 1, 2 2, 0 0))", "is empty: it covers no area"),
        ("LINESTRING(0 0, 1 1)", "holds LineString and no polygon"),
        ("POLYGON((0 0, 1 inf, 2 0, 0 0))", "not finite"),
        ("SRID=999999;POLYGON((0 0, 1 1, 2 0, 0 0))", "there is no CRS EPSG:999999"),
        ('{"type": "Polygon"', "aoi: GeoJSON: cannot be read as polygons"),
        ('{"type": "Polygon", "coordinates": [[["a", 1]]]}', "cannot be read|is empty"),
        ('{"type": "Point", "coordinates": [1, 1]}', "holds Point and no polygon"),
        ("3,1,3,2", "west and east are the same"),
        ("3,2,4,1", "the second number must be less than the fourth"),
        ("3,-91,4,1", "a number of at least -90"),
        ("POLYGON((0 0, 1e5 1, 2 0, 0 0))", "these are no degrees of longitude"),
    ],
)
def test_a_text_that_is_no_area_is_one_line(text, expected):
    with pytest.raises(ConfigError, match=expected) as told:
        read_area(text)
    assert "\n" not in str(told.value)


def test_the_message_of_a_remote_file_has_no_secret():
    with pytest.raises(ConfigError) as told:
        read_area("https://me:secret@127.0.0.1:9/a.gpkg?token=secret")
    assert "127.0.0.1:9/a.gpkg" in str(told.value)
    assert "secret" not in str(told.value)


def test_polygons_are_taken_out_of_collections_and_mended():
    tie = shapely.Polygon([(0, 0), (2, 2), (2, 0), (0, 2)])
    inner = shapely.GeometryCollection([shapely.Point(1, 1), shapely.GeometryCollection([tie])])
    found = polygons_of(np.array([inner, None, shapely.Polygon(), shapely.box(5, 5, 6, 6)], dtype=object))
    assert sorted(shapely.area(found)) == [1, 1, 1]
    assert shapely.is_valid(found).all()


@pytest.mark.parametrize(
    ("box", "bounds"), [((179, 1, -179, 2), (179, 1, 181, 2)), ((170, -10, 5, 10), (-190, -10, 5, 10))]
)
def test_a_box_over_the_antimeridian_may_end_east_of_greenwich(box, bounds):
    (polygon,) = read_area(box).polygons
    assert polygon.bounds == bounds
