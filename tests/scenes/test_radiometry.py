import numpy as np
import pytest

from geoseg.config.scene import SceneEntry
from geoseg.scenes.opening import open_scene
from geoseg.scenes.radiometry import DARK_REFLECTANCE, SCATTERING_POWER, haze
from tests.conftest import write_raster


def flat(*levels):
    return np.array(levels, dtype=np.float32)[:, None] * np.ones(100, np.float32)


@pytest.mark.parametrize(("atmosphere", "power"), [("very-clear", 4), ("clear", 2), ("hazy", 0.7)])
def test_haze_falls_off_with_a_power_of_the_wavelength(atmosphere, power):
    found = haze(flat(0.11, 0.5, 0.5), [0.4, 0.8, 1.6], atmosphere)
    assert found == pytest.approx((0.1, 0.1 * 0.5**power, 0.1 * 0.25**power), abs=1e-6)
    assert SCATTERING_POWER[atmosphere] == power


def test_the_shortest_band_counts_wherever_it_stands():
    assert haze(flat(0.5, 0.06), [0.8, 0.4], "moderate") == pytest.approx((0.025, 0.05), abs=1e-6)


def test_a_bands_own_dark_object_bounds_its_haze():
    assert haze(flat(0.11, 0.03), [0.4, 0.8], "moderate") == pytest.approx((0.1, 0.02), abs=1e-6)


def test_haze_is_never_negative():
    assert haze(flat(0.005, 0.5), [0.4, 0.8], "clear") == (0.0, 0.0)
    assert haze(flat(0.11, 0.0), [0.4, 0.8], "clear")[1] == 0.0
    assert DARK_REFLECTANCE == 0.01


def test_invalid_pixels_are_not_dark(tmp_path):
    numbers = np.repeat(np.array([1100, 5000], np.uint16), 400).reshape(2, 20, 20)
    numbers[:, 3, 3] = 0
    path = write_raster(tmp_path / "scene.tif", numbers, names=["blue", "nir"], scale=1e-4, nodata=0)
    bands = {"blue": {"band": 1, "wavelength_um": 0.4}, "nir": {"band": 2, "wavelength_um": 0.8}}
    entry = {"uri": str(path), "bands": bands, "radiometry": {"dark_object": {"atmosphere": "moderate"}}}
    scene = open_scene(SceneEntry.model_validate(entry), "scene", tmp_path)
    assert scene.haze == pytest.approx((0.1, 0.05), abs=1e-6)


def test_one_dark_pixel_in_a_hundred_thousand_does_not_decide():
    values = np.full(160_000, 0.21, np.float32)
    values[0] = 0.0
    assert haze([values], [0.5], "clear") == pytest.approx((0.2,), abs=1e-6)
