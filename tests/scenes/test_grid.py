import numpy as np
import pytest
from affine import Affine
from odc.geo.geobox import GeoBox

from geoseg.core.errors import SceneError
from geoseg.core.geometry import Span
from geoseg.scenes import grid, sources
from tests.conftest import write_raster


def source(folder, name, shape, gsd, origin=(500_000.0, 4_500_000.0), crs="EPSG:32633"):
    path = write_raster(folder / name, np.zeros((1, *shape), np.uint8), gsd=gsd, origin=origin, crs=crs)
    return sources.inspect(str(path))


def box(crs, width, height, origin=(0.0, 0.0), shape=(100, 100)):
    return GeoBox(shape, Affine(width, 0, origin[0], 0, -height, origin[1]), crs)


def test_gsd_in_metres_of_projected_grids():
    assert grid.gsd_m(box("EPSG:32633", 10, 10)) == pytest.approx(10)
    assert grid.gsd_m(box("EPSG:32633", 4, 9)) == pytest.approx(6)
    # New York Long Island, in US survey feet
    assert grid.gsd_m(box("EPSG:2263", 2, 2)) == pytest.approx(2 * 1200 / 3937)


@pytest.mark.parametrize(
    ("latitude", "expected"), [(0.0, (111_320 * 110_574) ** 0.5), (60.0, (55_800 * 111_412) ** 0.5)]
)
def test_gsd_in_metres_of_a_geographic_grid_is_that_of_its_middle(latitude, expected):
    step = 0.0001
    found = grid.gsd_m(box("EPSG:4326", step, step, (13.0, latitude + 50 * step)))
    assert found == pytest.approx(expected * step, rel=1e-4)


def test_without_a_crs_nobody_knows_the_gsd():
    assert grid.gsd_m(box(None, 10, 10)) is None


def test_the_finest_file_gives_the_grid(tmp_path):
    coarse, fine = source(tmp_path, "b.tif", (10, 12), 20), source(tmp_path, "a.tif", (20, 24), 10)
    assert grid.common_grid([coarse, fine], None) == fine.geobox
    assert grid.common_grid([fine, coarse], 10.0) == fine.geobox
    assert grid.common_grid([fine, coarse], 10.005) == fine.geobox


@pytest.mark.parametrize(("gsd", "shape"), [(20, (10, 12)), (30, (7, 8)), (5, (40, 48)), (400, (1, 1))])
def test_a_requested_gsd_is_anchored_at_the_upper_left_corner(tmp_path, gsd, shape):
    found = grid.common_grid([source(tmp_path, "a.tif", (20, 24), 10)], gsd)
    assert found.shape == shape
    assert found.transform.almost_equals(Affine(gsd, 0, 500_000, 0, -gsd, 4_500_000), precision=1e-6)


def test_a_requested_gsd_is_in_metres_also_when_the_grid_is_in_feet(tmp_path):
    fine = source(tmp_path, "a.tif", (100, 100), 1, (1e6, 2e5), "EPSG:2263")
    found = grid.common_grid([fine], 2 * 1200 / 3937)
    assert found.resolution.x == pytest.approx(2)
    assert found.shape == (50, 50)


def test_a_declared_gsd_does_not_change_a_grid_without_a_crs(tmp_path):
    fine = source(tmp_path, "a.tif", (20, 24), 1, crs=None)
    assert grid.common_grid([fine], 0.5) == fine.geobox


def test_bands_with_different_crs_are_refused(tmp_path):
    one, other = (
        source(tmp_path, "a.tif", (8, 8), 10),
        source(tmp_path, "b.tif", (8, 8), 20, crs="EPSG:32634"),
    )
    with pytest.raises(SceneError, match=r"b\.tif: its CRS EPSG:32634 is not the CRS EPSG:32633 of .*a\.tif"):
        grid.common_grid([one, other], None)
    bare = source(tmp_path, "c.tif", (8, 8), 20, crs=None)
    with pytest.raises(SceneError, match=r"c\.tif: its CRS none is not"):
        grid.common_grid([one, bare], None)


def test_extents_may_differ_by_a_coarse_pixel(tmp_path):
    fine = source(tmp_path, "a.tif", (60, 60), 10)
    coarse = source(tmp_path, "b.tif", (31, 30), 20, (499_990.0, 4_500_020.0))
    assert grid.common_grid([fine, coarse], None) == fine.geobox


