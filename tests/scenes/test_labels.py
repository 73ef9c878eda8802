import json
import pickle
import warnings
from concurrent.futures import ThreadPoolExecutor

import geopandas as gpd
import numpy as np
import pandas as pd
import pytest
import rasterio
from affine import Affine
from odc.geo.geobox import GeoBox
from rasterio.enums import ColorInterp, Resampling
from rasterio.features import rasterize
from rasterio.warp import reproject
from shapely.geometry import Point, box

from geoseg.core.errors import GeosegWarning, SceneError
from geoseg.core.geometry import Window
from geoseg.core.legend import UNLABELLED
from geoseg.scenes import labels as labels_module
from geoseg.scenes import sources
from geoseg.scenes.labels import open_labels
from tests.conftest import UTM, write_raster

CODES = np.random.default_rng(5).integers(0, 9, (60, 50)).astype(np.uint8)
WHOLE = Window.of(0, 0, 60, 50)


@pytest.fixture
def grid(tmp_path) -> GeoBox:
    """The grid of a 60 x 50 px scene at 10 m."""
    return sources.inspect(str(write_raster(tmp_path / "scene.tif", np.zeros((60, 50), np.uint8)))).geobox


def in_parts(labels, side=17):
    whole = np.full((60, 50), -99, dtype=np.int32)
    for row in range(0, 60, side):
        for col in range(0, 50, side):
            window = Window.of(row, col, side, side).clip((60, 50))
            whole[window.relative_to(WHOLE)] = labels.read(window)
    return whole


def square(grid, row, col, size):
    """The polygon over some pixels of a grid."""
    x, y = grid.transform * (col, row)
    return box(x, y - size * 10, x + size * 10, y)


@pytest.mark.parametrize("dtype", ["uint8", "int16", "uint32", "int64", "float32"])
def test_a_raster_on_the_grid_is_read_as_it_is(tmp_path, grid, dtype):
    path = write_raster(tmp_path / "labels.tif", CODES.astype(dtype), nodata=0)
    labels = open_labels(str(path), grid)
    expected = np.where(CODES == 0, UNLABELLED, CODES.astype(int))
    assert labels.read(WHOLE).dtype == np.int32
    np.testing.assert_array_equal(labels.read(WHOLE), expected)
    np.testing.assert_array_equal(in_parts(labels), expected)


def test_beyond_the_grid_and_beyond_the_labels_nothing_is_said(tmp_path, grid):
    part = write_raster(tmp_path / "labels.tif", CODES[10:20, 5:30] + 1, origin=(500_050, 4_499_900))
    found = open_labels(str(part), grid).read(Window.of(-4, -3, 70, 60))
    expected = np.full((70, 60), UNLABELLED)
    expected[14:24, 8:33] = CODES[10:20, 5:30] + 1
    np.testing.assert_array_equal(found, expected)


def test_masked_pixels_nan_and_a_nodata_that_the_type_cannot_hold(tmp_path, grid):
    values = CODES.astype(np.float32)
    values[3, 4] = np.nan
    found = open_labels(str(write_raster(tmp_path / "f.tif", values, nodata=-9999)), grid).read(WHOLE)
    assert found[3, 4] == UNLABELLED
    assert (found == UNLABELLED).sum() == 1
    alpha = np.where(CODES == 5, 0, 255).astype(np.uint8)
    path = write_raster(tmp_path / "alpha.tif", np.stack([CODES, alpha]), alpha="yes")
    found = open_labels(str(path), grid).read(WHOLE)
    np.testing.assert_array_equal(found == UNLABELLED, CODES == 5)


def test_another_gsd_takes_the_label_under_each_centre_and_says_so(tmp_path, grid):
    coarse = CODES[:21, :18]
    path = write_raster(tmp_path / "labels.tif", coarse, gsd=30)
    with pytest.warns(GeosegWarning, match=r"EPSG:32633, GSD 30 m, are brought to EPSG:32633, GSD 10 m"):
        labels = open_labels(str(path), grid)
    np.testing.assert_array_equal(in_parts(labels), coarse.repeat(3, 0).repeat(3, 1)[:60, :50])


