"""What pixels show though their mean and spread are right: a wrong offset, noise, another order of bands."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geoseg.inference.band_order import likely_order
from geoseg.models.card import Card
from geoseg.models.strangeness import gauge_of, steps_of
from geoseg.scenes.pixels import Pixels
from geoseg.scenes.scene import Scene

ENOUGH = 1024
"""Pixels that can be told to be all alike: fewer may well be one field."""

_DARK_BANDS = ("blue", "green", "red", "swir16", "swir22")
_DARKEST, _NEGATIVE = 0.08, -0.02
_TWO = 2
_LEAST_CORRELATION = 0.1

ROUGHER = 4.0
"""How many times rougher than 99 of 100 training chips the land of a scene may be: of 243 chips one in 30
countries was, and all with noise of a standard deviation of 0.012 added to their reflectance were."""

DARKEST = 0.4
"""Share of the mean of the training pixels that at least one band reaches: of 243 chips in 30 countries the
darkest, all water, had 0.42 in its brightest band."""


def offset_problem(scene: Scene, raw: Sequence[NDArray[np.float64]]) -> str | None:
    """Return what says that the offset of a Sentinel-2 scene was forgotten or taken twice.

    Dark pixels tell: of 243 chips in 30 countries none has a minimum above `_DARKEST` in all visible and
    short-wave infrared bands, and 233 have with the offset forgotten; none has many pixels below `_NEGATIVE`
    in two bands, and 232 have with the offset taken twice.
    """
    named = {b.common_name: (b, v) for b, v in zip(scene.bands, raw, strict=True)}
    dark = [named[n] for n in _DARK_BANDS if n in named]
    usual = all(np.isclose(b.scale, 1e-4, rtol=1e-3) for b in scene.bands)
    if raw[0].size < ENOUGH or not usual:
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


def noise_problem(scene: Scene, pixels: Pixels) -> str | None:
    """Return what says that the pixels are noise: in every band neighbours along a line are unlike.

    Of 243 chips in 30 countries none has a correlation below 0.81 in its smoothest band.
    """
    found = []
    for values, valid in _by_window(scene, pixels):
        both = valid[:, 1:] & valid[:, :-1]
        if both.sum() >= ENOUGH:
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


def order_problem(scene: Scene, pixels: Pixels, card: Card) -> str | None:
    """Return what says that the bands are in another order than their names."""
    if card.covariance is None or card.numbers == "raw":
        return None
    gain, bias = scene.gain.astype(np.float64)[:, None], scene.bias.astype(np.float64)[:, None]
    windows = [
        values[:, valid] * gain + bias for values, valid in _by_window(scene, pixels) if valid.sum() >= ENOUGH
    ]
    order = likely_order(windows, np.array([b.mean for b in card.bands]), np.array(card.covariance))
    if order is None:
        return None
    moved = [scene.bands[i].common_name for i, j in enumerate(order) if i != j]
    what = (
        f"{moved[0]} and {moved[1]} are swapped" if len(moved) == _TWO else "the bands are in reverse order"
    )
    return f"its pixels fit {card.name} far better in another order of bands; likely cause: {what}"


def rough_problem(scene: Scene, pixels: Pixels, card: Card) -> str | None:
    """Return what says that neighbouring pixels differ more than those of land do: noise over a picture."""
    gauge, known = gauge_of(card), card.strangeness
    if gauge is None or known is None or known.texture is None:
        return None
    gain, bias = (1.0, 0.0) if gauge.raw else (scene.gain[:, None, None], scene.bias[:, None, None])
    found = []
    for values, valid in _by_window(scene, pixels):
        steps, number = steps_of(values.astype(np.float64) * gain + bias, valid)
        if number >= ENOUGH:
            found.append(gauge.texture(steps))
    if not found or (times := float(np.median(found)) / known.texture) <= ROUGHER:
        return None
    return (
        f"neighbouring pixels differ {times:.2g} times more than in the roughest of 100 training chips of "
        f"{card.name}; likely cause: noise, bands that do not lie on each other, or a file that was decoded "
        "wrongly"
    )


def dark_problem(means: NDArray[np.float64], card: Card) -> str | None:
    """Return what says that a scene is darker in every band than the training pixels: low sun, or shadow."""
    expected = np.array([b.mean for b in card.bands])
    if gauge_of(card) is None or not (expected > 0).all():
        return None
    share = float((means / expected).max())
    if not share < DARKEST:
        return None
    return (
        f"every band is darker than {share:.2g} times the mean of the training pixels of {card.name}; likely "
        "cause: low sun, shadow, or numbers that were not divided by the sine of the sun's elevation"
    )
