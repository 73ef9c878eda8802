import numpy as np
import pytest

from geoseg.scenes.radiometry import DARK_REFLECTANCE, SCATTERING_POWER, haze

VALID = np.ones((10, 10), bool)


def flat(*levels):
    return np.array(levels, dtype=np.float32)[:, None, None] * np.ones((1, 10, 10), np.float32)


@pytest.mark.parametrize(("atmosphere", "power"), [("very-clear", 4), ("clear", 2), ("hazy", 0.7)])
def test_haze_falls_off_with_a_power_of_the_wavelength(atmosphere, power):
    found = haze(flat(0.11, 0.5, 0.5), VALID, [0.4, 0.8, 1.6], atmosphere)
    assert found == pytest.approx((0.1, 0.1 * 0.5**power, 0.1 * 0.25**power), abs=1e-6)
    assert SCATTERING_POWER[atmosphere] == power


def test_the_shortest_band_counts_wherever_it_stands():
    assert haze(flat(0.5, 0.06), VALID, [0.8, 0.4], "moderate") == pytest.approx((0.025, 0.05), abs=1e-6)


def test_a_bands_own_dark_object_bounds_its_haze():
    assert haze(flat(0.11, 0.03), VALID, [0.4, 0.8], "moderate") == pytest.approx((0.1, 0.02), abs=1e-6)


def test_haze_is_never_negative():
    assert haze(flat(0.005, 0.5), VALID, [0.4, 0.8], "clear") == (0.0, 0.0)
    assert haze(flat(0.11, 0.0), VALID, [0.4, 0.8], "clear")[1] == 0.0
    assert DARK_REFLECTANCE == 0.01


def test_invalid_pixels_are_not_dark():
    values, valid = flat(0.11, 0.5), VALID.copy()
    values[:, 3, 3], valid[3, 3] = np.nan, False
    assert haze(values, valid, [0.4, 0.8], "moderate") == pytest.approx((0.1, 0.05), abs=1e-6)


def test_one_dark_pixel_in_a_hundred_thousand_does_not_decide():
    values = np.full((1, 400, 400), 0.21, np.float32)
    values[0, 0, 0] = 0.0
    assert haze(values, np.ones((400, 400), bool), [0.5], "clear") == pytest.approx((0.2,), abs=1e-6)
