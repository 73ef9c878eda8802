"""A scene as a lazy Dataset."""

import warnings

import numpy as np
import pytest
import xarray

from geoseg.config.scene import MaskEntry, SceneEntry
from geoseg.core.errors import ConfigError
from geoseg.core.geometry import Window
from geoseg.scenes.lazy import origin_of, to_dataset
from geoseg.scenes.opening import open_scene
from geoseg.scenes.scene import Scene
from tests.conftest import write_raster


@pytest.fixture
def planes():
    return np.arange(3 * 50 * 40, dtype=np.uint16).reshape(3, 50, 40)


@pytest.fixture
def coloured(tmp_path, planes):
    path = write_raster(tmp_path / "c.tif", planes, nodata=7, scale=0.5, names=("blue", "green", "red"))
    return open_scene(SceneEntry(uri=str(path)), "coloured", tmp_path)


@pytest.fixture
def reads(monkeypatch):
    """Windows that are read."""
    seen, read = [], Scene.read
    monkeypatch.setattr(Scene, "read", lambda self, window: seen.append(window) or read(self, window))
    return seen


def whole(scene):
    return scene.read(Window.of(0, 0, *scene.shape))


def test_a_dataset_is_lazy_raw_and_georeferenced(coloured, planes, reads):
    data = to_dataset(coloured, 16)
    assert reads == []
    assert list(data.data_vars) == ["blue", "green", "red", "valid"]
    assert data.red.dtype == np.uint16
    assert data.odc.geobox == coloured.geobox
    assert data.x.values[0] == 500_005
    assert data.y.values[-1] == 4_500_000 - 495
    assert data.isel(x=slice(16, 32), y=slice(16, 32)).compute().red.shape == (16, 16)
    assert len(reads) == 1  # all bands of a file, and where they are valid, at once
    assert np.array_equal(data.to_dataarray().sel(variable=["blue", "green", "red"]).values, planes)
    assert np.array_equal(data.valid.values, planes[0] != 7)


def test_its_attributes_make_reflectance_of_the_numbers(coloured):
    data = to_dataset(coloured)
    assert data.red.attrs["common_name"] == "red"
    assert data.red.attrs["center_wavelength"] == pytest.approx(0.665)
    physical = xarray.decode_cf(data)
    expected = coloured.physical(whole(coloured))
    assert np.array_equal(physical.blue.where(data.valid).values, expected[0], equal_nan=True)
    assert np.isnan(physical.blue.values[0, 7])


@pytest.mark.parametrize("chunks", [16, {"y": 50, "x": 7}, {"x": 1}, -1, None])
def test_chunks_are_as_asked_and_change_no_number(coloured, planes, chunks):
    data = to_dataset(coloured, chunks)
    assert (data.chunks == {}) == (chunks is None)
    assert np.array_equal(data.green.values, planes[1])
    if isinstance(chunks, dict):
        assert data.green.chunks[1][0] == chunks["x"]


@pytest.mark.parametrize("chunks", [0, -2, {"lon": 5}, {"x": "many"}])
def test_chunks_that_mean_nothing_are_told(coloured, chunks):
    with pytest.raises(ConfigError, match=r"^chunks: "):
        to_dataset(coloured, chunks)


def test_a_quality_band_and_a_coarser_band_are_where_a_run_has_them(tmp_path):
    rng = np.random.default_rng(1)
    fine = write_raster(tmp_path / "B04.tif", rng.integers(1, 9, (1, 20, 24), np.uint16), nodata=3)
    coarse = write_raster(tmp_path / "B11.tif", rng.integers(1, 9, (1, 10, 12), np.uint16), gsd=20, nodata=5)
    quality = write_raster(tmp_path / "scl.tif", rng.integers(0, 3, (10, 12), np.uint8), gsd=20)
    entry = SceneEntry(
        bands={"B04": {"uri": str(fine)}, "B11": {"uri": str(coarse)}},
        mask=MaskEntry(uri=str(quality), invalid_values=(1,)),
    )
    scene = open_scene(entry, "mixed", tmp_path)
    data, pixels = to_dataset(scene, 9).compute(), whole(scene)
    assert np.array_equal(data.valid.values, pixels.valid)
    assert 0 < pixels.valid.mean() < 1
    assert np.array_equal(np.stack([data.red.values, data.swir16.values]), pixels.values)
    assert data.red.attrs["_FillValue"] == 3
    assert "_FillValue" not in data.swir16.attrs  # interpolated numbers may be 5 by chance


def test_bands_of_one_name_and_one_called_valid_all_become_variables(tmp_path):
    path = write_raster(tmp_path / "n.tif", np.ones((3, 6, 6), np.uint8), names=("valid", "red", "red"))
    data = to_dataset(open_scene(SceneEntry(uri=str(path)), "n", tmp_path))
    assert len(data.data_vars) == 4
    assert data.valid.dtype == bool


def test_a_scene_without_crs_becomes_a_dataset_too(tmp_path):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        path = write_raster(tmp_path / "bare.tif", np.ones((1, 6, 6), np.uint8), crs=None)
        data = to_dataset(open_scene(SceneEntry(uri=str(path), gsd=2.5), "bare", tmp_path))
    assert data.attrs["gsd"] == 2.5
    assert (data.to_dataarray()[0] == 1).all()


def test_only_unchanged_bands_are_known_to_be_of_their_scene(coloured):
    data = to_dataset(coloured)
    again = origin_of([data.red.data, data.blue.data], data.valid.data)
    assert [b.common_name for b in again.scene.bands] == ["red", "blue"]
    other = to_dataset(coloured, 8)
    for bands, valid in (
        ([data.red.data + 1], data.valid),
        ([data.red.data[1:]], data.valid),
        ([data.red.data], data.red),
        ([data.valid.data], data.valid),
        ([data.red.values], data.valid),
        ([data.red.data], other.valid),
    ):
        assert origin_of(bands, valid.data) is None
