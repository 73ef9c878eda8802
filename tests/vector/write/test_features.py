"""What features say, by hand."""

import geopandas as gpd
import numpy as np
import pyarrow as pa
import pytest
import shapely
from affine import Affine
from hypothesis import given
from odc.geo.crs import CRS
from odc.geo.geobox import GeoBox
from pyproj import Geod, Transformer

from geoseg.core.legend import NODATA
from geoseg.vector.recipe import Generalize, Rules
from geoseg.vector.trace.block import MapFiles
from geoseg.vector.trace.coverage import polygons
from geoseg.vector.write import features as features_
from geoseg.vector.write.features import features, schema
from tests.conftest import write_raster
from tests.vector.maps import HERE, LEGEND, many, maps, patches, save, with_hole

N = NODATA
CLASSES = np.array(
    [
        [0, 0, 1, 1, N, 4],
        [0, 2, 2, 1, N, 4],
        [0, 0, 0, 1, N, 4],
        [1, 0, 0, 1, N, 4],
    ],
    np.uint8,
)
SHARE = np.array(
    [
        [0.9, 0.9, 0.5, 0.7, 255, 0.42],
        [0.9, 0.49, 0.8, 0.7, 255, 0.42],
        [0.9, 0.9, 0.9, 0.7, 255, 0.42],
        [0.29, 0.9, 0.1, 0.7, 255, 0.42],
    ],
    np.float32,
)
UTM = {"crs": "EPSG:32633", "origin": (500_000.0, 4_500_000.0), "gsd": 10.0}


def batches(folder, classes=CLASSES, share=SHARE, how=None, objects=None, rules=None, block=3, **place):
    grid = {**UTM, **place}
    path = save(folder, classes, **grid)
    confidence = None if share is None else write_raster(folder / "share.tif", share, nodata=255, **grid)
    files = MapFiles(path, confidence)
    if objects is not None:
        numbers, own = objects
        files = MapFiles(path, confidence, write_raster(folder / "o.tif", numbers, **grid), own)
    rules = rules or Rules(LEGEND)
    found = polygons(files, HERE, how=how or Generalize(), threshold=50, folder=folder, block=block)
    return list(features(found, files.geobox(), rules)), rules


def table(folder, *args, **options):
    """Return features as a frame without CRS, in an order that says nothing."""
    made, rules = batches(folder, *args, **options)
    rows = pa.Table.from_batches(made, schema(rules)).to_pandas()
    geometry = shapely.from_wkb(rows.pop("geom").to_numpy())
    return gpd.GeoDataFrame(rows, geometry=geometry)


def by_class(frame, class_id):
    return frame[frame.class_id == class_id].sort_values("area_m2")


def test_attributes_by_hand(tmp_path):
    frame = table(tmp_path)
    assert list(frame.columns) == [
        "class_id", "class_name", "area_m2", "perimeter_m", "mean_confidence", "min_confidence",
        "low_confidence_share", "touches_edge", "geometry",
    ]  # fmt: skip
    rows = {
        tuple(row)
        for row in frame.drop(columns="geometry").sort_values(["class_id", "area_m2"]).itertuples(index=False)
    }
    assert rows == {
        (0, "Class & 0", 800.0, 160.0, 0.8, 0.1, 0.125, True),
        (1, "Class & 1", 100.0, 40.0, 0.29, 0.29, 1.0, True),
        (1, "Class & 1", 500.0, 120.0, 0.66, 0.5, 0.0, True),
        (2, "Class & 2", 200.0, 60.0, 0.645, 0.49, 0.5, False),
        (4, "Class & 4", 400.0, 100.0, 0.42, 0.42, 1.0, True),
    }
    (outline,) = by_class(frame, 2).geometry
    assert outline.equals(shapely.box(500_010, 4_499_980, 500_030, 4_499_990))


def test_a_class_that_the_legend_lacks_keeps_its_number(tmp_path):
    assert table(tmp_path, np.full((3, 3), 254, np.uint8), None).class_name.tolist() == ["254"]


@many(15)
@given(maps())
def test_areas_add_up(tmp_path, classes):
    frame = table(tmp_path, classes, None)
    for value in (0, 1, 2):
        assert by_class(frame, value).area_m2.sum() == pytest.approx(100 * (classes == value).sum())


