import warnings

import pytest

from geoseg.core.errors import GeosegWarning, PlanError
from geoseg.inference import checks
from geoseg.scenes.catalog import resolve_scene
from tests.conftest import BAND_NAMES, reflectance, write_raster


@pytest.fixture
def scene(scene_file):
    return resolve_scene(str(scene_file), "s", BAND_NAMES)


def test_a_scene_like_the_training_pixels_passes_in_silence(scene, bundle):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        checks.check_statistics(scene, bundle.card, "error")
        checks.check_gsd(scene, bundle.card, "error")


@pytest.mark.parametrize(("gsd", "fine"), [(7.6, True), (7.4, False), (12.4, True), (12.6, False)])
def test_gsd_may_lie_a_quarter_outside(tmp_path, bundle, gsd, fine):
    path = write_raster(tmp_path / "g.tif", reflectance(64, 64), gsd=gsd, names=BAND_NAMES, scale=0.0001)
    scene = resolve_scene(str(path), "g", BAND_NAMES)
    if fine:
        checks.check_gsd(scene, bundle.card, "error")
        return
    with pytest.raises(PlanError, match="more than 25 % outside"):
        checks.check_gsd(scene, bundle.card, "error")
    with pytest.warns(GeosegWarning, match="more than 25 % outside"):
        checks.check_gsd(scene, bundle.card, "warn")
    checks.check_gsd(scene, bundle.card, "off")


def test_only_the_bands_that_are_off_are_named(tmp_path, bundle):
    values = reflectance(128, 128)
    values[2] = 9000
    path = write_raster(tmp_path / "b.tif", values, names=BAND_NAMES, scale=0.0001)
    scene = resolve_scene(str(path), "b", BAND_NAMES)
    with pytest.raises(PlanError) as caught:
        checks.check_statistics(scene, bundle.card, "error")
    assert "the mean of red 0.9 (trained on 0.22) is far" in str(caught.value)
    assert "wrong scale, offset or band order, or a place unlike the training data" in str(caught.value)


def test_a_large_scene_that_is_valid_in_a_corner_only_is_looked_at_there(tmp_path, bundle):
    import numpy as np

    values = np.zeros((4, 4000, 4000), np.uint16)
    values[:, 300:500, 300:500] = 2000
    path = write_raster(tmp_path / "c.tif", values, names=BAND_NAMES, scale=0.0001, nodata=0, compress="zstd")
    scene = resolve_scene(str(path), "c", BAND_NAMES)
    assert not scene.sample().valid.any()
    checks.check_statistics(scene, bundle.card, "error")
