"""Agreement of two maps of numbers: sums over pixels, the scores that follow from them, histograms."""

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geoseg.evaluation.metrics import plain

CELLS = 64
"""Bins of the 2-D histogram along each axis, and of the histogram of the differences."""


@dataclass
class NumberAgreement:
    """Sums over the pixels of a reference and a map.

    Sums of many windows do not lose the digits of the small ones: means are moved as windows are added (Chan,
    Golub, LeVeque 1983).

    Examples
    --------
    >>> found = NumberAgreement(0, 10)
    >>> found.add(np.array([1.0, 2.0, 3.0]), np.array([1.0, 3.0, 5.0]))
    >>> {k: v for k, v in found.scores().items() if k in ("rmse", "mae", "bias")}
    {'rmse': 1.290994, 'mae': 1.0, 'bias': 1.0}
    """

    low: float
    high: float
    """Range of the histograms; values beyond it count in the cells at its ends."""
    pixels: int = 0
    absolute: float = 0.0
    squares: float = 0.0
    """Sum of the absolute and of the squared differences, map minus reference."""
    means: NDArray[np.float64] = field(default_factory=lambda: np.zeros(2))
    """Mean of the reference and of the map."""
    moments: NDArray[np.float64] = field(default_factory=lambda: np.zeros((2, 2)))
    """Sums of the products of deviations from these means."""
    cells: NDArray[np.int64] = field(default_factory=lambda: np.zeros((CELLS, CELLS), np.int64))
    """Pixels by bin of the reference (rows) and of the map (columns)."""
    differences: NDArray[np.int64] = field(default_factory=lambda: np.zeros(CELLS, np.int64))
    """Pixels by bin of the difference, from -(high - low) / 2 to (high - low) / 2."""

    def add(self, reference: NDArray[Any], mapped: NDArray[Any]) -> None:
        """Add pixels; those that are NaN in either do not count."""
        known = ~(np.isnan(reference) | np.isnan(mapped))
        pair = np.stack([reference[known], mapped[known]]).astype(np.float64)
        count = pair.shape[1]
        if not count:
            return
        difference = pair[1] - pair[0]
        self.absolute += float(np.abs(difference).sum())
        self.squares += float(difference @ difference)
        means = pair.mean(axis=1)
        shift, total = means - self.means, self.pixels + count
        deviations = pair - means[:, None]
        self.moments += deviations @ deviations.T + np.outer(shift, shift) * (self.pixels * count / total)
        self.means += shift * (count / total)
        self.pixels = total
        rows, cols = (self._bin((p - self.low) / (self.high - self.low)) for p in pair)
        self.cells += np.bincount(rows * CELLS + cols, minlength=CELLS**2).reshape(CELLS, CELLS)
        places = self._bin(difference / (self.high - self.low) + 0.5)
        self.differences += np.bincount(places, minlength=CELLS)

    @staticmethod
    def _bin(share: NDArray[np.float64]) -> NDArray[np.int64]:
        return (share * CELLS).clip(0, CELLS - 1).astype(np.int64)

    def scores(self) -> dict[str, Any]:
        """Return the fields of a `NumberScores` report, None where a figure would divide by zero."""
        n = self.pixels
        (spread, _), (both, mapped) = self.moments
        nothing = math.nan
        rmse = math.sqrt(self.squares / n) if n else nothing
        product = math.sqrt(spread * mapped)
        figures = {
            "rmse": rmse,
            "mae": self.absolute / n if n else nothing,
            "bias": self.means[1] - self.means[0] if n else nothing,
            "r2": 1 - self.squares / spread if spread else nothing,
            "correlation": both / product if product else nothing,
            "reference_mean": self.means[0] if n else nothing,
            "reference_std": math.sqrt(spread / n) if n else nothing,
            "map_mean": self.means[1] if n else nothing,
            "map_std": math.sqrt(mapped / n) if n else nothing,
        }
        return {"pixels": n, **{k: plain(v) for k, v in figures.items()}}
