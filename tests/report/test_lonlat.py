"""The page's own way from pixels to longitude and latitude, against PROJ."""

import pytest
from odc.geo.geobox import GeoBox
from pyproj import Transformer

from geoseg.report.lonlat import lonlat_of


@pytest.mark.parametrize(
    ("crs", "bounds", "resolution", "metres"),
    [
        ("EPSG:32633", (399_960, 4_990_200, 509_760, 5_100_000), 10, 0.1),
        ("EPSG:32633", (500_000, 4_990_200, 500_300, 4_990_500), 0.1, 0.02),
        ("EPSG:32733", (166_000, 1_100_000, 834_000, 9_900_000), 30, 15),
        ("EPSG:3413", (-500_000, -500_000, 500_000, 500_000), 100, 1),  # the pole is in the middle
        ("EPSG:32601", (100_000, 7_000_000, 300_000, 7_200_000), 30, 0.1),  # across the antimeridian
        ("EPSG:5070", (-2e6, 3e5, 2e6, 3e6), 30, 5),
    ],
)
def test_places_are_those_of_proj(crs, bounds, resolution, metres):
    geobox = GeoBox.from_bbox(bounds, crs, resolution=resolution)
    fit, back = lonlat_of(geobox), Transformer.from_crs(4326, crs, always_xy=True)
    for down, right in ((0, 0), (0.5, 0.5), (0.13, 0.87), (1, 1), (0.99, 0.01)):
        col, row = right * geobox.shape.x, down * geobox.shape.y
        found = back.transform(*fit.at(col, row, geobox.shape))
        assert found == pytest.approx(geobox.transform @ (col, row), abs=metres)


@pytest.mark.parametrize(
    "geobox",
    [
        GeoBox((10, 10), GeoBox.from_bbox((0, 0, 1, 1), 4326, shape=10).transform, None),
        GeoBox.from_bbox((-2.0e7, -2.0e7, 2.0e7, 2.0e7), "EPSG:3857", resolution=10_000),
        GeoBox.from_bbox((-9e6, -9e6, 9e6, 9e6), "EPSG:3413", resolution=10_000).pad(900),
    ],
)
def test_what_has_no_place_on_the_earth_gets_none(geobox):
    assert lonlat_of(geobox) is None


def test_digits_follow_the_pixel():
    digits = [
        lonlat_of(GeoBox.from_bbox((500_000, 0, 500_000 + 50 * r, 50 * r), 32633, resolution=r)).digits
        for r in (0.1, 1, 10, 1000)
    ]
    assert digits == sorted(digits, reverse=True)
    assert digits[0] == 7
