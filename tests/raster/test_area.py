import math

import numpy as np
import pytest
from affine import Affine
from odc.geo.geobox import GeoBox

from geoseg.core.legend import Legend, LegendClass
from geoseg.raster.area import class_areas_m2, pixel_area_m2
from tests.conftest import write_raster

LEGEND = Legend(tuple(LegendClass(i, f"c{i}", f"C{i}", "#000000") for i in (2, 0, 7)))


def box(crs, width, height, top=0.0, shape=(10, 10)):
    return GeoBox(shape, Affine(width, 0, 0, 0, -height, top), crs)


def zone_m2(north, south, width):
    """Area of a latitude zone of the WGS 84 ellipsoid, `width` degrees wide (closed form)."""
    a, b = 6378137.0, 6356752.314245179
    e = math.sqrt(1 - (b / a) ** 2)

    def q(lat):
        s = math.sin(math.radians(lat))
        return s / (1 - (e * s) ** 2) + math.atanh(e * s) / e

    return math.radians(width) * b**2 / 2 * (q(north) - q(south))


def test_pixels_of_a_projected_grid_have_one_area():
    assert pixel_area_m2(box("EPSG:32633", 10, 20)).tolist() == [200.0] * 10


def test_pixels_in_feet_are_counted_in_metres():
    assert pixel_area_m2(box("EPSG:2263", 3, 3)) == pytest.approx(9 * (1200 / 3937) ** 2)


def test_without_a_crs_there_is_no_area(tmp_path):
    geobox = box(None, 1, 1)
    path = write_raster(tmp_path / "a.tif", np.zeros((10, 10), np.uint8), crs=None)
    assert pixel_area_m2(geobox) is None
    assert class_areas_m2(path, geobox, LEGEND) is None


@pytest.mark.parametrize("top", [0.01, 45.0, -30.0, 89.9])
def test_pixels_of_a_geographic_grid_have_the_area_of_their_zone(top):
    step = 0.01
    found = pixel_area_m2(box("EPSG:4326", step, step, top))
    expected = [zone_m2(top - i * step, top - (i + 1) * step, step) for i in range(10)]
    assert found == pytest.approx(expected, rel=1e-5)


def test_the_areas_of_classes_are_summed(tmp_path):
    values = np.zeros((1100, 8), np.uint8)
    values[:3] = 2
    values[600:, 4:] = 255
    path = write_raster(tmp_path / "a.tif", values)
    found = class_areas_m2(path, box("EPSG:32633", 10, 10, shape=(1100, 8)), LEGEND)
    assert found == {"c0": (1100 * 8 - 24 - 500 * 4) * 100.0, "c2": 2400.0, "c7": 0.0}
    assert list(found) == ["c0", "c2", "c7"]


def test_every_row_of_a_geographic_map_counts_with_its_own_area(tmp_path):
    geobox = box("EPSG:4326", 0.05, 0.05, 60.0, (1000, 2))
    values = np.zeros((1000, 2), np.uint8)
    values[700:, 1] = 7
    path = write_raster(tmp_path / "a.tif", values, gsd=0.05, origin=(0.0, 60.0), crs="EPSG:4326")
    found = class_areas_m2(path, geobox, LEGEND)
    assert found["c7"] == pytest.approx(zone_m2(25, 10, 0.05), rel=1e-5)
    assert found["c0"] == pytest.approx(zone_m2(60, 25, 0.1) + zone_m2(25, 10, 0.05), rel=1e-5)
