"""Whether the bands of a scene have the right names: with two of them swapped the pixels may be likelier.

The likelihood is that of a normal distribution with the mean and covariance of the training pixels.
"""

from collections.abc import Sequence
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

WINDOWS = 4
"""Windows that are needed to tell: one may be all water."""

AGREEING = 0.9
"""Share of the windows in which the same other order must be likelier."""

MARGIN = 6.0
"""Squared Mahalanobis distance by which the pixels must be nearer to the training pixels in the other order.
Of 243 chips of 3.8 km in right order 4 were nearer by as much in another one; of chips with two bands swapped
nine in ten, for each pair."""

_PIXELS = 2000
"""Pixels of a window that are looked at."""


def likely_order(
    windows: Sequence[NDArray[np.float64]], mean: NDArray[np.float64], covariance: NDArray[np.float64]
) -> tuple[int, ...] | None:
    """Return the order of bands that fits far better than the given one.

    Parameters
    ----------
    windows
        Valid pixels of parts of a scene, in physical units, each of shape (bands, pixels).
    mean, covariance
        Those of the training pixels, shape (bands,) and (bands, bands).

    Returns
    -------
    tuple or None
        For each band of the network, from which band of the scene it should come: two swapped, or all
        reversed. None when the given order is as good, or there are fewer than `WINDOWS`.
    """
    if len(windows) < WINDOWS:
        return None
    orders = _orders(len(mean))
    inverse = np.linalg.pinv(covariance).astype(np.float64)
    gains = np.array([_gains(pixels, orders, mean, inverse) for pixels in windows])
    best = gains.argmax(axis=1)
    counts = np.bincount(best[gains.max(axis=1) > MARGIN], minlength=len(orders))
    return orders[int(counts.argmax())] if counts.max() >= AGREEING * len(windows) else None


def _orders(bands: int) -> list[tuple[int, ...]]:
    found = []
    for one, other in combinations(range(bands), 2):
        order = list(range(bands))
        order[one], order[other] = other, one
        found.append(tuple(order))
    backwards = tuple(reversed(range(bands)))
    return found if backwards in found else [*found, backwards]


def _gains(
    pixels: NDArray[np.float64],
    orders: Sequence[tuple[int, ...]],
    mean: NDArray[np.float64],
    inverse: NDArray[np.float64],
) -> NDArray[np.float64]:
    """Return by how much the mean squared Mahalanobis distance falls with each order, shape (orders,)."""
    some = pixels[:, :: max(1, pixels.shape[1] // _PIXELS)]

    def distance(order: Sequence[int]) -> float:
        away = some[list(order)] - mean[:, None]
        return float(np.einsum("ij,ik,kj->j", away, inverse, away).mean())

    given = distance(range(len(mean)))
    return np.array([given - distance(order) for order in orders])
