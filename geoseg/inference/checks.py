"""Checks before a run: whether a scene resembles the training data of the network."""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from geoseg.config.pipeline import Level, Strangeness
from geoseg.core.errors import GeosegWarning, PlanError, SceneError, listed
from geoseg.core.geometry import Window
from geoseg.inference.causes import likely_cause, scaling_cause
from geoseg.inference.patterns import (
    ENOUGH,
    dark_problem,
    noise_problem,
    offset_problem,
    order_problem,
    rough_problem,
)
from geoseg.inference.retry import ONCE, RetryPolicy, reader, with_retry
from geoseg.models.card import Card
from geoseg.models.strangeness import count_unlike, gauge_of
from geoseg.scenes.bands import SceneMask
from geoseg.scenes.pixels import Pixels
from geoseg.scenes.scene import Scene

GSD_TOLERANCE = 0.25
"""Share by which the GSD of a scene may lie outside the network's range."""

MEAN_TOLERANCE = 3.0
"""Standard deviations of the training pixels by which the mean of a band may differ from theirs."""

MEAN_LIMIT, PART = 6.0, 1 / 3
"""A mean that is nearer is only told, where fewer than a third of the pixels are unlike the training ones."""

SPREAD_TOLERANCE = 25.0
"""Factor by which the standard deviation of a band may differ from that of the training pixels: of every band
downwards, since a scene may be all water, of any band upwards. Of 243 chips of 3.8 km over 30 countries none
came nearer to it than a factor of 3."""

SHARES = Strangeness()
"""Shares of unlike pixels from which on they are told, and stop a run."""

_MOST = 1e30
"""Physical values beyond leave single precision when a network squares them."""


@dataclass(frozen=True)
class BandStatistics:
    """Mean and standard deviation of a band in the scene and in the training pixels, in physical units."""

    name: str
    mean: float
    std: float
    expected_mean: float
    expected_std: float

    @property
    def distance(self) -> float:
        """Difference of the means in training standard deviations."""
        return abs(self.mean - self.expected_mean) / self.expected_std

    @property
    def spread(self) -> float:
        """Standard deviation as a multiple of that of the training pixels."""
        return self.std / self.expected_std


class CheckError(PlanError):
    """A check that failed, and that the user may overrule."""

    def __init__(self, problem: str, overrule: str = "") -> None:
        super().__init__(f"{problem}; to go on all the same: {overrule}" if overrule else problem)
        self.problem = problem


def report_problem(level: Level, message: str, key: str) -> None:
    """Raise, warn or ignore, as the level says.

    Raises
    ------
    PlanError
        When `level` is error.
    """
    if level == "error":
        raise CheckError(message, f"--set checks.{key}=warn")
    if level == "warn":
        warnings.warn(message, GeosegWarning, stacklevel=2)


def check_gsd(scene: Scene, card: Card, level: Level) -> None:
    """Compare the scene's ground sample distance with the network's range, in metres, if it has one.

    Raises
    ------
    PlanError
        When it lies outside the range and `level` is error.
    """
    if card.gsd_m is None:
        return
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


def check_level(scene: Scene, card: Card, level: Level) -> None:
    """Compare what the scene's reflectance is measured at with that of the training pixels.

    Haze makes the top of the atmosphere brighter than the ground, in blue most; dark-object subtraction takes
    most of it away.

    Raises
    ------
    PlanError
        When they differ and `level` is error.
    """
    if (
        None in {scene.level, card.level}
        or scene.level == card.level
        or (scene.level == "toa" and scene.haze)
    ):
        return
    what = {"toa": "top-of-atmosphere", "surface": "surface"}
    advice = (
        "take the surface reflectance product, or write scene: {uri: ..., radiometry: {dark_object: true}}"
        if scene.level == "toa"
        else "take the level-1 product"
    )
    report_problem(
        level,
        f"{scene.name}: is {what[str(scene.level)]} reflectance, and {card.name} knows "
        f"{what[str(card.level)]} reflectance; {advice}",
        "statistics",
    )


def check_quality(scene: Scene, retry: RetryPolicy = ONCE) -> None:
    """Warn of pixels whose quality is unknown: they become nodata."""

    def known_in(mask: SceneMask, window: Window) -> NDArray[np.bool_] | None:
        return with_retry(scene, retry, lambda: mask.read(scene.whole, scene.in_whole(window))[1])

    windows = scene.sample_windows()
    pixels = sum(w.shape[0] * w.shape[1] for w in windows)
    for mask in scene.masks:
        known = [known_in(mask, w) for w in windows]
        unknown = sum(int((~k).sum()) for k in known if k is not None)
        if unknown:
            warnings.warn(
                f"{scene.name}: {100 * unknown / pixels:.3g} % of the pixels looked at are nodata in the "
                f"quality band {mask.source.path}; with their quality unknown they are not classified",
                GeosegWarning,
                stacklevel=2,
            )