def test_areas_of_a_geographic_map_are_geodesic(tmp_path):
    place = {"crs": "EPSG:4326", "origin": (13.0, 60.0), "gsd": 0.001}
    frame = table(tmp_path, **place)
    geod = Geod(ellps="WGS84")
    for row in frame.itertuples():
        area, _ = geod.geometry_area_perimeter(shapely.normalize(row.geometry))
        assert row.area_m2 == pytest.approx(abs(area), rel=1e-9)
        length = sum(geod.geometry_length(ring) for ring in [row.geometry.exterior, *row.geometry.interiors])
        assert row.perimeter_m == pytest.approx(length, rel=1e-9)
    # A thousandth of a degree at 60 degrees north is 111.4 m by 55.8 m.
    assert by_class(frame, 2).area_m2.item() == pytest.approx(2 * 111.4 * 55.8, rel=0.002)


def test_holes_count_in_geodesic_perimeters_too(tmp_path):
    classes = np.pad(np.ones((1, 1), np.uint8), 1)
    frame = table(tmp_path, classes, None, crs="EPSG:4326", origin=(0.0, 0.002), gsd=0.001)
    inner, outer = by_class(frame, 1).perimeter_m.item(), by_class(frame, 0).perimeter_m.item()
    assert outer == pytest.approx(4 * inner, rel=1e-3)
    assert by_class(frame, 0).area_m2.item() == pytest.approx(8 * by_class(frame, 1).area_m2.item(), rel=1e-3)


def test_web_mercator_is_measured_on_the_ground(tmp_path):
    place = {"crs": "EPSG:3857", "origin": (1_113_194.9, 8_399_737.9)}
    frame = table(tmp_path, **place)
    # At 60 degrees north its metres are half as long.
    assert by_class(frame, 4).area_m2.item() == pytest.approx(400 / 4, rel=0.01)
    assert by_class(frame, 4).perimeter_m.item() == pytest.approx(100 / 2, rel=0.01)
    (own,) = by_class(frame, 4).geometry
    to_degrees = Transformer.from_crs(3857, 4326, always_xy=True)
    xy = shapely.transform(own, lambda p: np.stack(to_degrees.transform(*p.T), axis=1))
    area, _ = Geod(ellps="WGS84").geometry_area_perimeter(xy)
    assert by_class(frame, 4).area_m2.item() == pytest.approx(abs(area), rel=1e-9)


def test_feet_are_told_in_metres_and_no_crs_in_pixels(tmp_path):
    foot = 1200 / 3937
    feet = table(tmp_path, crs="EPSG:2263", origin=(1_000_000.0, 200_000.0), gsd=2.0)
    assert by_class(feet, 4).area_m2.item() == pytest.approx(4 * 4 * foot**2)
    assert by_class(feet, 4).perimeter_m.item() == pytest.approx(10 * 2 * foot)
    bare = table(tmp_path, crs=None, origin=(0.0, 0.0), gsd=1.0)
    assert by_class(bare, 4).area_m2.item() == 4
    assert by_class(bare, 4).perimeter_m.item() == 10


def test_features_in_another_crs_keep_what_was_measured(tmp_path):
    plain = table(tmp_path)
    moved = table(tmp_path, rules=Rules(LEGEND, crs=CRS("EPSG:4326")))
    assert plain.drop(columns="geometry").equals(moved.drop(columns="geometry"))
    expected = plain.set_geometry("geometry", crs="EPSG:32633").to_crs(4326).geometry
    assert shapely.equals_exact(moved.geometry.to_numpy(), expected.to_numpy(), tolerance=1e-9).all()
    assert shapely.coverage_is_valid(moved.geometry.to_numpy())


def test_classes_are_left_out(tmp_path):
    every = table(tmp_path)
    frame = table(tmp_path, rules=Rules(LEGEND, leave_out=frozenset([0, 4])))
    assert sorted(frame.class_id) == [1, 1, 2]
    assert frame.equals(every[every.class_id.isin([1, 2])].reset_index(drop=True))


def test_doubtful_polygons_are_left_out(tmp_path):
    # What has just the confidence asked for stays.
    for least, classes in (
        (0.29, [0, 1, 1, 2, 4]),
        (0.3, [0, 1, 2, 4]),
        (0.42, [0, 1, 2, 4]),
        (0.65, [0, 1]),
    ):
        frame = table(tmp_path, rules=Rules(LEGEND, minimum_confidence=least))
        assert sorted(frame.class_id) == classes, least
    assert batches(tmp_path, rules=Rules(LEGEND, minimum_confidence=0.99))[0] == []


