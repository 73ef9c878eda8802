"""Confidence intervals of proportions, of their weighted sums and of ratios of such sums.

An interval from the standard error alone (Wald) is too narrow where few points fall into a class, and reaches
below 0. Here the limits of each proportion are combined instead (method of variance estimates recovery,
MOVER: Zou and Donner 2008, Construction of confidence limits about effect measures, Statistics in Medicine
27, 1693-1702). The limits of a proportion are those of Jeffreys (Brown, Cai and DasGupta 2001, Interval
estimation for a binomial proportion, Statistical Science 16, 101-133).
"""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.stats import beta

LEVEL = 0.95
"""Share of samples whose interval holds the truth."""

_HALVINGS = 50

Floats = NDArray[np.float64]


class Limits(NamedTuple):
    """An estimate and its interval; arrays of one shape."""

    value: Floats
    low: Floats
    high: Floats


def proportion(found: NDArray[Any], points: NDArray[Any], *, known: NDArray[np.bool_]) -> Limits:
    """Return proportions of points with Jeffreys' interval; its ends are 0 and 1 where none or all are found.

    Parameters
    ----------
    found, points
        Points found and drawn, of shapes that broadcast; without any point the interval is 0 to 1.
    known
        Whether all there is was drawn: the proportion is then no estimate.

    Examples
    --------
    >>> limits = proportion(np.array(1), np.array(10), known=np.array(False))
    >>> [round(float(v), 3) for v in limits]
    [0.1, 0.011, 0.381]
    """
    found, points = np.broadcast_arrays(found, points)
    value = found / np.maximum(points, 1)
    tail = (1 - LEVEL) / 2
    low = np.where(found > 0, beta.ppf(tail, found + 0.5, points - found + 0.5), 0.0)
    high = np.where(found < points, beta.ppf(1 - tail, found + 0.5, points - found + 0.5), 1.0)
    return Limits(value, np.where(known, value, low), np.where(known, value, np.where(points > 0, high, 1.0)))


def weighted_sum(weights: Floats, parts: Limits) -> Limits:
    """Return the sum over the second last axis of independent parts, each times its weight.

    Parameters
    ----------
    weights
        Not negative, shape (H,).
    parts
        Shape (..., H, C).
    """
    value = np.einsum("h,...hc->...c", weights, parts.value)
    below = np.einsum("h,...hc->...c", weights**2, (parts.value - parts.low) ** 2)
    above = np.einsum("h,...hc->...c", weights**2, (parts.high - parts.value) ** 2)
    # The least of a sum is the sum of the leasts: rounding alone could pass it.
    return Limits(value, np.maximum(value - np.sqrt(below), 0.0), value + np.sqrt(above))


def share_of_sum(one: Limits, other: Limits) -> Limits:
    """Return one / (one + other) of two independent values that are not negative; NaN where both are 0.

    A share s is in the interval when 0 is in that of (1 - s) * one - s * other.
    """
    with np.errstate(invalid="ignore", divide="ignore"):
        value = one.value / (one.value + other.value)
    low = _crossing(one.value, one.value - one.low, other.value, other.high - other.value, -1)
    high = _crossing(one.value, one.high - one.value, other.value, other.value - other.low, 1)
    known = np.isfinite(value)
    # Halving stops short of an end by less than anybody can see.
    return Limits(
        value,
        np.where(known, np.minimum(low, value), np.nan),
        np.where(known, np.maximum(high, value), np.nan),
    )


def _crossing(one: Floats, one_off: Floats, other: Floats, other_off: Floats, side: int) -> Floats:
    """Return the share at which a limit of (1 - s) * one - s * other is 0; it falls as the share rises."""
    low, high = np.zeros_like(one), np.ones_like(one)
    for _ in range(_HALVINGS):
        share = (low + high) / 2
        off = np.hypot((1 - share) * one_off, share * other_off)
        positive = (1 - share) * one - share * other + side * off > 0
        low, high = np.where(positive, share, low), np.where(positive, high, share)
    return high
