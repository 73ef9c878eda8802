"""Areas of interest on scenes: the truth is where the centres of pixels lie in longitude and latitude."""

import json

import numpy as np
import pytest
import shapely
from odc.geo.geobox import GeoBox
from pyproj import Transformer
from rasterio import Affine

from geoseg.config.area import Geometry
from geoseg.core.errors import ConfigError, OutsideError
from geoseg.core.geometry import Window
from geoseg.scenes.aoi import LOOKED_AT, resolve_aoi
from geoseg.scenes.scene import Scene


def scene(crs, west, north, step, shape=(300, 300)):
    """Return a scene without bands."""
    return Scene("toy", GeoBox(shape, Affine(step, 0, west, 0, -step, north), crs), ())


def lonlat(on):
    """Return longitude and latitude of the centres of all pixels."""
    rows, cols = np.mgrid[: on.shape[0], : on.shape[1]] + 0.5
    x, y = on.geobox.transform @ (cols, rows)
    return Transformer.from_crs(on.geobox.crs.proj, "EPSG:4326", always_xy=True).transform(x, y)


def mask_of(aoi, on):
    """Return which pixels of the whole scene an area has."""
    mask = np.zeros(on.shape, bool)
    here = aoi.window.relative_to(Window.of(0, 0, 0, 0))
    mask[here] = aoi.outline.inside(Window.of(0, 0, *aoi.window.shape))
    return mask


def expect(found, truth, on, beside=0.06):
    """Compare a mask with the truth, but for centres that lie on the border to some hundredths of a pixel."""
    lon, lat = lonlat(on)
    sure = np.ones(on.shape, bool)
    for way in (-1, 1):
        for axis, step in ((0, lat), (1, lon)):
            near = step + way * beside * np.gradient(step, axis=axis)
            sure &= truth(*((lon, near) if axis == 0 else (near, lat))) == truth(lon, lat)
    wrong = (found != truth(lon, lat)) & sure
    assert not wrong.any(), f"{wrong.sum()} pixels"
    assert 0 < found.sum() < found.size


@pytest.mark.parametrize(
    ("crs", "west", "north", "step"),
    [
        ("EPSG:32633", 400_000, 6_800_000, 700),
        ("EPSG:3857", 1_600_000, 8_900_000, 2000),
        ("EPSG:3035", 4_500_000, 4_500_000, 900),
        ("EPSG:4258", 14, 62, 0.01),
    ],
)
def test_a_box_in_degrees_has_the_pixels_whose_centres_lie_in_it(crs, west, north, step):
    on = scene(crs, west, north, step)
    lon, lat = lonlat(on)
    w, e = (float(v) for v in np.quantile(lon, [0.3, 0.8]))
    s, n = (float(v) for v in np.quantile(lat, [0.2, 0.7]))
    aoi = resolve_aoi((w, s, e, n), on)
    expect(mask_of(aoi, on), lambda x, y: (x > w) & (x < e) & (y > s) & (y < n), on)
    rows, cols = mask_of(aoi, on).any(axis=1), mask_of(aoi, on).any(axis=0)
    assert aoi.window.shape == (rows.sum(), cols.sum())


def across(longitude):
    return longitude % 360


def beyond_180():
    """The same area across the antimeridian, in all forms in which it comes."""
    west, south, east, north = 179.2, -17.5, -179.1, -15.8
    yield (west, south, east, north)
    yield (west - 360, south, east, north)
    yield shapely.box(west, south, 360 + east, north).wkt
    yield shapely.MultiPolygon(
        [shapely.box(west, south, 180, north), shapely.box(-180, south, east, north)]
    ).wkt


@pytest.mark.parametrize("form", range(4))
@pytest.mark.parametrize(
    ("crs", "west", "north", "step"),
    [
        ("EPSG:32701", -50_000, 8_300_000, 1000),
        ("EPSG:3832", 3_100_000, -1_600_000, 1200),
        ("EPSG:4326", 178.5, -15.2, 0.01),
        ("EPSG:4326", -181.5, -15.2, 0.01),
        ("EPSG:4167", 178.5, -15.2, 0.01),
    ],
)
def test_an_area_across_the_antimeridian_is_one(crs, west, north, step, form):
    on = scene(crs, west, north, step)
    aoi = resolve_aoi(list(beyond_180())[form], on)
    inside = lambda x, y: (x % 360 > 179.2) & (x % 360 < 180.9) & (y > -17.5) & (y < -15.8)  # noqa: E731
    expect(mask_of(aoi, on), inside, on)


def test_an_area_around_a_pole_is_a_disc():
    on = scene("EPSG:3413", -2_000_000, 2_000_000, 16_000, (250, 250))
    expect(mask_of(resolve_aoi((-180, 80, 180, 90), on), on), lambda x, y: y > 80, on)


def test_an_area_in_another_projection_is_densified():
    on = scene("EPSG:32633", 300_000, 6_900_000, 1000)
    square = shapely.box(4_300_000, 4_050_000, 4_520_000, 4_250_000)
    aoi = resolve_aoi(f"SRID=3035;{square.wkt}", on)
    rows, cols = np.mgrid[:300, :300] + 0.5
    there = Transformer.from_crs("EPSG:32633", "EPSG:3035", always_xy=True)
    x, y = there.transform(*(on.geobox.transform @ (cols, rows)))
    truth = shapely.contains_xy(square, x, y)
    sure = np.abs(shapely.distance(shapely.points(x, y), square.exterior)) > 80
    assert (mask_of(aoi, on) == truth)[sure].all()
    assert 100 < truth.sum() < truth.size
    assert sure.mean() > 0.98