def test_dissolved_there_is_one_feature_for_each_class(tmp_path):
    frame = table(tmp_path, rules=Rules(LEGEND, dissolve=True))
    assert set(frame.geom_type) == {"MultiPolygon"}
    assert frame.is_valid.all()
    assert [tuple(row) for row in frame.drop(columns="geometry").itertuples(index=False)] == [
        (0, "Class & 0", 800.0, 160.0, 0.8, 0.1, 0.125, True),
        (1, "Class & 1", 600.0, 160.0, 0.5983, 0.29, 0.1667, True),
        (2, "Class & 2", 200.0, 60.0, 0.645, 0.49, 0.5, False),
        (4, "Class & 4", 400.0, 100.0, 0.42, 0.42, 1.0, True),
    ]
    assert len(frame.geometry[1].geoms) == 2


@pytest.mark.parametrize("how", [Generalize(), Generalize(2.0, smooth=1.0)], ids=["exact", "generalised"])
def test_dissolved_classes_are_the_union_of_their_polygons(tmp_path, how):
    classes = with_hole(patches(11))
    plain = table(tmp_path, classes, None, how=how, block=32)
    whole = table(tmp_path, classes, None, how=how, block=32, rules=Rules(LEGEND, dissolve=True))
    assert whole.is_valid.all()
    assert whole.class_id.tolist() == sorted(set(plain.class_id))
    for row in whole.itertuples():
        own = plain[plain.class_id == row.class_id]
        assert len(row.geometry.geoms) == len(own)
        assert row.geometry.normalize().equals(shapely.union_all(own.geometry.to_numpy()))
        assert row.area_m2 == pytest.approx(own.area_m2.sum()) == pytest.approx(row.geometry.area)


def test_nothing_dissolves_to_nothing(tmp_path):
    empty = np.full((4, 4), NODATA, np.uint8)
    assert batches(tmp_path, empty, None, rules=Rules(LEGEND, dissolve=True))[0] == []


def test_objects_have_numbers_and_take_the_class_between_them(tmp_path):
    classes = np.zeros((6, 9), np.uint8)
    classes[1:5, 1:4], classes[1:5, 4], classes[1:5, 5:8] = 1, 2, 1
    numbers = np.zeros(classes.shape, np.uint32)
    numbers[1:5, 1:5], numbers[1:5, 5:8] = 1, 2
    own = np.array([0, 1, 1], np.uint8)
    rules = Rules(LEGEND, with_objects=True)
    frame = table(tmp_path, classes, None, objects=(numbers, own), rules=rules)
    rows = frame[["class_id", "class_name", "object_id", "area_m2"]].sort_values("object_id")
    assert [tuple(r) for r in rows.itertuples(index=False)] == [
        (0, "Class & 0", 0, 2600.0),
        (1, "Class & 1", 1, 1600.0),
        (1, "Class & 1", 2, 1200.0),
    ]
    assert frame.columns.get_loc("object_id") == 2
    left = table(tmp_path, classes, None, objects=(numbers, own),
                 rules=Rules(LEGEND, with_objects=True, leave_out=frozenset([0])))  # fmt: skip
    assert sorted(left.object_id) == [1, 2]


def test_features_come_in_batches(tmp_path, monkeypatch):
    expected = table(tmp_path, patches(12), None)
    monkeypatch.setattr(features_, "_FEATURES", 4)
    made, _ = batches(tmp_path, patches(12), None)
    assert max(b.num_rows for b in made) == 4
    assert table(tmp_path, patches(12), None).equals(expected)


def test_a_map_that_is_not_north_up_first(tmp_path):
    """Rows that go north, as in some weather grids: outlines are right and areas positive."""
    path = save(tmp_path, CLASSES)
    geobox = GeoBox(CLASSES.shape, Affine(10, 0, 0, 0, 10, 0), None)
    assert geobox.boundingbox.bbox == (0, 0, 60, 40)
    found = polygons(MapFiles(path), HERE, how=Generalize(), folder=tmp_path)
    (batch,) = features(found, geobox, Rules(LEGEND))
    rows = batch.to_pandas()
    assert rows.area_m2.min() == 100
    (outline,) = shapely.from_wkb(rows.geom[rows.class_id == 2].to_numpy())
    assert outline.equals(shapely.box(10, 10, 30, 20))
