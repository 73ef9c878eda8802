"""Accuracy and areas from a stratified random sample, with confidence intervals.

Olofsson, Foody, Herold, Stehman, Woodcock, Wulder 2014, Good practices for estimating area and assessing
accuracy of land change, Remote Sensing of Environment 148, 42-57; the numbers of equations are those of the
paper. Areas counted on the map are biased by the map's errors; the sample estimates this bias.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geoseg.evaluation.intervals import Limits, proportion, share_of_sum, weighted_sum

FEWEST = 2
"""Fewest points of a stratum that has an interval."""


@dataclass(frozen=True)
class Estimates:
    """Area-adjusted estimates with their 95 % confidence intervals; NaN where the sample does not suffice."""

    overall: Limits
    users: Limits
    """User's accuracy, shape (C,)."""
    producers: Limits
    """Producer's accuracy, shape (C,)."""
    share: Limits
    """True share of each class in the mapped area, shape (C,)."""


def least_points(pixels: NDArray[Any]) -> NDArray[Any]:
    """Return the fewest points of each stratum, shape (C,): two, or one where it has one pixel."""
    return np.asarray(np.minimum(FEWEST, pixels))


def estimate(counts: NDArray[Any], areas: NDArray[Any], pixels: NDArray[Any] | None = None) -> Estimates:
    """Estimate accuracies and areas when the strata are the classes of the map.

    The estimates are those of the paper. Its intervals, from standard errors, hold the truth of rare classes
    too seldom; those here are of `geoseg.evaluation.intervals`.

    Parameters
    ----------
    counts
        Sample points, shape (..., C, C): rows are classes of the map (strata), columns of the reference.
    areas
        Mapped area of each class in any unit, shape (C,); 0 for classes that the map does not have.
    pixels
        Pixels of each class, shape (C,). A stratum whose pixels are all points is known. Default: more pixels
        than points.

    Raises
    ------
    ValueError
        When a stratum with an area has more pixels than points, and fewer than two points.

    Examples
    --------
    >>> found = estimate(np.array([[45, 5], [2, 48]]), np.array([30.0, 70.0]))
    >>> [round(float(v[0]), 3) for v in found.share]
    [0.298, 0.272, 0.347]
    """
    points = counts.sum(axis=-1)
    pixels = points + FEWEST if pixels is None else pixels
    if ((areas > 0) & (points < least_points(pixels))).any():
        raise ValueError("a stratum has fewer than two points")
    weight = np.where(areas > 0, areas, 0) / areas.sum()
    known = (points >= pixels)[..., None]
    cells = proportion(counts, points[..., None], known=known)
    diagonal = Limits(*(np.diagonal(v, axis1=-2, axis2=-1) for v in cells))
    mapped = areas > 0
    own = Limits(*(weight * v for v in diagonal))
    others = Limits(*(v * ~np.eye(len(weight), dtype=bool) for v in cells))
    return Estimates(
        overall=Limits(*(v[..., 0] for v in weighted_sum(weight, Limits(*(v[..., None] for v in diagonal))))),
        users=Limits(*(np.where(mapped, v, np.nan) for v in diagonal)),  # eq. 2
        producers=share_of_sum(own, weighted_sum(weight, others)),  # eq. 3
        share=weighted_sum(weight, cells),  # eq. 9
    )


def allocate(
    weights: NDArray[np.float64],
    counts: NDArray[np.int64],
    size: int,
    minimum: int,
    had: NDArray[np.int64] | None = None,
) -> NDArray[np.int64]:
    """Allocate points to strata in proportion to weights, within bounds.

    Parameters
    ----------
    weights
        Weight of each stratum, shape (C,), not negative.
    counts
        Pixels of each stratum, shape (C,): an upper bound, since no pixel is drawn twice.
    size
        Number of points.
    minimum
        Fewest points of each stratum that has so many pixels.
    had
        Points of each stratum that a pilot has drawn, shape (C,): a lower bound, too.

    Returns
    -------
    numpy.ndarray
        Points of each stratum, shape (C,); they sum to `size` unless there are fewer pixels.

    Raises
    ------
    ValueError
        When the minimum alone exceeds `size`.
    """
    lower = np.minimum(minimum if had is None else np.maximum(had, minimum), counts)
    if lower.sum() > size:
        pilot = "" if had is None else ", with those of the pilot,"
        raise ValueError(
            f"at least {minimum} points in each class{pilot} make {lower.sum()}, more than {size}"
        )
    if counts.sum() <= size:
        return counts.copy()
    # A class of the map may be sampled even when its weight is 0.
    share = np.where(counts > 0, np.maximum(weights / weights.max(), 1e-12), 0.0)
    low, high = 0.0, float(counts.max()) / 1e-12
    for _ in range(200):
        middle = (low + high) / 2
        enough = np.clip(middle * share, lower, counts).sum() >= size
        low, high = (low, middle) if enough else (middle, high)
    exact = np.clip(high * share, lower, counts)
    points = np.floor(exact + 1e-9).astype(np.int64)
    order = np.argsort(-(exact - points), kind="stable")
    for stratum in order[points[order] < counts[order]][: size - int(points.sum())]:
        points[stratum] += 1
    return points
