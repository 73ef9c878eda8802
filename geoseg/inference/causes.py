"""Why the pixels of a scene are unlike the training pixels: the scale and offset that would explain them."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from geoseg.models.card import Card, CardBand
from geoseg.scenes.scene import Scene

EXPLAINED_TOLERANCE = 1.5
"""Standard deviations within which a likely cause must bring the mean of every band."""

_LEAST_SPREAD = 0.1
"""Share of the training standard deviation that the most varied band of a known scaling must have."""

SCALINGS = (
    (1e-4, 0.0, "reflectance stored as integers"),
    (1e-4, -0.1, "Sentinel-2 Level-2A from baseline 04.00 on"),
    (2.75e-5, -0.2, "Landsat Collection 2 Level-2"),
    (1 / 255, 0.0, "8-bit pictures"),
    (1 / 65535, 0.0, "16-bit pictures"),
)
"""Scale and offset of common products, in the order in which they are tried."""


def likely_scaling(
    pixels: Sequence[NDArray[np.float64]], bands: Sequence[CardBand]
) -> tuple[float, float, str] | None:
    """Return the scale and offset of the first common product that brings pixels near the training pixels.

    Parameters
    ----------
    pixels
        Numbers of the valid pixels of each band, before scale and offset.
    bands
        The bands of the card, in the same order.

    Returns
    -------
    tuple or None
        Scale, offset and the kind of product; None when none fits.
    """
    means, stds = np.array([[p.mean(), p.std()] for p in pixels]).T
    expected, spread = np.array([[b.mean, b.std] for b in bands]).T
    own = (bands[0].scale, bands[0].offset, "as the training data")
    for scale, offset, kind in (own, *SCALINGS):
        near = np.abs(means * scale + offset - expected) <= EXPLAINED_TOLERANCE * spread
        # A scale ten times too small has a mean that is near, too, where the training pixels are dark.
        if near.all() and (stds * scale / spread).max() >= _LEAST_SPREAD:
            return scale, offset, kind
    return None


def scaling_cause(scene: Scene, raw: Sequence[NDArray[np.float64]], card: Card) -> str | None:
    """Return the scale and offset of a common product, if they explain the pixels and are not the scene's."""
    if card.numbers == "raw":
        return f"{card.name} takes numbers as they are stored, and these are of another kind"
    known = likely_scaling(raw, card.bands)
    if known is None or all(np.allclose((b.scale, b.offset), known[:2], rtol=1e-4) for b in scene.bands):
        return None
    return f"{_said_of_scale(scene)}; scale: {known[0]:.6g}, offset: {known[1]:g} ({known[2]}) would fit"


def _said_of_scale(scene: Scene) -> str:
    """Return what is wrong with the scale, and where it comes from."""
    band = next((b for b in scene.bands if b.declared), None)
    if band is None:
        return "the scale is not declared"
    in_file = band.source.scales[band.index - 1], band.source.offsets[band.index - 1]
    origin = "the file's" if in_file == (band.scale, band.offset) != (1, 0) else "the given"
    return f"{origin} scale {band.scale:g} is wrong"


def likely_cause(scene: Scene, raw: Sequence[NDArray[np.float64]], card: Card) -> str:
    """Guess the cause: the first explanation that brings all bands near the training pixels."""
    expected = np.array([b.mean for b in card.bands])
    std = np.array([b.std for b in card.bands])
    means = (np.array([v.mean() for v in raw]) * scene.gain + scene.bias).astype(np.float64)

    def fits(values: NDArray[np.float64]) -> bool:
        return bool((np.abs(values - expected) <= EXPLAINED_TOLERANCE * std).all())

    if cause := scaling_cause(scene, raw, card):
        return cause
    for power in (4, 3, 2, 1, -1, -2, -3, -4):
        if fits(means * 10.0**-power):
            scale = scene.bands[0].scale * 10.0**-power
            return f"{_said_of_scale(scene)}; scale: {scale:g} would fit"
    if fits(means / 255 * 0.5) or fits(means / 65535):
        return "stretched or scaled display values, not reflectance; use the original product"
    for offset in (-0.1, 0.1):
        if fits(means + offset):
            return f"an offset of {offset:g} is missing (Sentinel-2 from baseline 04.00 on has -0.1)"
    if fits(means[::-1]):
        return "the bands are in reverse order"
    return "wrong scale, offset or band order, or a place unlike the training data"