@pytest.mark.parametrize("most", [1 << 24, 100])
def test_another_crs_is_the_nearest_neighbour_of_gdal_for_any_window(tmp_path, grid, monkeypatch, most):
    monkeypatch.setattr(labels_module, "_MOST_PIXELS", most)
    geo = GeoBox((140, 130), Affine(0.00005, 0, 15.0, 0, -0.00005, 40.6505), "EPSG:4326")
    noise = np.random.default_rng(1).integers(0, 200, (geo.shape.y, geo.shape.x)).astype(np.uint8)
    path = tmp_path / "labels.tif"
    with rasterio.open(
        path, "w", driver="GTiff", count=1, height=geo.shape.y, width=geo.shape.x, dtype="uint8",
        crs="EPSG:4326", transform=geo.transform,
    ) as dst:  # fmt: skip
        dst.write(noise, 1)
    with pytest.warns(GeosegWarning, match="EPSG:4326, GSD .* are brought to EPSG:32633"):
        labels = open_labels(str(path), grid)
    expected = np.full((60, 50), 255, np.uint8)
    reproject(noise, expected, src_transform=geo.transform, src_crs="EPSG:4326", dst_transform=grid.transform,
              dst_crs=UTM, resampling=Resampling.nearest, tolerance=0, init_dest_nodata=False)  # fmt: skip
    found = in_parts(labels)
    assert 0 < (found == UNLABELLED).sum() < 400
    assert (np.where(found == UNLABELLED, 255, found) == expected).mean() > 0.999
    np.testing.assert_array_equal(found, labels.read(WHOLE))


def test_without_a_crs_a_raster_of_the_same_shape_fits(tmp_path):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for name, codes in (("a.png", CODES), ("b.png", CODES[:30])):
            with rasterio.open(tmp_path / name, "w", driver="PNG", count=1, height=len(codes), width=50,
                               dtype="uint8") as dst:  # fmt: skip
                dst.write(codes, 1)
        photo = GeoBox((60, 50), sources.inspect(str(tmp_path / "a.png")).geobox.transform, None)
        np.testing.assert_array_equal(open_labels(str(tmp_path / "a.png"), photo).read(WHOLE), CODES)
        with pytest.raises(SceneError, match="30 x 50 labels for 60 x 50 pixels"):
            open_labels(str(tmp_path / "b.png"), photo)
    with pytest.raises(SceneError, match="CRS of the labels is EPSG:32633, that of the scene none"):
        open_labels(str(write_raster(tmp_path / "c.tif", CODES)), photo)


def test_measurements_and_pictures_are_no_labels(tmp_path, grid):
    path = write_raster(tmp_path / "ndvi.tif", (CODES + 0.5).astype(np.float32))
    with pytest.raises(SceneError, match=r"ndvi\.tif: holds \d\.5 at rows 0-60.*whole-number codes"):
        open_labels(str(path), grid).read(WHOLE)
    with pytest.raises(SceneError, match="has 3 bands; labels are one band"):
        open_labels(str(write_raster(tmp_path / "rgb.tif", np.stack([CODES] * 3))), grid)


@pytest.mark.parametrize("bands", [1, 2])
def test_labels_behind_an_alpha_band_are_told_as_such(tmp_path, grid, bands):
    path = write_raster(tmp_path / "labels.tif", np.stack([CODES] * bands))
    with rasterio.open(path, "r+") as dst:
        dst.colorinterp = [ColorInterp.alpha, ColorInterp.gray][:bands]
    with pytest.raises(SceneError, match=r"its band 1 is alpha.*gdal_edit\.py -colorinterp_1 gray"):
        open_labels(str(path), grid)


def test_labels_elsewhere_are_told_with_both_extents(tmp_path, grid):
    path = write_raster(tmp_path / "labels.tif", CODES, origin=(700_000, 4_500_000))
    with pytest.raises(SceneError, match=r"do not overlap.* 700000, 4499400, 700500.*scene 500000, 4499400"):
        open_labels(str(path), grid)


