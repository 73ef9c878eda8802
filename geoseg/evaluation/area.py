"""Accuracy and areas from a stratified random sample, with confidence intervals.

Olofsson, Foody, Herold, Stehman, Woodcock, Wulder 2014, Good practices for estimating area and assessing
accuracy of land change, Remote Sensing of Environment 148, 42-57; the numbers of equations are those of the
paper. Areas counted on the map are biased by the map's errors; the sample estimates this bias.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Z95 = 1.959964
"""Half the width of a 95 % confidence interval in standard errors."""
FEWEST = 2
"""Fewest points of a stratum that have a variance."""


@dataclass(frozen=True)
class Estimates:
    """Area-adjusted estimates with their standard errors; NaN where the sample does not suffice."""

    overall: float
    overall_se: float
    users: NDArray[np.float64]
    """User's accuracy, shape (C,)."""
    users_se: NDArray[np.float64]
    producers: NDArray[np.float64]
    """Producer's accuracy, shape (C,)."""
    producers_se: NDArray[np.float64]
    share: NDArray[np.float64]
    """True share of each class in the mapped area, shape (C,)."""
    share_se: NDArray[np.float64]


def least_points(pixels: NDArray[Any]) -> NDArray[Any]:
    """Return the fewest points of each stratum, shape (C,): two, or one where it has one pixel."""
    return np.asarray(np.minimum(FEWEST, pixels))


def estimate(counts: NDArray[np.int64], areas: NDArray[Any], pixels: NDArray[Any] | None = None) -> Estimates:
    """Estimate accuracies and areas when the strata are the classes of the map.

    Parameters
    ----------
    counts
        Sample points, shape (C, C): rows are classes of the map (strata), columns of the reference.
    areas
        Mapped area of each class in any unit, shape (C,); 0 for classes that the map does not have.
    pixels
        Pixels of each class, shape (C,). A stratum whose pixels are all points has the variance 0. Default:
        more pixels than points.

    Raises
    ------
    ValueError
        When a stratum with an area has more pixels than points, and fewer than two points.
    """
    points = counts.sum(axis=1)
    pixels = points + FEWEST if pixels is None else pixels
    if ((areas > 0) & (points < least_points(pixels))).any():
        raise ValueError("a stratum has fewer than two points")
    weight = np.where(areas > 0, areas, 0) / areas.sum()
    # Strata without area have weight 0; the divisors below only have to differ from 0.
    conditional = counts / np.maximum(points, 1)[:, None]
    spread = conditional * (1 - conditional) / np.maximum(points - 1, 1)[:, None]
    spread[points >= pixels] = 0
    right, right_variance = np.diag(conditional), np.diag(spread)
    cells = weight[:, None] * conditional  # eq. 4
    share = cells.sum(axis=0)  # eq. 9
    with np.errstate(invalid="ignore", divide="ignore"):
        producers = np.diag(cells) / share  # eq. 3
        # eq. 7, divided by the total area squared: N_j is weight, the estimated total of class j is share.
        own = weight**2 * (1 - producers) ** 2 * right_variance
        others = ((weight**2)[:, None] * spread).sum(axis=0) - weight**2 * right_variance
        producers_se = np.sqrt(own + producers**2 * others) / share
    mapped = areas > 0
    return Estimates(
        overall=float(np.diag(cells).sum()),  # eq. 1
        overall_se=float(np.sqrt((weight**2 * right_variance).sum())),  # eq. 5
        users=np.where(mapped, right, np.nan),  # eq. 2
        users_se=np.where(mapped, np.sqrt(right_variance), np.nan),  # eq. 6
        producers=producers,
        producers_se=producers_se,
        share=share,
        share_se=np.sqrt(((weight**2)[:, None] * spread).sum(axis=0)),  # eq. 10
    )


def allocate(
    weights: NDArray[np.float64], counts: NDArray[np.int64], size: int, minimum: int
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

    Returns
    -------
    numpy.ndarray
        Points of each stratum, shape (C,); they sum to `size` unless there are fewer pixels.

    Raises
    ------
    ValueError
        When the minimum alone exceeds `size`.
    """
    lower = np.minimum(minimum, counts)
    if lower.sum() > size:
        raise ValueError(f"at least {minimum} points in each class make {lower.sum()}, more than {size}")
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
