"""The grid of an array: dimensions, direction, CRS and spacing."""

import numpy as np
import pytest
import xarray
from affine import Affine
from hypothesis import given
from hypothesis import strategies as st
from odc.geo.geobox import GeoBox
from odc.geo.xr import xr_zeros

from geoseg.core.errors import SceneError
from geoseg.scenes.coordinates import crs_of, locate

GRID = GeoBox((4, 6), Affine(10, 0, 500_000, 0, -10, 4_500_000), "EPSG:32633")


def array(y, x, crs="EPSG:32633", dims=("y", "x"), attrs=None):
    made = xarray.DataArray(
        np.zeros((len(y), len(x))), dims=dims, coords={dims[0]: list(y), dims[1]: list(x)}, attrs=attrs or {},
    )  # fmt: skip
    return made if crs is None else made.odc.assign_crs(crs)


@given(st.booleans(), st.booleans(), st.permutations(["time", "y", "x"]))
def test_rows_and_columns_may_run_either_way_and_stand_anywhere(up, left, order):
    made = xr_zeros(GRID).expand_dims("time")
    made = made.isel(y=slice(None, None, -1 if up else 1), x=slice(None, None, -1 if left else 1))
    found = locate(made.transpose(*order))
    assert found.geobox == GRID
    assert found.turned == (up, left)
    turned = made.isel(dict(zip(found.dims, found.order, strict=True)))
    assert locate(turned).turned == (False, False)


def test_degrees_and_axis_attributes_are_found():
    found = locate(array([50.0, 49.9], [8.0, 8.1, 8.2], "EPSG:4326", ("latitude", "longitude")))
    assert found.dims == ("latitude", "longitude")
    assert found.geobox.transform.almost_equals(Affine(0.1, 0, 7.95, 0, -0.1, 50.05))
    odd = array([50.0, 49.9], [8.0, 8.1, 8.2], "EPSG:4326", ("rows", "cols"))
    odd["rows"].attrs["axis"], odd["cols"].attrs["axis"] = "Y", "X"
    assert locate(odd).dims == ("rows", "cols")


def test_single_precision_coordinates_are_even_up_to_their_rounding():
    lat = np.linspace(50, 49, 1001).astype(np.float32)
    assert locate(array(lat, [8, 8.001], "EPSG:4326", ("lat", "lon"))).geobox.shape == (1001, 2)


def test_without_a_crs_rows_stay_as_they_are():
    found = locate(array([0, 1, 2], [0, 1], crs=None))
    assert found.turned == (False, False)
    assert found.geobox.crs is None
    bare = xarray.DataArray(np.zeros((3, 2)), dims=("y", "x"))
    assert locate(bare).geobox.transform == Affine.identity()


def test_an_array_that_was_cut_knows_that_its_transform_is_stale():
    made = xr_zeros(GRID)
    made.spatial_ref.attrs["GeoTransform"] = "500000 10 0 4500000 0 -10"
    assert not locate(made).stale
    assert not locate(made[::-1]).stale
    part = locate(made[1:])
    assert part.stale
    assert part.geobox == GRID[1:]


def test_a_single_row_takes_its_height_from_the_transform_or_its_width():
    made = xr_zeros(GeoBox((4, 6), Affine(10, 0, 0, 0, -20, 0), "EPSG:32633"))
    made.spatial_ref.attrs["GeoTransform"] = "0 10 0 0 0 -20"
    assert locate(made[:1]).geobox.resolution.y == -20
    del made.spatial_ref.attrs["GeoTransform"]
    assert locate(made[:1]).geobox.resolution.y == -10
    with pytest.raises(SceneError, match="one pixel does not tell its size"):
        locate(made[:1, :1])


def test_two_crs_are_told_with_their_bands():
    red, nir = array([1, 0], [0, 1], "EPSG:32633"), array([1, 0], [0, 1], None)
    nir = nir.odc.assign_crs("EPSG:32634", crs_coord_name="other")
    both = xarray.Dataset({"red": red.drop_vars("spatial_ref"), "nir": nir.drop_vars("other")})
    both = both.assign_coords(spatial_ref=red.spatial_ref, other=nir.other)
    both.red.encoding["grid_mapping"], both.nir.encoding["grid_mapping"] = "spatial_ref", "other"
    with pytest.raises(SceneError, match=r"two CRS: EPSG:32633 of red and EPSG:32634 of nir; warp"):
        locate(both)
    assert crs_of(both[["red"]].drop_vars("other")).epsg == 32633


def test_a_crs_in_the_attributes_counts_too():
    assert locate(array([1, 0], [0, 1], None, attrs={"crs": "epsg:32633"})).geobox.crs.epsg == 32633
    with pytest.raises(SceneError, match="is no CRS"):
        locate(array([1, 0], [0, 1], None, attrs={"crs": "EPSG:none"}))


@pytest.mark.parametrize(
    ("made", "told"),
    [
        (array([0, 10, 21], [0, 10]), r"y is not evenly spaced \(by 10 to 11\)"),
        (array([0, 0, 0], [0, 10]), "y is not evenly spaced"),
        (array([0, np.nan], [0, 10]), "no finite numbers"),
        (array([0, 10], [0, 10], dims=("a", "b")), r"no dimensions y and x \(it has a, b\); rename"),
        (array([91.0, 95.0], [0, 4], "EPSG:4326"), "beyond the pole"),
        (xarray.DataArray(np.zeros((2, 2)), {"y": [1, 0]}, ("y", "x")), "along one of its axes only"),
    ],
)
def test_what_is_no_grid_is_told_in_a_line(made, told):
    with pytest.raises(SceneError, match=told) as error:
        locate(made)
    assert "\n" not in str(error.value)
    assert len(str(error.value)) < 300


def test_a_rotated_grid_is_told():
    made = xr_zeros(GRID)
    made.spatial_ref.attrs["GeoTransform"] = "0 10 1 0 1 -10"
    with pytest.raises(SceneError, match="its grid is rotated"):
        locate(made)
