import numpy as np
import pytest
import rasterio
import shapely
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from pyproj import Geod
from rasterio import features
from shapely.geometry import shape

from geoseg.core.legend import NODATA, Legend, LegendClass
from geoseg.vector.polygons import trace
from tests.conftest import write_raster

LEGEND = Legend(tuple(LegendClass(i, f"c{i}", f"Class {i}", "#000000") for i in (1, 2, 0)))
VALUES = st.sampled_from([0, 1, 2, NODATA])
MAPS = arrays(np.uint8, st.tuples(st.integers(1, 12), st.integers(1, 12)), elements=VALUES)
MANY = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def traced(folder, classes, *, gsd=10.0, origin=(500_000.0, 4_500_000.0), crs="EPSG:32633", **options):
    path = write_raster(folder / "map.tif", classes, gsd=gsd, origin=origin, crs=crs, nodata=NODATA)
    return trace(path, LEGEND, **options), rasterio.transform.from_origin(*origin, gsd, gsd)


def smooth_map(seed, shape=(60, 70)):
    """Give a map of three classes in patches, with a hole of nodata."""
    rng = np.random.default_rng(seed)
    classes = rng.integers(0, 3, (shape[0] // 5 + 1, shape[1] // 5 + 1), dtype=np.uint8)
    classes = classes.repeat(5, axis=0).repeat(5, axis=1)[: shape[0], : shape[1]].copy()
    noise = rng.random(shape) < 0.05
    classes[noise] = rng.integers(0, 3, noise.sum())
    classes[20:30, 30:45] = NODATA
    return classes


def keys(geometries, ids):
    return sorted((int(i), g.normalize().wkt) for g, i in zip(geometries, ids, strict=True))


@MANY
@given(MAPS)
def test_polygons_are_those_of_rasterio(tmp_path, classes):
    frame, transform = traced(tmp_path, classes)
    pairs = list(features.shapes(classes, mask=classes != NODATA, connectivity=4, transform=transform))
    expected = keys([shape(g) for g, _ in pairs], [v for _, v in pairs])
    assert keys(frame.geometry, frame.class_id) == expected
    assert frame.geometry.is_valid.all()


@MANY
@given(MAPS)
def test_areas_are_those_of_the_pixels(tmp_path, classes):
    frame, _ = traced(tmp_path, classes)
    assert list(frame.columns) == ["class_id", "class_name", "area_m2", "geometry"]
    for value in (0, 1, 2):
        assert frame.area_m2[frame.class_id == value].sum() == pytest.approx((classes == value).sum() * 100)
    assert NODATA not in set(frame.class_id)
    assert set(frame.class_name) == {f"Class {i}" for i in set(frame.class_id)}


@MANY
@given(MAPS)
def test_polygons_rasterise_back_to_the_map(tmp_path, classes):
    frame, transform = traced(tmp_path, classes)
    if len(frame) == 0:
        assert (classes == NODATA).all()
        return
    back = features.rasterize(
        zip(frame.geometry, frame.class_id, strict=True), classes.shape, fill=NODATA, transform=transform
    )
    assert (back == classes).all()


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("tolerance", [0.7, 2.0, 6.0])
def test_a_simplified_map_has_no_gap_and_no_overlap(tmp_path, seed, tolerance):
    classes = smooth_map(seed)
    frame, _ = traced(tmp_path, classes, simplify_pixels=tolerance)
    geometry = np.array(frame.geometry)
    # A gap between polygons would take from the sum, an overlap would add to it.
    assert shapely.coverage_is_valid(geometry)
    assert shapely.is_valid(geometry).all()
    assert frame.area_m2.sum() == pytest.approx((classes != NODATA).sum() * 100, rel=1e-9)
    plain, _ = traced(tmp_path, classes)
    assert frame.class_id.tolist() == plain.class_id.tolist()


# Below about a pixel the junctions, which only simplified polygons carry, outweigh what is saved.
@pytest.mark.parametrize("tolerance", [2.0, 6.0])
def test_simplifying_saves_vertices(tmp_path, tolerance):
    classes = smooth_map(2)
    plain, simple = (
        int(traced(tmp_path, classes, simplify_pixels=t)[0].geometry.count_coordinates().sum())
        for t in (0.0, tolerance)
    )
    assert simple <= plain


def test_simplifying_keeps_the_border_of_the_map(tmp_path):
    classes = smooth_map(9)
    classes[20:30, 30:45] = 1
    frame, _ = traced(tmp_path, classes, simplify_pixels=3.0)
    outline = shapely.union_all(np.array(frame.geometry))
    assert outline.equals(shapely.box(500_000, 4_500_000 - 600, 500_700, 4_500_000))


def test_a_straight_diagonal_replaces_a_staircase(tmp_path):
    classes = (np.add.outer(np.arange(40), np.arange(40)) > 40).astype(np.uint8)
    frame, _ = traced(tmp_path, classes, simplify_pixels=2.0)
    assert len(frame) == 2
    assert frame.area_m2.sum() == pytest.approx(1600 * 100)
    vertices = int(frame.geometry.count_coordinates().max())
    assert vertices < 40


def test_small_regions_join_their_largest_neighbour(tmp_path):
    classes = np.zeros((20, 20), np.uint8)
    classes[:, 10:] = 1
    classes[5:7, 4:6] = 2
    classes[5, 9] = 1
    classes[15, 12] = 2
    before, _ = traced(tmp_path, classes)
    assert sorted(before.area_m2) == [100, 400, 19_500, 20_000]
    after, _ = traced(tmp_path, classes, minimum_pixels=4)
    assert sorted(zip(after.class_id, after.area_m2, strict=True)) == [(0, 19_500), (1, 20_100), (2, 400)]
    larger, _ = traced(tmp_path, classes, minimum_pixels=5)
    assert sorted(zip(larger.class_id, larger.area_m2, strict=True)) == [(0, 19_900), (1, 20_100)]


def test_small_regions_that_touch_at_a_corner_are_small(tmp_path):
    classes = np.zeros((8, 8), np.uint8)
    classes[3, 3] = classes[4, 4] = 1
    frame, _ = traced(tmp_path, classes, minimum_pixels=2)
    assert frame.area_m2.tolist() == [6400]


@pytest.mark.parametrize("minimum", [0, 1])
def test_without_a_minimum_every_pixel_stays(tmp_path, minimum):
    classes = np.zeros((5, 5), np.uint8)
    classes[2, 2] = 1
    frame, _ = traced(tmp_path, classes, minimum_pixels=minimum)
    assert sorted(frame.area_m2) == [100, 2400]


def test_nodata_neither_joins_nor_receives(tmp_path):
    classes = np.full((12, 12), NODATA, np.uint8)
    classes[4:6, 4:6] = 1
    classes[8:11, 1:11] = 2
    classes[9, 5] = NODATA
    frame, _ = traced(tmp_path, classes, minimum_pixels=10)
    assert frame.area_m2[frame.class_id == 2].sum() == 29 * 100
    assert frame.area_m2.sum() == 33 * 100


def test_a_map_of_nodata_has_no_polygons(tmp_path):
    for options in ({}, {"minimum_pixels": 9}, {"simplify_pixels": 2.0}):
        frame, _ = traced(tmp_path, np.full((9, 9), NODATA, np.uint8), **options)
        assert len(frame) == 0
        assert list(frame.columns) == ["class_id", "class_name", "area_m2", "geometry"]
        assert frame.crs.to_epsg() == 32633


def test_areas_of_a_geographic_map_are_geodesic(tmp_path):
    classes = np.zeros((10, 10), np.uint8)
    classes[2:5, 3:9] = 1
    frame, _ = traced(tmp_path, classes, gsd=0.001, origin=(13.0, 60.0), crs="EPSG:4326")
    geod = Geod(ellps="WGS84")
    west, east, north, south = 13.003, 13.009, 59.998, 59.995
    expected, _ = geod.polygon_area_perimeter([west, west, east, east], [north, south, south, north])
    assert frame.area_m2[frame.class_id == 1].item() == pytest.approx(abs(expected), rel=1e-4)
    whole, _ = geod.polygon_area_perimeter([13, 13, 13.01, 13.01], [60, 59.99, 59.99, 60])
    assert frame.area_m2.sum() == pytest.approx(abs(whole), rel=1e-4)


def test_areas_in_feet_are_told_in_metres_and_without_crs_in_pixels(tmp_path):
    classes = np.ones((4, 5), np.uint8)
    feet, _ = traced(tmp_path, classes, gsd=2.0, crs="EPSG:2263", origin=(1_000_000, 200_000))
    assert feet.area_m2.item() == pytest.approx(80 * (1200 / 3937) ** 2)
    bare, _ = traced(tmp_path / "bare", classes, gsd=1.0, crs=None)
    assert bare.area_m2.item() == 20
    assert bare.crs is None


def test_a_class_that_the_legend_does_not_know_keeps_its_number(tmp_path):
    frame, _ = traced(tmp_path, np.full((3, 3), 9, np.uint8))
    assert frame.class_name.tolist() == ["9"]


def test_areas_in_web_mercator_are_those_on_the_ground(tmp_path):
    classes = np.ones((20, 20), np.uint8)
    path = write_raster(
        tmp_path / "c.tif", classes, crs="EPSG:3857", origin=(1_113_194.9, 8_399_737.9), nodata=255
    )
    assert trace(path, LEGEND).area_m2.sum() == pytest.approx(400 * 25, rel=0.01)


def test_no_region_smaller_than_the_minimum_is_left_beside_a_neighbour(tmp_path):
    classes = np.random.default_rng(0).integers(1, 4, (200, 200)).astype(np.uint8)
    path = write_raster(tmp_path / "c.tif", classes, nodata=255)
    frame = trace(path, LEGEND, minimum_pixels=9)
    assert (frame.area_m2 >= 900).all()
    everything = trace(path, LEGEND, minimum_pixels=10**9)
    assert len(everything) < 10
    assert everything.area_m2.sum() == 200 * 200 * 100
