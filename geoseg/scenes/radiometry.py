"""Dark-object subtraction: remove the haze of the atmosphere from top-of-atmosphere reflectance.

Source: P. S. Chavez, "An improved dark-object subtraction technique for atmospheric scattering correction
of multispectral data", Remote Sensing of Environment 24 (1988), 459-479. The darkest pixels of a scene
reflect about one percent on the ground; further reflectance in the band of the shortest wavelength is haze,
which falls off with a power of the wavelength that depends on how clear the atmosphere is. The dark object of
a band bounds its haze, so no band is over-corrected, and in the infrared little is subtracted.
"""

from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

SCATTERING_POWER = {"very-clear": 4.0, "clear": 2.0, "moderate": 1.0, "hazy": 0.7, "very-hazy": 0.5}
"""Chavez's relative scattering models: haze is proportional to wavelength ** -power."""

DARK_REFLECTANCE = 0.01
"""Reflectance of the dark object on the ground."""

DARK_PERCENTILE = 0.01
"""Percentile of the pixels of a scene that is the dark object."""


def haze(
    bands: Iterable[NDArray[np.float32]], wavelengths_um: Sequence[float], atmosphere: str
) -> tuple[float, ...]:
    """Return the haze of each band as reflectance, to be subtracted; never negative.

    Parameters
    ----------
    bands
        The valid pixels of a sample of the scene, for each band, shape (n,), n > 0: reflectance at the top of
        the atmosphere, 0 to 1.
    wavelengths_um
        Centre wavelength of each band.
    atmosphere
        A key of `SCATTERING_POWER`.
    """
    dark = np.array([np.percentile(band, DARK_PERCENTILE) for band in bands]) - DARK_REFLECTANCE
    shortest = int(np.argmin(wavelengths_um))
    fall_off = (wavelengths_um[shortest] / np.asarray(wavelengths_um)) ** SCATTERING_POWER[atmosphere]
    model = max(0.0, float(dark[shortest])) * fall_off
    return tuple(round(float(h), 6) for h in np.maximum(0.0, np.minimum(dark, model)))
