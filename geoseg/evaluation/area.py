"""Accuracy and areas from a stratified random sample, with confidence intervals.

Olofsson, Foody, Herold, Stehman, Woodcock, Wulder 2014, Good practices for estimating area and assessing
accuracy of land change, Remote Sensing of Environment 148, 42-57; numbers of equations are theirs. Counting
pixels of the map gives areas that are off by the map's own errors; the sample tells by how much.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Z95 = 1.959964
"""Half width of a 95 % confidence interval in standard errors."""
FEWEST = 2
"""Points of a stratum that have a variance."""


@dataclass(frozen=True)
class Estimates:
    """Area-adjusted estimates with their standard errors; NaN where the sample cannot tell."""

    overall: float
    overall_se: float
    users: NDArray[np.float64]
    """User's accuracy, shape (C,)."""
    users_se: NDArray[np.float64]
    producers: NDArray[np.float64]
    """Producer's accuracy, shape (C,)."""
    producers_se: NDArray[np.float64]
    share: NDArray[np.float64]
    """Share of the mapped area that truly is of each class, shape (C,)."""
    share_se: NDArray[np.float64]


def least_points(pixels: NDArray[Any]) -> NDArray[Any]:
    """Return how many points each stratum needs, shape (C,): two, or its only pixel."""
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
        Pixels of each class, shape (C,). Where each of them is a point nothing is left to chance, and the
        variance is 0. Default: more than there are points.

    Raises
    ------
    ValueError
        When a stratum with an area has fewer than two points, and more pixels: it has no variance.
    """
    points = counts.sum(axis=1)
    pixels = points + FEWEST if pixels is None else pixels
    if ((areas > 0) & (points < least_points(pixels))).any():
        raise ValueError("a stratum has fewer than two points")
    weight = np.where(areas > 0, areas, 0) / areas.sum()
    # Strata without area take no part: their weight is 0, the divisors below are any number but 0.
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
    """Share points out among strata in proportion to weights, within bounds.

    Parameters
    ----------
    weights
        Wish of each stratum, shape (C,), not negative.
    counts
        Pixels of each stratum: no pixel is taken twice.
    size
        Points in all.
    minimum
        Points that each stratum gets at least, as far as it has pixels.

    Returns
    -------
    numpy.ndarray
        Points of each stratum, shape (C,); they sum to `size` unless there are fewer pixels.

    Raises
    ------
    ValueError
        When the minimum alone needs more points.
    """
    lower = np.minimum(minimum, counts)
    if lower.sum() > size:
        raise ValueError(f"at least {minimum} points in each class make {lower.sum()}, more than {size}")
    if counts.sum() <= size:
        return counts.copy()
    # A class that is there can always be sampled, even where its wish is 0.
    wish = np.where(counts > 0, np.maximum(weights / weights.max(), 1e-12), 0.0)
    low, high = 0.0, float(counts.max()) / 1e-12
    for _ in range(200):
        middle = (low + high) / 2
        enough = np.clip(middle * wish, lower, counts).sum() >= size
        low, high = (low, middle) if enough else (middle, high)
    exact = np.clip(high * wish, lower, counts)
    points = np.floor(exact + 1e-9).astype(np.int64)
    order = np.argsort(-(exact - points), kind="stable")
    for stratum in order[points[order] < counts[order]][: size - int(points.sum())]:
        points[stratum] += 1
    return points
