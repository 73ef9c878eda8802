"""Composites: the median of several dates."""

import warnings

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from geoseg.config.scene import SceneEntry
from geoseg.core.geometry import Window
from geoseg.scenes import composite
from geoseg.scenes.catalog import resolve_scene
from geoseg.scenes.opening import reopen_scene
from tests.conftest import write_raster


def dates(folder, shape=(2, 20, 30), count=5, seed=0):
    """Write dates of one grid with nodata here and there; return paths and their arrays, NaN where nodata."""
    rng = np.random.default_rng(seed)
    paths, arrays = [], []
    for i in range(count):
        values = rng.integers(1, 4000, shape).astype(np.uint16)
        values[:, rng.random(shape[1:]) < 0.4] = 0
        paths.append(write_raster(folder / f"{i}.tif", values, nodata=0))
        physical = values.astype(np.float32) * np.float32(1e-4) + np.float32(-0.1)
        arrays.append(np.where(values[:1] > 0, physical, np.nan))
    return paths, np.array(arrays)


def composite_of(paths, **fields):
    entry = {"mosaic": list(map(str, paths)), "method": "median", "scale": 1e-4, "offset": -0.1, **fields}
    return resolve_scene(SceneEntry.model_validate(entry), "toy")


def nanmedian(arrays):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # where all dates are NaN
        return np.nanmedian(arrays, axis=0)


@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(count=st.integers(1, 7), seed=st.integers(0, 9))
def test_the_median_is_that_of_numpy_and_observations_are_counted(tmp_path, count, seed):
    paths, arrays = dates(tmp_path, count=count, seed=seed)
    scene = composite_of(paths)
    pixels = scene.read(Window.of(0, 0, *scene.shape))
    np.testing.assert_array_equal(scene.physical(pixels), nanmedian(arrays))
    counts = (~np.isnan(arrays[:, 0])).sum(axis=0)
    np.testing.assert_array_equal(pixels.observations, counts)
    np.testing.assert_array_equal(pixels.valid, counts > 0)
    again, _ = reopen_scene(scene.identity())
    np.testing.assert_array_equal(again.read(Window.of(0, 0, 5, 5)).values, pixels.values[:, :5, :5])


@pytest.mark.parametrize("stack", [2000])
def test_parts_of_a_window_change_no_byte(tmp_path, monkeypatch, stack):
    paths, _ = dates(tmp_path)
    scene = composite_of(paths)
    expected = scene.read(Window.of(-4, -5, 30, 40))
    monkeypatch.setattr(composite, "STACK_BYTES", stack)
    for window in (Window.of(-4, -5, 30, 40), Window.of(3, 7, 11, 9)):
        found = scene.near(window).read(window)
        here = window.relative_to(Window.of(-4, -5, 30, 40))
        np.testing.assert_array_equal(found.values, expected.values[:, *here])
        np.testing.assert_array_equal(found.observations, expected.observations[here])


def test_dates_may_differ_in_offset_place_and_extent(tmp_path):
    values = np.full((10, 10), 3000, np.uint16)
    old = write_raster(tmp_path / "old.tif", values - 1000)
    new = write_raster(tmp_path / "new.tif", values, origin=(500_030.0, 4_500_000.0))
    scene = composite_of([], mosaic=[{"uri": str(old), "offset": 0.0}, {"uri": str(new)}])
    pixels = scene.read(Window.of(0, 0, *scene.shape))
    assert pixels.observations.max(axis=0).tolist() == [1] * 3 + [2] * 7 + [1] * 3
    np.testing.assert_allclose(pixels.values, 0.2, rtol=1e-6)


def test_memory_is_announced_by_members_and_bounded(tmp_path):
    paths, _ = dates(tmp_path, count=3)
    few, more = composite_of(paths), composite_of(paths * 20)
    assert few.reading_bytes(1000) < more.reading_bytes(1000)
    assert more.reading_bytes(10**8) < composite.STACK_BYTES + 10**8 * 50
    picture = more.pick([1]).preview(10)
    assert picture.values.shape == (1, 7, 10)