def shapes(grid):
    """Overlapping squares, the later on top."""
    return [
        square(grid, 5, 5, 20),
        square(grid, 15, 10, 20),
        square(grid, 30, 20, 9),
        square(grid, 50, 45, 30),
    ]


def test_a_crs_that_lies_nowhere_on_earth_is_told(tmp_path, grid):
    local = 'LOCAL_CS["site plan",UNIT["metre",1]]'
    path = write_raster(tmp_path / "labels.tif", CODES, crs=local)
    with pytest.raises(SceneError, match=r"labels in site plan cannot be brought to EPSG:32633 of the scene"):
        open_labels(str(path), grid)


def test_a_line_through_pixel_centres_is_the_same_for_any_window(tmp_path, grid):
    halves = [square(grid, r + 0.5, c + 0.5, 7) for r in range(0, 60, 7) for c in range(0, 50, 7)]
    gpd.GeoDataFrame({"class_id": range(len(halves))}, geometry=halves, crs=UTM).to_file(
        tmp_path / "labels.gpkg"
    )
    labels = open_labels(str(tmp_path / "labels.gpkg"), grid)
    np.testing.assert_array_equal(in_parts(labels), labels.read(WHOLE))


@pytest.mark.parametrize("suffix", ["gpkg", "geojson", "shp", "fgb"])
def test_polygons_are_burned_by_pixel_centre_the_later_on_top(tmp_path, grid, suffix):
    frame = gpd.GeoDataFrame({"kind": [3, 7, 2, 9]}, geometry=shapes(grid), crs=UTM)
    if suffix == "fgb":
        frame = frame.iloc[[0, 2, 3]]  # its writer sorts the features
    path = tmp_path / f"labels.{suffix}"
    frame.to_file(path)
    expected = rasterize(zip(frame.geometry, frame["kind"], strict=True), out_shape=(60, 50), fill=-1,
                         transform=grid.transform, dtype="int32")  # fmt: skip
    with warnings.catch_warnings():
        warnings.simplefilter("ignore" if suffix == "geojson" else "error")
        labels = open_labels(str(path), grid, attribute="kind")
    found = in_parts(labels)
    np.testing.assert_array_equal(found, labels.read(WHOLE))
    np.testing.assert_array_equal(found, expected)


def test_polygons_of_another_crs_are_reprojected_and_that_is_said(tmp_path, grid):
    frame = gpd.GeoDataFrame({"class_id": [3, 7]}, geometry=shapes(grid)[:2], crs=UTM)
    frame.to_crs(4326).to_file(tmp_path / "labels.gpkg")
    with pytest.warns(GeosegWarning, match="labels in EPSG:4326 are reprojected to EPSG:32633"):
        found = in_parts(open_labels(str(tmp_path / "labels.gpkg"), grid))
    assert (found[5:25, 5:10] == 3).all()
    assert (found[15:35, 10:30] == 7).all()
    assert (found >= 0).sum() == 400 + 400 - 150


def test_only_the_features_of_the_window_are_read(tmp_path, grid, monkeypatch):
    cells = [square(grid, r, c, 1) for r in range(60) for c in range(50)]
    gpd.GeoDataFrame({"class_id": range(3000)}, geometry=cells, crs=UTM).to_file(tmp_path / "labels.gpkg")
    labels, read = open_labels(str(tmp_path / "labels.gpkg"), grid), []
    from geoseg.scenes import burning

    real = burning.pyogrio.read_dataframe
    monkeypatch.setattr(
        burning.pyogrio, "read_dataframe", lambda *a, **k: read.append(real(*a, **k)) or read[-1]
    )
    np.testing.assert_array_equal(
        labels.read(Window.of(20, 10, 5, 5)), np.arange(3000).reshape(60, 50)[20:25, 10:15]
    )
    assert 25 <= len(read[0]) <= 121


