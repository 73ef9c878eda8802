"""How far pixels are from those that a network was trained on, by the covariance of the bands.

The distance is that of Mahalanobis (1936): in standard deviations, along the directions in which the training
pixels vary. A pixel that is farther from their mean than all but one in a hundred of them is *unlike* them.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geoseg.core.legend import NODATA
from geoseg.models import _kernels
from geoseg.models.card import Card

LIMIT = _kernels.LIMIT
"""Level of the distance within which 99 of 100 training pixels are."""

MOST = _kernels.MOST
"""Highest level, of all pixels beyond."""

_LEAST_VARIANCE = 1e-4
"""Least variance along a direction, of bands with a standard deviation of 1: a covariance is rounded in the
card, so that along others it says nothing."""

_PIXELS = 2**17
"""Pixels that are measured at once, about, which bounds the memory."""


@dataclass(frozen=True)
class Gauge:
    """What pixels are held to: the mean of the training pixels, and the directions in which they vary.

    Examples
    --------
    >>> gauge = Gauge.of(np.zeros(2), np.diag([4.0, 1.0]), 2.0)
    >>> gauge.distances(np.array([[2.0, 6.0], [0.0, 0.0]])).tolist()
    [1.0, 3.0]
    >>> gauge.levels(np.array([[[2.0, 6.0]], [[0.0, 0.0]]])).tolist()
    [[50, 150]]
    """

    mean: NDArray[np.float64]
    """Of each band, shape (B,)."""
    whitening: NDArray[np.float64]
    """Lower triangular, shape (B, B): times pixels less their mean, it gives values of variance 1."""
    limit: float
    """Distance within which 99 of 100 training pixels are."""
    raw: bool = False
    """Whether it holds of numbers as they are stored, whatever scale a scene has."""

    @classmethod
    def of(cls, mean: NDArray[np.float64], covariance: NDArray[np.float64], limit: float = 1.0) -> "Gauge":
        """Return the gauge of a mean (B,) and a covariance (B, B)."""
        variances = np.diag(covariance)
        std = np.sqrt(np.where(variances > 0, variances, 1.0))
        found, directions = np.linalg.eigh(covariance / np.outer(std, std))
        kept = directions @ np.diag(np.maximum(found, _LEAST_VARIANCE)) @ directions.T
        return cls(mean, np.linalg.inv(np.linalg.cholesky(kept)) / std, limit)

    def distances(self, pixels: NDArray[Any]) -> NDArray[np.float64]:
        """Return the distance of pixels (B, n) in physical units, shape (n,)."""
        away = self.whitening @ (pixels - self.mean[:, np.newaxis])
        found: NDArray[np.float64] = np.sqrt(np.einsum("ij,ij->j", away, away))
        return found

    def levels(
        self,
        values: NDArray[Any],
        valid: NDArray[np.bool_] | None = None,
        gain: NDArray[Any] | float = 1.0,
        bias: NDArray[Any] | float = 0.0,
    ) -> NDArray[np.uint8]:
        """Return the distance of each pixel in per cent of the limit, 254 for all beyond.

        Each pixel is computed on its own, in the same order of operations: no cut into blocks changes a byte.

        Parameters
        ----------
        values
            Numbers of each band, shape (B, rows, cols).
        valid
            Which pixels have values, shape (rows, cols); None: all.
        gain, bias
            What turns numbers into physical units, shape (B,).

        Returns
        -------
        NDArray
            Shape (rows, cols): above 100 where a pixel is unlike the training pixels, 255 without values.
        """
        out = np.full(values.shape[1:], NODATA, np.uint8)
        gain, bias = (1.0, 0.0) if self.raw else (gain, bias)
        factor, offset = (np.broadcast_to(np.asarray(v, np.float64), self.mean.shape) for v in (gain, bias))
        whole = self.whitening / self.limit
        for part in _parts(out.shape):
            seen = np.ones(out[part].shape, np.bool_) if valid is None else np.ascontiguousarray(valid[part])
            found = np.full(seen.shape, NODATA, np.uint8)
            # One type of numbers, so that one loop is compiled.
            numbers = values[:, *part].astype(np.float64, order="C")
            _kernels.levels(numbers, seen, factor.copy(), offset - self.mean, whole, found)
            out[part] = found
        return out

    def texture(self, steps: NDArray[np.float64]) -> float:
        """Return how rough pixels are, from the mean products of differences of neighbours, shape (B, B).

        It is half the mean squared distance between neighbours: 0 where all are alike, and the number of
        bands where they know nothing of each other.
        """
        return float(np.einsum("ij,jk,ik->", self.whitening, steps, self.whitening)) / 2


def _parts(shape: tuple[int, ...]) -> Iterator[tuple[slice, slice]]:
    """Yield slices of rows and columns that cut an array of a shape into parts of about `_PIXELS`."""
    height, width = shape
    rows = max(1, _PIXELS // max(1, width))
    for row, col in product(range(0, height, rows), range(0, width, _PIXELS)):
        yield slice(row, row + rows), slice(col, col + _PIXELS)


def gauge_of(card: Card) -> Gauge | None:
    """Return what pixels are held to.

    None when the card does not say how the training pixels vary, and of a network of photographs, in which
    light may be anything.
    """
    if card.covariance is None or card.strangeness is None or card.gsd_m is None:
        return None
    found = Gauge.of(
        np.array([b.mean for b in card.bands]), np.array(card.covariance), card.strangeness.distance
    )
    return replace(found, raw=card.numbers == "raw")


def not_measured(card: Card) -> str:
    """Return why no pixel can be held to the training pixels of a card, and what to do."""
    return (
        f"the card of {card.name} does not say how its training pixels vary; measure them with geoseg models "
        "measure, or leave it out"
    )


def count_unlike(found: NDArray[np.uint8]) -> dict[str, int]:
    """Return how many of some levels are of pixels unlike the training pixels, and how many were measured."""
    measured = found != NODATA
    return {"unlike": int(((found > LIMIT) & measured).sum()), "measured": int(measured.sum())}


def steps_of(values: NDArray[Any], valid: NDArray[np.bool_]) -> tuple[NDArray[np.float64], int]:
    """Return the mean products of differences of neighbours along lines (B, B), and their number.

    Parameters
    ----------
    values
        In physical units, shape (B, rows, cols).
    valid
        Shape (rows, cols).
    """
    both = valid[:, 1:] & valid[:, :-1]
    away = (values[:, :, 1:][:, both] - values[:, :, :-1][:, both]).astype(np.float64)
    number = away.shape[1]
    return away @ away.T / max(number, 1), number
