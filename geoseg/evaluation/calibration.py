"""Calibration of probabilities: Brier score, expected calibration error, reliability table."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from geoseg.core.legend import IGNORE
from geoseg.evaluation.metrics import plain


class Calibration:
    """Collects probabilities and the true classes, batch by batch.

    The expected calibration error is the mean gap between confidence and accuracy of the chosen class over
    bins of equal width, weighted with their pixels (Guo et al. 2017, On calibration of modern neural
    networks). The Brier score is the mean over pixels of the sum over classes of (p - y)^2, from 0 to 2
    (Brier 1950, Verification of forecasts expressed in terms of probability).

    Parameters
    ----------
    bins
        Number of bins of confidence.
    """

    def __init__(self, bins: int = 15) -> None:
        self._pixels = np.zeros(bins, dtype=np.int64)
        self._right = np.zeros(bins, dtype=np.int64)
        self._confidence = np.zeros(bins)
        self._squares = 0.0
        self._compared = 0

    def add(self, probabilities: NDArray[Any], reference: NDArray[Any]) -> None:
        """Add the probabilities of all classes.

        Parameters
        ----------
        probabilities
            Probabilities of shape (C, ...), 0 to 1.
        reference
            Channel numbers of shape (...); pixels that are 255 do not count.
        """
        known = reference != IGNORE
        p, truth = probabilities[:, known].astype(np.float64), reference[known].astype(np.intp)
        at_truth = np.take_along_axis(p, truth[None], axis=0)[0]
        # Sum over classes of (p - y)^2, where y is 1 for the true class and 0 elsewhere.
        self._squares += float(((p**2).sum(axis=0) - 2 * at_truth + 1).sum())
        self._compared += truth.size
        if truth.size:
            self.add_confidence(p.max(axis=0), p.argmax(axis=0) == truth)

    def add_confidence(self, confidence: NDArray[Any], right: NDArray[np.bool_]) -> None:
        """Add the probability of the chosen class and whether it is the true class; both have one shape."""
        p = np.asarray(confidence, dtype=np.float64).ravel()
        bins = len(self._pixels)
        # Rounded up, since a bin contains its upper end in the paper; to the fifth digit before, since 0.8
        # in 32 bits is a little more.
        place = np.clip(np.ceil(np.round(p * bins, 5)).astype(np.intp) - 1, 0, bins - 1)
        self._pixels += np.bincount(place, minlength=bins)
        self._right += np.bincount(place[np.asarray(right).ravel()], minlength=bins)
        self._confidence += np.bincount(place, weights=p, minlength=bins)

    def sums(self) -> NDArray[np.float64]:
        """Return all that was collected as numbers that may be added up, shape (3 * bins + 2,)."""
        rest = [self._squares, self._compared]
        return np.concatenate([self._pixels, self._right, self._confidence, rest]).astype(np.float64)

    @classmethod
    def of_sums(cls, sums: NDArray[np.float64]) -> "Calibration":
        """Return the calibration of added up `sums`."""
        bins = (len(sums) - 2) // 3
        found = cls(bins)
        found._pixels, found._right = (v.astype(np.int64) for v in (sums[:bins], sums[bins : 2 * bins]))
        found._confidence = sums[2 * bins : 3 * bins].copy()
        found._squares, found._compared = float(sums[-2]), int(sums[-1])
        return found

    @property
    def expected_calibration_error(self) -> float:
        """Expected calibration error, 0 to 1; NaN without any pixel."""
        total = self._pixels.sum()
        return float(np.abs(self._confidence - self._right).sum() / total) if total else float("nan")

    @property
    def brier(self) -> float:
        """Brier score, 0 to 2; NaN when only confidences were added."""
        return self._squares / self._compared if self._compared else float("nan")

    def to_dict(self) -> dict[str, Any]:
        """Return the figures and the reliability table as plain values, None without pixels."""
        edges = np.linspace(0, 1, len(self._pixels) + 1)
        return {
            "expected_calibration_error": plain(self.expected_calibration_error),
            "brier": plain(self.brier),
            "pixels": int(self._pixels.sum()),
            "reliability": [
                {
                    "from": plain(edges[i]),
                    "to": plain(edges[i + 1]),
                    "pixels": int(n),
                    "confidence": plain(self._confidence[i] / n) if n else None,
                    "accuracy": plain(self._right[i] / n) if n else None,
                }
                for i, n in enumerate(self._pixels)
            ],
        }
