import numpy as np
import pytest
import shapely
from affine import Affine
from odc.geo.crs import CRS
from odc.geo.geobox import GeoBox

from geoseg.core.errors import ConfigError
from geoseg.vector.write.antimeridian import cut_at_antimeridian, longitude_to_cut_around, web_cut


def grid(crs, left, top, gsd, shape=(200, 200)):
    return GeoBox(shape, Affine(gsd, 0, left, 0, -gsd, top), crs)


ACROSS = grid("EPSG:32760", 818_500, 8_100_000, 10)
WORLD = grid("EPSG:4326", -180, 85, 1, (170, 360))
WORLD_FROM_0 = grid("EPSG:4326", 0, 85, 1, (170, 360))
POLE = grid("EPSG:3413", -500_000, 500_000, 5000)


@pytest.mark.parametrize(
    ("geobox", "crs", "expected"),
    [
        (ACROSS, None, None),
        (ACROSS, "EPSG:32760", None),
        (ACROSS, "EPSG:4326", pytest.approx(-180, abs=0.01)),
        (ACROSS, "EPSG:3832", None),  # Mercator of the Pacific
        (grid("EPSG:32633", 500_000, 5_000_000, 10), "EPSG:4326", None),
        (grid("EPSG:32633", 500_000, 5_000_000, 10), "EPSG:3857", None),
        (grid("EPSG:4326", 179.99, -17, 1e-4), "EPSG:4258", pytest.approx(180)),
        (WORLD, "EPSG:3857", None),
        (POLE, "EPSG:6931", None),
        (grid(None, 0, 0, 1), None, None),
    ],
)
def test_maps_that_reach_the_antimeridian_are_found(geobox, crs, expected):
    assert longitude_to_cut_around(geobox, None if crs is None else CRS(crs)) == expected


@pytest.mark.parametrize(
    ("geobox", "crs"),
    [
        (ACROSS, "EPSG:3857"), (WORLD_FROM_0, "EPSG:6933"), (POLE, "EPSG:4326"), (POLE, "EPSG:3857"),
        (grid("EPSG:32633", 166_000, 5_000_000, 5000), "+proj=merc +lon_0=-165"),
    ],
)  # fmt: skip
def test_a_crs_that_tears_the_map_is_refused(geobox, crs):
    with pytest.raises(ConfigError, match=r"^vectorize\.crs: .* has its edge within the map") as found:
        longitude_to_cut_around(geobox, CRS(crs))
    assert len(str(found.value)) <= 300


@pytest.mark.parametrize(
    ("crs", "message"),
    [
        ("EPSG:4978", "is neither geographic nor projected"),
        ("EPSG:5773", "is neither geographic nor projected"),
        ('LOCAL_CS["site",UNIT["metre",1]]', "is neither geographic nor projected"),
        ("IAU_2015:49900", "there is no way from EPSG:32760 of the map"),
        ("+proj=geos +h=35785831 +lon_0=0", "a part of the map lies beyond what"),
    ],
)
def test_a_crs_that_cannot_show_the_map_is_refused(crs, message):
    with pytest.raises(ConfigError, match=rf"^vectorize\.crs: .*{message}") as found:
        longitude_to_cut_around(ACROSS, CRS(crs))
    assert len(str(found.value)) <= 300


def test_neighbours_stay_neighbours_where_they_are_cut():
    rng = np.random.default_rng(0)
    x, y = np.meshgrid(np.linspace(179.7, 180.4, 8), np.linspace(0, 1, 9))
    inner = np.s_[1:-1, 1:-1]
    x[inner] += rng.uniform(-0.04, 0.04, x[inner].shape)
    y[inner] += rng.uniform(-0.04, 0.04, y[inner].shape)
    corners = np.stack([x, y], axis=-1)
    cells = [
        shapely.Polygon([corners[r, c], corners[r, c + 1], corners[r + 1, c + 1], corners[r + 1, c]])
        for r in range(8)
        for c in range(7)
    ]
    back = [shapely.transform(c, lambda p: np.where(p > 180, p - 360, p)) for c in cells]
    for given, around in ((cells, None), (back, 180.0), (back, -179.95)):
        cut = cut_at_antimeridian(np.array(given, dtype=object), around)
        assert set(shapely.get_type_id(cut)) == {shapely.GeometryType.MULTIPOLYGON}
        assert shapely.is_valid(cut).all()
        parts = shapely.get_parts(cut)
        assert len(parts) > len(cells)
        west, _, east, _ = shapely.bounds(parts).T
        assert ((west >= -180) & (east <= 180) & (east - west < 0.3)).all()
        for side in (parts[west > 0], parts[west < 0]):
            assert shapely.coverage_is_valid(side, gap_width=0)
            assert len(shapely.get_parts(shapely.coverage_union_all(side))) == 1
        assert shapely.area(cut).sum() == pytest.approx(shapely.area(cells).sum())


def test_holes_and_parts_are_cut_too():
    ring = shapely.box(179, 0, 181, 2).difference(shapely.box(179.5, 0.5, 180.5, 1.5))
    both = shapely.MultiPolygon([ring, shapely.box(178, 5, 179, 6)])
    (cut,) = cut_at_antimeridian(np.array([both], dtype=object), None)
    assert cut.is_valid
    assert cut.area == pytest.approx(both.area)
    assert sorted(p.bounds[0] for p in cut.geoms) == [-180, 178, 179]


def test_rounding_makes_no_sliver():
    touching = shapely.box(179, 0, 180 + 1e-13, 1)
    (cut,) = cut_at_antimeridian(np.array([touching], dtype=object), None)
    assert [p.bounds for p in cut.geoms] == [(179, 0, 180, 1)]


def test_web_maps_are_cut_where_the_features_are_not():
    assert web_cut(ACROSS, CRS("EPSG:4326")) is None
    assert web_cut(WORLD, None) is None
    assert web_cut(grid("EPSG:32633", 500_000, 5_000_000, 10), None) is None
    for geobox in (ACROSS, WORLD_FROM_0):
        change = web_cut(geobox, None)
        (cut,) = change(np.array([shapely.box(*geobox.boundingbox)], dtype=object))
        assert len(cut.geoms) == 2
    with pytest.raises(ConfigError, match="leave pmtiles out"):
        web_cut(POLE, None)
