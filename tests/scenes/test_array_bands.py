"""Which array is which band of a network."""

import numpy as np
import pytest
import xarray

from geoseg.core.bands import Band
from geoseg.core.errors import SceneError
from geoseg.scenes.array_bands import choose, offered_bands

DIMS = ("y", "x")
WANTED = [Band(f"b{i}", n, None, 0.2, 0.1) for i, n in enumerate(("red", "nir", "swir16"))]


def dataset(*names, **attrs):
    return xarray.Dataset({n: (DIMS, np.full((2, 3), i), dict(attrs)) for i, n in enumerate(names)})


def stack(labels=None, attrs=None, **coords):
    made = xarray.DataArray(np.zeros((3, 2, 3)), dims=("band", *DIMS), attrs=attrs or {})
    made = made if labels is None else made.assign_coords(band=labels)
    return made.assign_coords({k: ("band", v) for k, v in coords.items()})


def labels(data, bands=None, wanted=WANTED):
    found, _ = choose(offered_bands(data, DIMS), wanted, bands)
    return [o.label for o in found]


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (dataset("swir16", "red", "nir", "extra"), ["red", "nir", "swir16"]),
        (dataset("B11", "B04", "B08"), ["B04", "B08", "B11"]),  # designations of Sentinel-2
        (dataset("SWIR1", "Red", "near-infrared"), ["Red", "near-infrared", "SWIR1"]),
        (stack(["nir", "red", "swir16"]), ["red", "nir", "swir16"]),
        (stack([1, 2, 3], {"long_name": ("swir16", "nir", "red")}), [3, 2, 1]),  # as rioxarray has them
        (stack(["a", "b", "c"], common_name=["red", "nir", "swir16"]), ["a", "b", "c"]),  # as stackstac
        (stack(None, {"long_name": ["red", "nir", "swir16"]}), [0, 1, 2]),
    ],
)
def test_names_are_found_where_libraries_put_them(data, expected):
    assert labels(data) == expected


def test_a_variable_wins_over_long_name_and_long_name_over_common_name():
    data = dataset("red", "band_2", "band_3")
    data.red.attrs["long_name"] = "nir"
    data.band_2.attrs |= {"long_name": "nir", "common_name": "swir16"}
    data.band_3.attrs |= {"common_name": "swir16"}
    assert labels(data) == ["red", "band_2", "band_3"]


def test_the_nearest_band_of_a_kind_is_taken_and_said():
    data = dataset("red", "nir08", "swir16")
    found, notes = choose(offered_bands(data, DIMS), WANTED, None)
    assert [o.label for o in found] == ["red", "nir08", "swir16"]
    assert notes == ["nir: taking nir08 (nir08, 0.865 um)"]
    data.nir08.attrs["center_wavelength"] = 0.95  # it says itself that it lies elsewhere
    with pytest.raises(SceneError, match="has no band nir "):
        labels(data)


@pytest.mark.parametrize(
    ("bands", "expected"),
    [
        ({"swir16": "odd"}, ["red", "nir", "odd"]),
        ({"b2": "odd", "Red": "nir", "nir": "red"}, ["nir", "red", "odd"]),
        (["odd", "nir", "red"], ["odd", "nir", "red"]),
    ],
)
def test_what_the_user_says_wins(bands, expected):
    assert labels(dataset("red", "nir", "odd"), bands) == expected


def test_a_band_may_be_named_by_a_number_that_is_its_coordinate():
    assert labels(stack([1, 2, 3]), {"red": 3, "nir": 1, "swir16": 2}) == [3, 1, 2]


def test_one_variable_with_a_dimension_of_bands_is_as_good_as_an_array():
    data = stack(["red", "nir", "swir16"]).to_dataset(name="reflectance")
    assert labels(data) == ["red", "nir", "swir16"]
    lone = dataset("red").red.expand_dims("band")
    assert labels(xarray.Dataset({"red": lone, "nir": lone, "swir16": lone})) == ["red", "nir", "swir16"]


@pytest.mark.parametrize(
    ("data", "bands", "told"),
    [
        (
            dataset("red", "B8A", "B03"),
            None,
            r"no band swir16 \(it has red, B8A \(nir08\), B03 \(green\)\); name it: bands=\{'swir16': ",
        ),
        (dataset("red", "B04", "nir"), None, r"band red is there 2 times \(red, B04\); name one"),
        (stack(["red", "red", "nir"]), None, r"band red is there 2 times \(red, red\); name one"),
        (dataset("red", "nir", "x1"), {"swir16": "x2"}, r"swir16: data has no 'x2'; it has red, nir, x1"),
        (dataset("red", "nir", "x1"), {"swir61": "x1"}, "has no band swir61; did you mean 'swir16'"),
        (dataset("red", "nir", "x1"), ["red", "nir"], "2 are named, and the network has 3: red, nir, swir16"),
        (dataset("red", "nir", "x1"), "red", "is one name"),
        (stack(["red", "nir", "swir16"]).expand_dims(z=2), None, "dimensions z, band beside y, x and time"),
        (xarray.Dataset({"red": ("t", [1])}), None, "no variable with the dimensions y and x"),
    ],
)
def test_what_is_missing_or_there_twice_is_told_in_a_line(data, bands, told):
    with pytest.raises(SceneError, match=told) as error:
        labels(data, bands)
    assert len(str(error.value)) < 300
