"""How polygons are measured where a projection cannot tell its scale: planar, as the areas of pixels are."""

import numpy as np
import pytest
import shapely
from affine import Affine
from odc.geo.geobox import GeoBox
from pyproj import Transformer

from geoseg.raster.area import pixel_area_m2
from geoseg.scenes.grid import areal_scale, areal_scales
from geoseg.vector.write.geodesy import GroundMeasure, divided, longest_edge, transformed

SATELLITE = "+proj=geos +h=35785831 +lon_0=0 +sweep=y +ellps=WGS84"


def grid(crs, west=1000.0, north=2000.0, gsd=10.0):
    return GeoBox((6, 4), Affine(gsd, 0, west, 0, -gsd, north), crs)


def outline(geobox):
    return np.array([shapely.box(*geobox.boundingbox)], object)


@pytest.mark.parametrize(("unit", "metres"), [('UNIT["metre",1]', 1.0), ('UNIT["foot",0.3048]', 0.3048)])
def test_an_engineering_crs_has_planar_measures(unit, metres):
    geobox = grid(f'LOCAL_CS["site plan",{unit}]')
    measure = GroundMeasure.of(geobox)
    assert measure.areas(outline(geobox)) == pytest.approx([60 * 40 * metres**2])
    assert measure.lengths(outline(geobox)) == pytest.approx([200 * metres])
    assert pixel_area_m2(geobox).sum() * 4 == pytest.approx(60 * 40 * metres**2)


def test_beyond_the_disk_of_a_satellite_polygons_and_pixels_have_the_same_area():
    geobox = grid(SATELLITE, west=5.6e6, north=5.6e6, gsd=3000.0)
    assert areal_scale(geobox.crs, 5.606e6, 5.591e6) == 1
    assert GroundMeasure.of(geobox).geod is None
    assert GroundMeasure.of(geobox).areas(outline(geobox)) == pytest.approx([24 * 3000.0**2])
    assert pixel_area_m2(geobox).sum() * 4 == pytest.approx(24 * 3000.0**2)


def test_on_the_disk_of_a_satellite_both_take_its_scale_out():
    geobox = grid(SATELLITE, west=3e6, north=3e6, gsd=30.0)
    (area,) = GroundMeasure.of(geobox).areas(outline(geobox))
    assert area > 1.5 * 24 * 30.0**2
    assert pixel_area_m2(geobox).sum() * 4 == pytest.approx(area, rel=0.01)


@pytest.mark.parametrize("rows", [6, 60, 600])
def test_a_map_over_the_limit_of_what_is_planar_has_one_measure(rows):
    """In the middle the scale is accepted, at the ends perhaps not: pixels and polygons ask everywhere."""
    crs = "+proj=merc +lat_ts=45 +ellps=WGS84"
    _, middle = Transformer.from_crs("EPSG:4326", crs, always_xy=True).transform(0, 45)
    geobox = GeoBox((rows, 4), Affine(3000, 0, 0, 0, -3000, middle + 1500 * rows), crs)
    (area,) = GroundMeasure.of(geobox).areas(outline(geobox))
    assert pixel_area_m2(geobox).sum() * 4 == pytest.approx(area, rel=1e-6)
    ends = geobox.boundingbox
    scales = [areal_scale(geobox.crs, 0, y) for y in (ends.bottom, (ends.bottom + ends.top) / 2, ends.top)]
    assert abs(scales[1] - 1) < 0.01
    assert (abs(scales[0] - 1) > 0.01) == (rows > 6) == (GroundMeasure.of(geobox).geod is not None)


@pytest.mark.parametrize(
    ("crs", "left", "top", "gsd"),
    [
        ("EPSG:3857", -1e7, 1e7, 200_000),  # half the world: its middle has the scale 1
        ("EPSG:3857", 1e6, 8e6, 10_000),
        ("EPSG:3832", 3e6, 4e6, 10_000),
        ("EPSG:3413", -3e6, 3e6, 60_000),  # the scale changes along a row, too
        ("EPSG:4326", 10, 80, 1),  # edges along parallels
        ("EPSG:4326", 150, 50, 1),
    ],
)
def test_large_maps_have_the_area_of_the_ground(crs, left, top, gsd):
    shape = (100, 100)
    geobox = GeoBox(shape, Affine(gsd, 0, left, 0, -gsd, top), crs)
    (area,) = GroundMeasure.of(geobox).areas(outline(geobox))
    pixels = pixel_area_m2(geobox).sum() * shape[1]
    assert area == pytest.approx(pixels, rel=1e-2)
    if geobox.crs.geographic:  # a zone of the ellipsoid
        return
    row, col = np.mgrid[: shape[0], : shape[1]] + 0.5
    exact = gsd**2 / areal_scales(geobox.crs, *(geobox.transform * (col, row)))
    assert pixels == pytest.approx(exact.sum(), rel=2e-3)


