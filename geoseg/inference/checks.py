"""Checks before a run: whether a scene resembles the training data of the network."""

import warnings
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from geoseg.config.pipeline import Level
from geoseg.core.errors import GeosegWarning, PlanError, SceneError
from geoseg.models.card import Card
from geoseg.scenes.scene import Scene

GSD_TOLERANCE = 0.25
"""Share by which the GSD of a scene may lie outside the network's range."""

MEAN_TOLERANCE = 3.0
"""Standard deviations of the training pixels by which the mean of a band may differ from theirs."""

EXPLAINED_TOLERANCE = 1.5
"""Standard deviations within which a likely cause must bring the mean of every band."""


@dataclass(frozen=True)
class BandStatistics:
    """Mean of a band in the scene and in the training pixels, in physical units."""

    name: str
    mean: float
    expected_mean: float
    expected_std: float

    @property
    def distance(self) -> float:
        """Difference of the means in training standard deviations."""
        return abs(self.mean - self.expected_mean) / self.expected_std


def report_problem(level: Level, message: str, key: str) -> None:
    """Raise, warn or ignore, as the level says.

    Raises
    ------
    PlanError
        When `level` is error.
    """
    if level == "error":
        raise PlanError(f"{message}; to go on all the same: --set checks.{key}=warn")
    if level == "warn":
        warnings.warn(message, GeosegWarning, stacklevel=2)


def check_gsd(scene: Scene, card: Card, level: Level) -> None:
    """Compare the scene's ground sample distance with the network's range, in metres.

    Raises
    ------
    PlanError
        When it lies outside the range and `level` is error.
    """
    gsd, low, high = scene.gsd_m, card.gsd_m.min, card.gsd_m.max
    if gsd is None:
        warnings.warn(
            f"{scene.name}: has no CRS, so its ground sample distance is unknown; the network expects "
            f"{low:g} to {high:g} m",
            GeosegWarning,
            stacklevel=2,
        )
    elif not low * (1 - GSD_TOLERANCE) <= gsd <= high * (1 + GSD_TOLERANCE):
        report_problem(
            level,
            f"{scene.name}: a GSD of {gsd:.3g} m is more than 25 % outside the {low:g} to {high:g} m of "
            f"{card.name}; resample with gsd: {min(max(gsd, low), high):g}, or use another model",
            "gsd",
        )


def check_statistics(scene: Scene, card: Card, level: Level) -> None:
    """Compare the means of a sample of the scene with those of the training pixels.

    Raises
    ------
    SceneError
        When neither the sample nor an overview of the whole scene has a valid pixel.
    PlanError
        When the mean of a band is far off and `level` is error.
    """
    pixels = scene.valid_sample()
    if not pixels.valid.any():
        raise SceneError(
            f"{scene.name}: every pixel looked at is nodata, NaN or masked; see its nodata and mask"
        )
    if level == "off":
        return
    numbers = [v[pixels.valid].mean(dtype=np.float64) for v in pixels.values]
    means = (np.array(numbers) * scene.gain + scene.bias).astype(np.float64)
    rows = [
        BandStatistics(b.name, float(m), e.mean, e.std)
        for b, m, e in zip(scene.bands, means, card.bands, strict=True)
    ]
    far = [r for r in rows if r.distance > MEAN_TOLERANCE]
    if far:
        named = ", ".join(f"{r.name} {r.mean:.3g} (trained on {r.expected_mean:.3g})" for r in far)
        report_problem(
            level,
            f"{scene.name}: the mean of {named} is far from what {card.name} was trained on; likely cause: "
            f"{_cause(scene, means, card)}",
            "statistics",
        )


def _cause(scene: Scene, means: NDArray[np.float64], card: Card) -> str:
    """Guess the cause: the first explanation that brings all bands near the training pixels."""
    expected = np.array([b.mean for b in card.bands])
    std = np.array([b.std for b in card.bands])

    def fits(values: NDArray[np.float64]) -> bool:
        return bool((np.abs(values - expected) <= EXPLAINED_TOLERANCE * std).all())

    for power in (4, 3, 2, 1, -1, -2, -3, -4):
        if fits(means * 10.0**-power):
            scale = scene.bands[0].scale * 10.0**-power
            reason = "is not declared" if not scene.bands[0].declared else "is wrong"
            return f"the scale {reason}, {scale:g} would fit (scale: {scale:g} in the catalog)"
    if fits(means / 255 * 0.5) or fits(means / 65535):
        return "stretched or scaled display values, not reflectance; use the original product"
    for offset in (-0.1, 0.1):
        if fits(means + offset):
            return f"an offset of {offset:g} is missing (Sentinel-2 from baseline 04.00 on has -0.1)"
    if fits(means[::-1]):
        return "the bands are in reverse order"
    return "wrong scale, offset or band order, or a place unlike the training data"