def test_a_far_larger_area_than_the_projection_knows_maps_all_of_the_scene():
    on = scene("EPSG:32633", 400_000, 5_000_000, 10)
    for area in ((-180, -90, 180, 90), (-100, -80, 120, 84), shapely.box(-179, -89, 179, 89).wkt):
        assert mask_of(resolve_aoi(area, on), on).all()


UTM = "SRID=32633;"
SITE = 'ENGCRS["site",EDATUM["x"],CS[Cartesian,2],AXIS["x",east],AXIS["y",north],LENGTHUNIT["m",1]]'
ON = scene("EPSG:32633", 0, 300, 1)


def pixels(geometry):
    """Return an area in pixels from the upper-left corner of `ON` as text."""
    return UTM + shapely.transform(geometry, lambda xy: xy * [1, -1] + [0, 300]).wkt


def test_crossing_rings_and_overlapping_parts_are_mapped_once():
    tie = shapely.Polygon([(10, 10), (50, 50), (50, 10), (10, 50)])
    assert mask_of(resolve_aoi(pixels(tie), ON), ON).sum() == pytest.approx(800, abs=45)
    two = shapely.MultiPolygon([shapely.box(10, 10, 30, 30), shapely.box(20, 20, 40, 40)])
    assert mask_of(resolve_aoi(pixels(two), ON), ON).sum() == 700
    holed = shapely.Polygon(
        [(10, 10), (10, 40), (40, 40), (40, 10)], [[(20, 20), (20, 30), (30, 30), (30, 20)]]
    )
    assert mask_of(resolve_aoi(pixels(holed), ON), ON).sum() == 800


def test_the_bounds_in_whole_pixels_are_the_map():
    aoi = resolve_aoi(pixels(shapely.box(10.4, 20.6, 15.6, 30.4)), ON)
    assert aoi.window == Window.of(21, 10, 9, 6)
    assert aoi.outline.inside(Window.of(0, 0, 9, 6)).all()
    beyond = resolve_aoi(pixels(shapely.box(-50, -50, 7, 9)), ON)
    assert beyond.window == Window.of(0, 0, 9, 7)


def test_the_hash_is_that_of_the_place():
    def hash_of(geometry):
        return resolve_aoi(pixels(geometry), ON).sha256

    square = shapely.box(10, 10, 20, 20)
    turned = shapely.Polygon([(20, 20), (10, 20), (10, 10), (20, 10)])
    assert hash_of(square) == hash_of(turned) != hash_of(shapely.box(10, 10, 20, 21))


def test_a_small_area_is_looked_at_with_what_is_around():
    on = scene("EPSG:32633", 0, 2000, 1, (2000, 900))
    for box, expected in (
        (shapely.box(450, 1000, 460, 1010), Window.of(749, 199, LOOKED_AT, LOOKED_AT)),
        (shapely.box(0, 0, 10, 10), Window.of(0, 0, LOOKED_AT, LOOKED_AT)),
        (
            shapely.box(890, 1990, 900, 2000),
            Window.of(2000 - LOOKED_AT, 900 - LOOKED_AT, LOOKED_AT, LOOKED_AT),
        ),
        (shapely.box(0, 100, 900, 800), Window.of(100, 0, 700, 900)),
    ):
        placed = shapely.transform(box, lambda xy: xy * [1, -1] + [0, 2000])
        assert resolve_aoi(UTM + placed.wkt, on).looked_at(on) == expected
    aoi = resolve_aoi(pixels(shapely.box(100, 100, 110, 110)), ON)
    assert aoi.looked_at(ON) == Window.of(0, 0, 300, 300)


def test_many_vertices_cost_little():
    angles = np.linspace(0, 2 * np.pi, 100_000, endpoint=False)
    radius = 120 + 20 * np.sin(300 * angles)
    star = shapely.Polygon(150 + np.array([radius * np.cos(angles), radius * np.sin(angles)]).T)
    aoi = resolve_aoi(pixels(star), ON)
    assert len(aoi.outline.edges) > 90_000
    assert len(aoi.outline.near(Window.of(0, 0, 20, 300)).edges) < 0.2 * len(aoi.outline.edges)
    assert mask_of(aoi, ON).sum() == pytest.approx(star.area, rel=0.01)


@pytest.mark.parametrize(
    ("area", "on", "error", "expected"),
    [
        ((20, 1, 21, 2), ON, OutsideError, "lies outside toy: it covers 20, 1, 21, 2, the scene 10.5"),
        (pixels(shapely.box(5.6, 5.6, 6.4, 6.4)), ON, OutsideError, "no pixel of toy has its centre inside"),
        (pixels(shapely.box(-9, -9, 0.3, 0.3)), ON, OutsideError, "no pixel of toy has its centre inside"),
        ((1, 1, 2, 2), scene(None, 0, 300, 1), ConfigError, "toy has no CRS, so an area has no place in it"),
        (
            (1, 1, 2, 2),
            scene(SITE, 0, 300, 1),
            ConfigError,
            "there is no way from EPSG:4326 to the CRS of the scene",
        ),
    ],
)  # fmt: skip
def test_what_cannot_be_mapped_is_one_line(area, on, error, expected):
    with pytest.raises(error, match=expected) as told:
        resolve_aoi(area, on)
    assert len(str(told.value)) <= 300
    assert "\n" not in str(told.value)


def test_an_area_of_a_geojson_mapping_is_in_degrees():
    on = scene("EPSG:32633", 400_000, 5_000_000, 100)
    mapping = json.loads(shapely.to_geojson(shapely.box(14.0, 44.95, 14.1, 45.0)))
    as_text, as_value = json.dumps(mapping), Geometry.model_validate(mapping)
    boxes = (14.0, 44.95, 14.1, 45.0), as_text, as_value, "14.0, 44.95 14.1  45"
    assert len({resolve_aoi(b, on).window for b in boxes}) == 1