def test_an_island_near_a_long_coast_stays_in_its_sea():
    """The edge of the map is 110 km long; straight in degrees, it would pass 230 m beside itself."""
    geobox = GeoBox((10980, 10980), Affine(10, 0, 500_000, 0, -10, 5_000_000), "EPSG:32631")
    west, south, east, north = geobox.boundingbox
    island = [(554_890, s) for s in (north - 20, north - 10)] + [
        (554_910, s) for s in (north - 10, north - 20)
    ]
    sea = np.array([shapely.Polygon(shapely.box(west, south, east, north).exterior, [island])], object)
    degrees = Transformer.from_crs("EPSG:32631", "EPSG:4326", always_xy=True)
    assert not shapely.is_valid(transformed(sea, degrees))[0]
    fine = divided(sea, longest_edge(geobox))
    assert shapely.equals(fine, sea)[0]
    assert shapely.is_valid(transformed(fine, degrees))[0]


def test_neighbours_are_divided_at_the_same_vertices():
    corners = np.array([[0, 0], [1000.1, 300.7], [0.3, 900]])
    one = shapely.Polygon(corners)
    other = shapely.Polygon([corners[1], corners[0], [700, -900.2]])
    fine = divided(np.array([one, shapely.MultiPolygon([other])], object), 10)
    first, second = (set(map(tuple, shapely.get_coordinates(g).tolist())) for g in fine)
    assert len(first & second) == 106
    assert [g.geom_type for g in fine] == ["Polygon", "MultiPolygon"]


def pixels_m2(geobox):
    return pixel_area_m2(geobox).sum() * geobox.shape.x


WIDE = {
    "world": (90, 180, Affine(2, 0, -180, 0, -2, 90), "EPSG:4326"),
    "0 to 360": (90, 180, Affine(2, 0, 0, 0, -2, 90), "EPSG:4326"),
    "five sixths": (85, 150, Affine(2, 0, -150, 0, -2, 85), "EPSG:4326"),
    "past 180": (70, 150, Affine(2, 0, 30, 0, -2, 70), "EPSG:4326"),
    "a hemisphere": (45, 180, Affine(2, 0, -180, 0, -2, 90), "EPSG:4326"),
    "more of the south": (50, 180, Affine(2, 0, -180, 0, -2, 10), "EPSG:4326"),
    "Mercator": (200, 150, Affine(2e5, 0, -1.5e7, 0, -2e5, 2e7), "EPSG:3395"),
    "beyond the equator": (300, 300, Affine(1e5, 0, -1.5e7, 0, -1e5, 1.5e7), "EPSG:3413"),
    "around the south": (300, 300, Affine(1e5, 0, -1.5e7, 0, -1e5, 1.5e7), "EPSG:3031"),
}


@pytest.mark.parametrize("name", WIDE)
def test_more_than_a_hemisphere_has_its_own_area_and_not_that_of_the_rest(name):
    height, width, transform, crs = WIDE[name]
    geobox = GeoBox((height, width), transform, crs)
    (area,) = GroundMeasure.of(geobox).areas(outline(geobox))
    assert area == pytest.approx(pixels_m2(geobox), rel=1e-3)
    if geobox.crs.geographic and abs(geobox.boundingbox.top) < 90:
        west = 0 if geobox.boundingbox.left > 0 else -180
        around = GeoBox((90, 180), Affine(2, 0, west, 0, -2, 90), crs)
        world = outline(around)[0]
        (rest,) = GroundMeasure.of(around).areas(np.array([world.difference(outline(geobox)[0])], object))
        assert rest == pytest.approx(510.0656e12 - area, rel=1e-6)


def test_a_multipolygon_has_the_area_of_its_parts_without_their_holes():
    geobox = GeoBox((90, 180), Affine(2, 0, -180, 0, -2, 90), "EPSG:4326")
    parts = [shapely.box(-170, -80, 100, 80).difference(shapely.box(-160, -70, 90, 70)),
             shapely.box(110, 0, 120, 10).difference(shapely.box(112, 2, 114, 4))]  # fmt: skip
    measure = GroundMeasure.of(geobox)
    one_by_one = measure.areas(np.array(parts, object))
    assert measure.areas(np.array([shapely.multipolygons(parts)], object)) == pytest.approx(
        [one_by_one.sum()]
    )
    boxes = measure.areas(np.array([shapely.box(110, 0, 120, 10), shapely.box(112, 2, 114, 4)], object))
    assert one_by_one[1] == pytest.approx(boxes[0] - boxes[1])
    assert measure.areas(np.empty(0, object)).shape == (0,)