@pytest.mark.parametrize(
    ("origin", "shape", "name"),
    [
        ((500_030.0, 4_500_000.0), (30, 30),
         r"columns cover 500030 to 500630, but .*a\.tif covers 500000 to 500600"),
        ((500_000.0, 4_500_030.0), (30, 30), "rows"),
        ((500_000.0, 4_500_000.0), (28, 30), "rows"),
        ((500_000.0, 4_500_000.0), (30, 28), "columns"),
    ],
)  # fmt: skip
def test_extents_that_differ_by_more_are_refused(tmp_path, origin, shape, name):
    fine, coarse = source(tmp_path, "a.tif", (60, 60), 10), source(tmp_path, "b.tif", shape, 20, origin)
    with pytest.raises(SceneError, match=rf"b\.tif: its {name}.*"):
        grid.common_grid([fine, coarse], None)


def test_edges_of_target_pixels_in_source_pixels():
    coarse = box("EPSG:32633", 20, 20, (500_000.0, 4_500_000.0))
    fine = box("EPSG:32633", 10, 10, (500_010.0, 4_499_960.0))
    assert grid.edges_in(coarse, fine, Span(0, 3), 1).tolist() == [0.5, 1.0, 1.5, 2.0]
    assert grid.edges_in(coarse, fine, Span(0, 3), 0).tolist() == [2.0, 2.5, 3.0, 3.5]
    assert grid.edges_in(coarse, fine, Span(2, 4), 0).tolist() == [3.0, 3.5, 4.0]


def test_the_scale_of_web_mercator_is_taken_out():
    from odc.geo.geobox import GeoBox

    from geoseg.raster.area import pixel_area_m2
    from geoseg.scenes.grid import gsd_m

    x, y = 1_113_194.9, 8_399_737.9  # 10 degrees east, 60 degrees north
    geobox = GeoBox.from_bbox((x, y - 1000, x + 1000, y), crs="EPSG:3857", resolution=10)
    assert gsd_m(geobox) == pytest.approx(5.0, rel=0.01)
    assert pixel_area_m2(geobox) == pytest.approx(25.0, rel=0.01)


MARS = (
    'GEOGCS["Mars",DATUM["Mars",SPHEROID["Mars",3396190,169.89]],PRIMEM["x",0],'
    'UNIT["degree",0.0174532925199433]]'
)
GEOSTATIONARY = "+proj=geos +h=35785831 +lon_0=0 +sweep=y"


def placed(folder, crs, gsd, origin):
    values = np.ones((1, 20, 30), np.uint8)
    return sources.inspect(str(write_raster(folder / "a.tif", values, crs=crs, gsd=gsd, origin=origin)))


@pytest.mark.parametrize(
    ("crs", "gsd", "origin", "message"),
    [
        ("EPSG:4978", 10, (0, 2000), "CRS EPSG:4978 is neither geographic nor projected"),
        (MARS, 0.1, (10, 20), "CRS Mars has no way to longitude and latitude on the Earth"),
        (GEOSTATIONARY, 400_000, (-6e6, 4e6), "a part of its grid lies beyond what unknown can show"),
        ("EPSG:32633", 1e6, (-3e7, 1e7), "a part of its grid lies beyond what EPSG:32633 can show"),
        ("EPSG:4326", 0.1, (170, 95), "its grid reaches latitude 95, beyond the pole"),
    ],
)
def test_a_grid_without_a_place_on_the_earth_is_refused_before_anything_is_computed(
    tmp_path, crs, gsd, origin, message
):
    with pytest.raises(SceneError, match=message):
        grid.common_grid([placed(tmp_path, crs, gsd, origin)], None)


@pytest.mark.parametrize(
    ("crs", "gsd", "origin"),
    [
        (GEOSTATIONARY, 4000, (-6e4, 6e4)),
        ('LOCAL_CS["site",UNIT["metre",1]]', 10, (0, 2000)),
        ("EPSG:4326", 9, (-180, 90)),
        ("EPSG:4326", 9, (0, 90)),
        ("EPSG:4326", 1, (170, 10)),
        ("EPSG:3031", 200_000, (-3e6, 2e6)),
        ("EPSG:7415", 10, (155_000, 463_000)),
        ("EPSG:4807", 0.1, (0, 50)),
    ],
)
def test_any_grid_with_a_place_on_the_earth_is_welcome(tmp_path, crs, gsd, origin):
    found = grid.common_grid([placed(tmp_path, crs, gsd, origin)], None)
    assert grid.gsd_m(found) > 0


def test_a_gsd_that_makes_more_pixels_than_any_map_has_is_refused(tmp_path):
    source = placed(tmp_path, "EPSG:32633", 10, (500_000, 4_500_000))
    with pytest.raises(SceneError, match=r"a GSD of 0.0001 m makes 3000000 x 2000000 px"):
        grid.common_grid([source], 1e-4)