def test_names_are_looked_up_regardless_of_case(tmp_path, grid):
    frame = gpd.GeoDataFrame(
        {"class_name": ["Tree Cover", " WATER", None, "4"]}, geometry=shapes(grid), crs=UTM
    )
    frame.to_file(tmp_path / "labels.gpkg")
    names = {"tree": 1, "Tree cover": 1, "water": 6}
    found = open_labels(str(tmp_path / "labels.gpkg"), grid, names=names).read(WHOLE)
    assert set(np.unique(found)) == {-1, 1, 4, 6}
    with pytest.raises(SceneError, match=r"class_name 'Tree Cover' is no class; known: trees, water"):
        open_labels(str(tmp_path / "labels.gpkg"), grid, names={"trees": 1, "water": 6}).read(WHOLE)


@pytest.mark.parametrize("values", [pd.to_datetime(["2020-05-01"]), ["--5"], ["5-"], [1.5]])
def test_a_column_that_holds_no_classes_is_told(tmp_path, grid, values):
    frame = gpd.GeoDataFrame({"seen": values}, geometry=shapes(grid)[:1], crs=UTM)
    frame.to_file(tmp_path / "labels.gpkg")
    with pytest.raises(SceneError, match=r"labels\.gpkg: seen (is [12]|'-?-?5-?' is no class)"):
        open_labels(str(tmp_path / "labels.gpkg"), grid, attribute="seen").read(WHOLE)


def test_an_unclear_column_or_layer_lists_what_there_is(tmp_path, grid):
    frame = gpd.GeoDataFrame({"kind": [3], "note": ["x"]}, geometry=shapes(grid)[:1], crs=UTM)
    path = tmp_path / "labels.gpkg"
    frame.to_file(path, layer="one")
    with pytest.raises(SceneError, match=r"which column holds the class\?.*columns: kind, note"):
        open_labels(str(path), grid)
    with pytest.raises(SceneError, match=r"no column 'kinds'; did you mean 'kind'\?; columns: kind, note"):
        open_labels(str(path), grid, attribute="kinds")
    frame.to_file(path, layer="two")
    with pytest.raises(SceneError, match=r"which layer\?.*one, two"):
        open_labels(str(path), grid, attribute="kind")
    assert open_labels(str(path), grid, attribute="kind", layer="two").read(WHOLE).max() == 3


def test_files_that_hold_no_polygons_are_told(tmp_path, grid):
    with pytest.raises(SceneError, match=r"gone\.gpkg: no such file"):
        open_labels(str(tmp_path / "gone.gpkg"), grid)
    (tmp_path / "bad.gpkg").write_bytes(b"nonsense")
    with pytest.raises(SceneError, match=r"bad\.gpkg: cannot be read as polygons"):
        open_labels(str(tmp_path / "bad.gpkg"), grid)
    points = gpd.GeoDataFrame({"class_id": [1]}, geometry=[Point(500_100, 4_499_900)], crs=UTM)
    points.to_file(tmp_path / "points.gpkg")
    with pytest.raises(SceneError, match="holds Point; labels are polygons"):
        open_labels(str(tmp_path / "points.gpkg"), grid)
    (tmp_path / "empty.geojson").write_text(json.dumps({"type": "FeatureCollection", "features": []}))
    with pytest.raises(SceneError, match=r"empty\.geojson"):
        open_labels(str(tmp_path / "empty.geojson"), grid)


@pytest.mark.parametrize("kind", ["tif", "gpkg"])
def test_labels_can_be_pickled_and_read_by_many_threads(tmp_path, grid, kind):
    path = tmp_path / f"labels.{kind}"
    if kind == "tif":
        write_raster(path, CODES)
    else:
        gpd.GeoDataFrame({"class_id": [3, 7]}, geometry=shapes(grid)[:2], crs=UTM).to_file(path)
    labels = pickle.loads(pickle.dumps(open_labels(str(path), grid)))  # noqa: S301
    assert labels.identity()["path"] == str(path)
    assert labels.identity()["files"][0][:2] == [str(path), path.stat().st_size]
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda _: labels.read(WHOLE), range(8)))
    for one in found:
        np.testing.assert_array_equal(one, found[0])
