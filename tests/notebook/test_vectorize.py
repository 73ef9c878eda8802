"""`geoseg.vectorize`: the polygons of a run from arrays."""

import dask.array
import numpy as np
import pytest
import xarray
from geopandas.testing import assert_geodataframe_equal

import geoseg
from geoseg.core.errors import ConfigError, SceneError
from tests.conftest import BAND_NAMES, reflectance, write_pipeline, write_raster
from tests.notebook.arrays import dataset

SETTINGS = {"minimum_area": "4 px", "simplify": "1 px", "leave_out": ["class-3"]}


@pytest.fixture(scope="module")
def numbers():
    numbers = reflectance(120, 150)
    numbers[:, :20, :30] = 0
    return numbers


@pytest.fixture(scope="module")
def run(tmp_path_factory, bundle, numbers):
    folder = tmp_path_factory.mktemp("run")
    scene = write_raster(folder / "s.tif", numbers, names=BAND_NAMES, scale=0.0001, nodata=0)
    pipeline = write_pipeline(folder, scene, bundle.folder)
    return geoseg.run(pipeline, output=folder / "out", progress=False, vectorize=SETTINGS)


def named(values, **attrs):
    flags = {"flag_values": [1, 2], "flag_meanings": "open_water forest", **attrs}
    grid = dataset(np.zeros((4, *np.shape(values))))
    return xarray.DataArray(
        np.array(values), {"y": grid.y, "x": grid.x}, ("y", "x"), attrs=flags
    ).assign_coords(spatial_ref=grid.spatial_ref)


@pytest.mark.parametrize("lazy", [False, True])
def test_the_polygons_are_those_of_the_run(run, bundle, numbers, lazy):
    data = dataset(numbers).chunk(x=60) if lazy else dataset(numbers)
    found = geoseg.segment(data, bundle, scale=1e-4)
    assert_geodataframe_equal(geoseg.vectorize(found, **SETTINGS), run.polygons())
    turned = found[{"y": slice(None, None, -1)}].transpose("x", "y")
    assert_geodataframe_equal(geoseg.vectorize(turned, **SETTINGS), run.polygons())


def test_a_lazy_map_and_its_confidence_are_computed_once(bundle, numbers):
    computed = []
    lazy = dask.array.from_array(numbers[0], chunks=-1).map_blocks(
        lambda b: computed.append(1) or b, meta=numbers[0]
    )
    data = dataset(numbers)
    data["blue"] = (("y", "x"), lazy, {"nodata": 0})
    found = geoseg.segment(data.chunk(), bundle, scale=1e-4, checks="off")
    geoseg.vectorize(found)
    assert len(computed) == 1


def test_maps_of_a_run_and_maps_of_others_are_taken(run):
    assert len(geoseg.vectorize(run.classes(), **SETTINGS)) == len(run.polygons())
    polygons = geoseg.vectorize(named([[1, 1, 2], [1, 2, 255]]))
    assert polygons.class_name.to_list() == ["open water", "forest", "forest"]
    assert polygons.area.sum() == pytest.approx(500)
    assert polygons.crs.to_epsg() == 32633
    floats = named([[1.0, np.nan, 2], [1, 2, np.nan]])
    assert geoseg.vectorize(floats).area.sum() == pytest.approx(400)
    assert geoseg.vectorize(floats.expand_dims("time"), dissolve=True).class_id.to_list() == [1, 2]
    zero = named([[1, 0, 2], [1, 2, 0]], nodata=0, flag_values=[0, 1, 2], flag_meanings="none a b")
    assert geoseg.vectorize(zero.astype("i4")).area.sum() == pytest.approx(400)


def test_a_map_without_a_crs_has_polygons_in_its_own_units():
    bare = named([[1, 1], [2, 2]]).drop_vars(["x", "y", "spatial_ref"])
    polygons = geoseg.vectorize(bare)
    assert polygons.crs is None
    assert polygons.area.to_list() == [2, 2]


@pytest.mark.parametrize(
    ("classes", "settings", "told"),
    [
        (named([[1, 7]]), {}, "has the value 7, which no flag names"),
        (named([[1, 2]]).drop_attrs(deep=False), {}, "no attributes flag_values and flag_meanings; set them"),
        (named([[1, 2]], flag_meanings="one"), {}, "2 flag_values have 1 flag_meanings"),
        (named([[1, 2]], flag_meanings="one one"), {}, "'one' is used twice"),
        (named([[1, 2]]).expand_dims(time=2), {}, r"has several time; choose one: \.isel\(time=0\)"),
        (named([["a", "b"]]), {}, "the map holds <U1"),
        (xarray.Dataset({"a": named([[1, 2]]).drop_attrs(deep=False)}), {}, "has no variable class"),
        (np.ones((2, 2)), {}, "ndarray is no map"),
        (named([[1, 2]]), {"simplfy": 1}, r"vectorize: simplfy: unknown key; did you mean 'simplify'"),
        (named([[1, 2]]), {"leave_out": ["x"]}, "has no class 'x'"),
        (named([[1, 2]]), {"minimum_area": -1}, "vectorize: minimum_area"),
    ],
)
def test_what_is_no_map_is_told_in_a_line(classes, settings, told):
    with pytest.raises((SceneError, ConfigError), match=told) as error:
        geoseg.vectorize(classes, **settings)
    assert len(str(error.value)) < 300
