"""Checks before a run: whether a scene resembles the training data of the network."""

import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geoseg.config.pipeline import Level
from geoseg.core.errors import GeosegWarning, PlanError, SceneError, listed
from geoseg.inference.band_order import likely_order
from geoseg.models.card import Card, CardBand
from geoseg.scenes.scene import Pixels, Scene

GSD_TOLERANCE = 0.25
"""Share by which the GSD of a scene may lie outside the network's range."""

MEAN_TOLERANCE = 3.0
"""Standard deviations of the training pixels by which the mean of a band may differ from theirs."""

SPREAD_TOLERANCE = 25.0
"""Factor by which the standard deviation of a band may differ from that of the training pixels: of every band
downwards, since a scene may be all water, of any band upwards. Of 243 chips of 3.8 km over 30 countries none
came nearer to it than a factor of 3."""

EXPLAINED_TOLERANCE = 1.5
"""Standard deviations within which a likely cause must bring the mean of every band."""

_LEAST_SPREAD = 0.1
"""Share of the training standard deviation that the most varied band of a known scaling must have."""

_DARK_BANDS = ("blue", "green", "red", "swir16", "swir22")
_DARKEST, _NEGATIVE = 0.08, -0.02
_TWO = 2
_LEAST_CORRELATION = 0.1

_ENOUGH = 1024
"""Pixels that can be told to be all alike: fewer may well be one field."""

_MOST = 1e30
"""Physical values beyond leave single precision when a network squares them."""

SCALINGS = (
    (1e-4, 0.0, "reflectance stored as integers"),
    (1e-4, -0.1, "Sentinel-2 Level-2A from baseline 04.00 on"),
    (2.75e-5, -0.2, "Landsat Collection 2 Level-2"),
    (1 / 255, 0.0, "8-bit pictures"),
    (1 / 65535, 0.0, "16-bit pictures"),
)
"""Scale and offset of common products, in the order in which they are tried."""


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


def check_quality(scene: Scene) -> None:
    """Warn of pixels whose quality is unknown: they become nodata."""
    windows = scene.sample_windows()
    pixels = sum(w.shape[0] * w.shape[1] for w in windows)
    for mask in scene.masks:
        known = [mask.read(scene.geobox, w)[1] for w in windows]
        unknown = sum(int((~k).sum()) for k in known if k is not None)
        if unknown:
            warnings.warn(
                f"{scene.name}: {100 * unknown / pixels:.3g} % of the pixels looked at are nodata in the "
                f"quality band {mask.source.path}; with their quality unknown they are not classified",
                GeosegWarning,
                stacklevel=2,
            )


def check_statistics(scene: Scene, card: Card, level: Level) -> None:
    """Compare mean and spread of a sample of the scene with those of the training pixels.

    Raises
    ------
    SceneError
        When neither the sample nor an overview of the whole scene has a valid pixel, or the numbers leave
        single precision in physical units.
    PlanError
        When a band is far off and `level` is error.
    """
    pixels = scene.valid_sample()
    if not pixels.valid.any():
        raise SceneError(
            f"{scene.name}: every pixel looked at is nodata, NaN or masked; see its nodata and mask"
        )
    raw = [v[pixels.valid].astype(np.float64) for v in pixels.values]
    extremes = np.array([np.abs(v).max() for v in raw]) * scene.gain + np.abs(scene.bias)
    if not (extremes < _MOST).all():
        raise SceneError(
            f"{scene.name}: its numbers are too large for single precision; see scale and offset"
        )
    if level == "off":
        return
    means = np.array([v.mean() for v in raw]) * scene.gain + scene.bias
    stds = np.array([v.std() for v in raw]) * scene.gain
    rows = [
        BandStatistics(b.name, float(m), float(s), e.mean, e.std)
        for b, m, s, e in zip(scene.bands, means, stds, card.bands, strict=True)
    ]
    # Written so that a NaN is far.
    if far := [r for r in rows if not r.distance <= MEAN_TOLERANCE]:
        one = far[0]
        what = f"the mean of {one.name} is {one.mean:.3g}, where {card.name} knows {one.expected_mean:.3g}"
        cause = _cause(scene, raw, card)
    elif raw[0].size >= _ENOUGH and not max(r.spread for r in rows) >= 1 / SPREAD_TOLERANCE:
        far, most = rows, max(rows, key=lambda r: r.spread)
        what = (
            f"{most.name} hardly varies, by {most.std:.2g}, where {card.name} knows {most.expected_std:.2g}"
        )
        cause = _scaling_cause(scene, raw, card) or "one value everywhere, or a wrong scale"
    elif far := [r for r in rows if not r.spread <= SPREAD_TOLERANCE]:
        one = far[0]
        what = f"{one.name} varies by {one.std:.3g}, where {card.name} knows {one.expected_std:.3g}"
        cause = _scaling_cause(scene, raw, card) or "noise, or nodata that is not declared"
    else:
        problem = (
            _offset_problem(scene, raw)
            or _order_problem(scene, pixels, card)
            or _noise_problem(scene, pixels)
        )
        if problem is not None:
            report_problem(level, f"{scene.name}: {problem}", "statistics")
        return
    others = "" if len(far) == 1 else f" ({listed([r.name for r in far[1:]], 3)} alike)"
    report_problem(level, f"{scene.name}: {what}{others}; likely cause: {cause}", "statistics")