def _share_unlike(scene: Scene, pixels: Pixels, card: Card) -> float | None:
    """Return the share of pixels that are unlike the training pixels, each on its own; None: not known."""
    gauge = gauge_of(card)
    if gauge is None:
        return None
    found = count_unlike(gauge.levels(pixels.values, pixels.valid, scene.gain, scene.bias))
    return found["unlike"] / found["measured"]


def _level_of_means(far: Sequence[BandStatistics], share: float | None, level: Level) -> Level:
    """Return the level at which means are far: bright land moves a mean, though few pixels are unlike."""
    few = share is not None and share < PART
    return "warn" if few and level == "error" and all(r.distance <= MEAN_LIMIT for r in far) else level


def _check_strangeness(
    scene: Scene, share: float | None, card: Card, level: Level, shares: Strangeness
) -> None:
    """Tell the share of the pixels that are unlike the training pixels."""
    if share is None or share < shares.warn:
        return
    text = f"{scene.name}: {unlike_text(share)} of {card.name}"
    if share < shares.stop:
        report_problem("warn", text, "statistics")
        return
    cause = "wrong bands, cloud, snow, noise, or another kind of land"
    report_problem(level, f"{text}; likely cause: {cause}", "statistics")


UNLIKE = "are unlike the training pixels"
"""What is said of pixels that the network does not know."""


def unlike_text(share: float) -> str:
    """Return what a share of pixels means, 0 to 1."""
    return f"{100 * share:.3g} % of its pixels {UNLIKE}"


def check_statistics(
    scene: Scene,
    card: Card,
    level: Level,
    retry: RetryPolicy = ONCE,
    shares: Strangeness = SHARES,
) -> None:
    """Compare a sample of the scene with the training pixels: mean, spread, and how far its pixels are.

    Raises
    ------
    SceneError
        When neither the sample nor an overview of the whole scene has a valid pixel, or the numbers leave
        single precision in physical units.
    PlanError
        When a band is far off and `level` is error.
    """
    pixels = scene.valid_sample(reader(retry))
    if not pixels.valid.any():
        raise SceneError(
            f"{scene.name}: every pixel looked at is nodata, NaN or masked; see its nodata and mask"
        )
    raw = [v[pixels.valid].astype(np.float64) for v in pixels.values]
    gain, bias = (1.0, 0.0) if card.numbers == "raw" else (scene.gain, scene.bias)
    extremes = np.array([np.abs(v).max() for v in raw]) * gain + np.abs(bias)
    if not (extremes < _MOST).all():
        raise SceneError(
            f"{scene.name}: its numbers are too large for single precision; see scale and offset"
        )
    if level == "off":
        return
    means = np.array([v.mean() for v in raw]) * gain + bias
    stds = np.array([v.std() for v in raw]) * gain
    rows = [
        BandStatistics(b.name, float(m), float(s), e.mean, e.std)
        for b, m, s, e in zip(scene.bands, means, stds, card.bands, strict=True)
    ]
    share = _share_unlike(scene, pixels, card)
    # Written so that a NaN is far.
    if far := [r for r in rows if not r.distance <= MEAN_TOLERANCE]:
        level = _level_of_means(far, share, level)
        one = far[0]
        what = f"the mean of {one.name} is {one.mean:.3g}, where {card.name} knows {one.expected_mean:.3g}"
        cause = likely_cause(scene, raw, card)
    elif raw[0].size >= ENOUGH and not max(r.spread for r in rows) >= 1 / SPREAD_TOLERANCE:
        far, most = rows, max(rows, key=lambda r: r.spread)
        what = (
            f"{most.name} hardly varies, by {most.std:.2g}, where {card.name} knows {most.expected_std:.2g}"
        )
        cause = scaling_cause(scene, raw, card) or "one value everywhere, or a wrong scale"
    elif far := [r for r in rows if not r.spread <= SPREAD_TOLERANCE]:
        one = far[0]
        what = f"{one.name} varies by {one.std:.3g}, where {card.name} knows {one.expected_std:.3g}"
        cause = scaling_cause(scene, raw, card) or "noise, or nodata that is not declared"
    else:
        problem = (
            offset_problem(scene, raw) or order_problem(scene, pixels, card) or noise_problem(scene, pixels)
        )
        problem = problem or rough_problem(scene, pixels, card)
        if problem is not None:
            report_problem(level, f"{scene.name}: {problem}", "statistics")
            return
        _check_strangeness(scene, share, card, level, shares)
        if (dark := dark_problem(means, card)) is not None:
            report_problem("warn", f"{scene.name}: {dark}", "statistics")
        return
    others = "" if len(far) == 1 else f" ({listed([r.name for r in far[1:]], 3)} alike)"
    report_problem(level, f"{scene.name}: {what}{others}; likely cause: {cause}", "statistics")