def _offset_problem(scene: Scene, raw: Sequence[NDArray[np.float64]]) -> str | None:
    """Return what says that the offset of a Sentinel-2 scene was forgotten or taken twice.

    Dark pixels tell: of 243 chips in 30 countries none has a minimum above `_DARKEST` in all visible and
    short-wave infrared bands, and 233 have with the offset forgotten; none has many pixels below `_NEGATIVE`
    in two bands, and 232 have with the offset taken twice.
    """
    named = {b.common_name: (b, v) for b, v in zip(scene.bands, raw, strict=True)}
    dark = [named[n] for n in _DARK_BANDS if n in named]
    usual = all(np.isclose(b.scale, 1e-4, rtol=1e-3) for b in scene.bands)
    if raw[0].size < _ENOUGH or not usual:
        return None
    if len(dark) == len(_DARK_BANDS) and all(b.offset == 0 for b in scene.bands):
        if all(np.quantile(v, 0.001) * b.scale > _DARKEST for b, v in dark):
            return (
                f"none of its pixels is darker than {_DARKEST}; likely cause: an offset of -0.1 is missing "
                "(Sentinel-2 from baseline 04.00 on has it)"
            )
    elif sum((v * b.scale + b.offset < _NEGATIVE).mean() > 0.05 for b, v in named.values()) >= _TWO:
        return (
            f"many pixels are below {_NEGATIVE} in several bands; likely cause: the offset is taken twice, "
            "offset: 0 would fit"
        )
    return None


def _noise_problem(scene: Scene, pixels: Pixels) -> str | None:
    """Return what says that the pixels are noise: in every band neighbours along a line are unlike.

    Of 243 chips in 30 countries none has a correlation below 0.81 in its smoothest band.
    """
    found = []
    for values, valid in _by_window(scene, pixels):
        both = valid[:, 1:] & valid[:, :-1]
        if both.sum() >= _ENOUGH:
            planes = values.astype(np.float64)
            found.append(max(_correlation(p[:, 1:][both], p[:, :-1][both]) for p in planes))
    if not found or float(np.median(found)) >= _LEAST_CORRELATION:
        return None
    return (
        f"neighbouring pixels are correlated by {np.median(found):.2f} only, those of land by over "
        "0.8; likely cause: noise, or a file that was decoded wrongly"
    )


def _correlation(one: NDArray[np.float64], other: NDArray[np.float64]) -> float:
    spread = float(one.std() * other.std())
    return float(((one - one.mean()) * (other - other.mean())).mean()) / spread if spread else 1.0


def _by_window(scene: Scene, pixels: Pixels) -> Iterator[tuple[NDArray[Any], NDArray[np.bool_]]]:
    """Yield values (bands, rows, cols) and validity (rows, cols) of each window; none of an overview."""
    shapes = [w.shape for w in scene.sample_windows()]
    if pixels.valid.size != sum(height * width for height, width in shapes):
        return
    values, valid, start = pixels.values.reshape(len(scene.bands), -1), pixels.valid.ravel(), 0
    for shape in shapes:
        part = slice(start, start := start + shape[0] * shape[1])
        yield values[:, part].reshape(-1, *shape), valid[part].reshape(shape)


def _order_problem(scene: Scene, pixels: Pixels, card: Card) -> str | None:
    """Return what says that the bands are in another order than their names."""
    if card.covariance is None:
        return None
    gain, bias = scene.gain.astype(np.float64)[:, None], scene.bias.astype(np.float64)[:, None]
    windows = [
        values[:, valid] * gain + bias
        for values, valid in _by_window(scene, pixels)
        if valid.sum() >= _ENOUGH
    ]
    order = likely_order(windows, np.array([b.mean for b in card.bands]), np.array(card.covariance))
    if order is None:
        return None
    moved = [scene.bands[i].common_name for i, j in enumerate(order) if i != j]
    what = (
        f"{moved[0]} and {moved[1]} are swapped" if len(moved) == _TWO else "the bands are in reverse order"
    )
    return f"its pixels fit {card.name} far better in another order of bands; likely cause: {what}"


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


def _scaling_cause(scene: Scene, raw: Sequence[NDArray[np.float64]], card: Card) -> str | None:
    """Return the scale and offset of a common product, if they explain the pixels and are not the scene's."""
    known = likely_scaling(raw, card.bands)
    if known is None or all(np.allclose((b.scale, b.offset), known[:2], rtol=1e-4) for b in scene.bands):
        return None
    reason = "is wrong" if scene.bands[0].declared else "is not declared"
    return f"the scale {reason}; scale: {known[0]:.6g}, offset: {known[1]:g} ({known[2]}) would fit"


def _cause(scene: Scene, raw: Sequence[NDArray[np.float64]], card: Card) -> str:
    """Guess the cause: the first explanation that brings all bands near the training pixels."""
    expected = np.array([b.mean for b in card.bands])
    std = np.array([b.std for b in card.bands])
    means = (np.array([v.mean() for v in raw]) * scene.gain + scene.bias).astype(np.float64)

    def fits(values: NDArray[np.float64]) -> bool:
        return bool((np.abs(values - expected) <= EXPLAINED_TOLERANCE * std).all())

    if cause := _scaling_cause(scene, raw, card):
        return cause
    for power in (4, 3, 2, 1, -1, -2, -3, -4):
        if fits(means * 10.0**-power):
            scale = scene.bands[0].scale * 10.0**-power
            reason = "is wrong" if scene.bands[0].declared else "is not declared"
            return f"the scale {reason}; scale: {scale:g} would fit"
    if fits(means / 255 * 0.5) or fits(means / 65535):
        return "stretched or scaled display values, not reflectance; use the original product"
    for offset in (-0.1, 0.1):
        if fits(means + offset):
            return f"an offset of {offset:g} is missing (Sentinel-2 from baseline 04.00 on has -0.1)"
    if fits(means[::-1]):
        return "the bands are in reverse order"
    return "wrong scale, offset or band order, or a place unlike the training data"
