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
    classes
        Number of classes, each of which has bins of its own; 1: all are counted together.
    """

    def __init__(self, bins: int = 15, classes: int = 1) -> None:
        self._pixels = np.zeros((classes, bins), dtype=np.int64)
        self._right = np.zeros((classes, bins), dtype=np.int64)
        self._confidence = np.zeros((classes, bins))
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
            chosen = p.argmax(axis=0)
            self.add_confidence(p.max(axis=0), chosen == truth, chosen)

    def add_confidence(
        self, confidence: NDArray[Any], right: NDArray[np.bool_], chosen: NDArray[Any] | None = None
    ) -> None:
        """Add the probability of the chosen class and whether it is the true class, all of one shape.

        Parameters
        ----------
        confidence
            Probability of the chosen class.
        right
            Whether it is the true class.
        chosen
            Channel of the chosen class; needed where classes have bins of their own.
        """
        p = np.asarray(confidence, dtype=np.float64).ravel()
        classes, bins = self._pixels.shape
        # Rounded up, since a bin contains its upper end in the paper; to the fifth digit before, since 0.8
        # in 32 bits is a little more.
        place = np.clip(np.ceil(np.round(p * bins, 5)).astype(np.intp) - 1, 0, bins - 1)
        if chosen is not None and classes > 1:
            place += np.asarray(chosen).ravel().astype(np.intp) * bins

        def count(at: NDArray[np.intp], weights: NDArray[np.float64] | None = None) -> NDArray[Any]:
            return np.bincount(at, weights, classes * bins).reshape(classes, bins)

        self._pixels += count(place)
        self._right += count(place[np.asarray(right).ravel()])
        self._confidence += count(place, p)

    def sums(self) -> NDArray[np.float64]:
        """Return all that was collected as numbers that may be added up, shape (3 * classes * bins + 2,)."""
        tables = [t.ravel() for t in (self._pixels, self._right, self._confidence)]
        return np.concatenate([*tables, [self._squares, self._compared]]).astype(np.float64)

    @classmethod
    def of_sums(cls, sums: NDArray[np.float64], classes: int = 1) -> "Calibration":
        """Return the calibration of added up `sums` of one with so many classes."""
        tables = sums[:-2].reshape(3, classes, -1)
        found = cls(tables.shape[2], classes)
        found._pixels, found._right = (t.astype(np.int64) for t in tables[:2])
        found._confidence = tables[2].copy()
        found._squares, found._compared = float(sums[-2]), int(sums[-1])
        return found

    @property
    def expected_calibration_error(self) -> float:
        """Expected calibration error, 0 to 1; NaN without any pixel."""
        total = self._pixels.sum()
        gaps = np.abs(self._confidence.sum(axis=0) - self._right.sum(axis=0))
        return float(gaps.sum() / total) if total else float("nan")

    @property
    def brier(self) -> float:
        """Brier score, 0 to 2; NaN when only confidences were added."""
        return self._squares / self._compared if self._compared else float("nan")

    def to_dict(self) -> dict[str, Any]:
        """Return the figures and the reliability table as plain values, None without pixels."""
        tables = (t.sum(axis=0) for t in (self._pixels, self._right, self._confidence))
        return {
            "expected_calibration_error": plain(self.expected_calibration_error),
            "brier": plain(self.brier),
            "pixels": int(self._pixels.sum()),
            "reliability": _table(*tables),
        }

    def by_class(self) -> list[dict[str, Any]]:
        """Return for each class its expected calibration error and the bins that have pixels, plain values.

        Both are over the pixels where the class is the most probable one; an error of none is None.
        """
        found = []
        for pixels, right, confidence in zip(self._pixels, self._right, self._confidence, strict=True):
            total = int(pixels.sum())
            error = plain(np.abs(confidence - right).sum() / total) if total else None
            rows = [row for row in _table(pixels, right, confidence) if row["pixels"]]
            found.append({"expected_calibration_error": error, "reliability": rows})
        return found


def _table(
    pixels: NDArray[np.int64], right: NDArray[np.int64], confidence: NDArray[np.float64]
) -> list[dict[str, Any]]:
    """Return the rows of a reliability table as plain values."""
    edges = np.linspace(0, 1, len(pixels) + 1)
    return [
        {
            "from": plain(edges[i]),
            "to": plain(edges[i + 1]),
            "pixels": int(n),
            "confidence": plain(confidence[i] / n) if n else None,
            "accuracy": plain(right[i] / n) if n else None,
        }
        for i, n in enumerate(pixels)
    ]


def add_reliability(fields: dict[str, Any], calibration: Calibration) -> None:
    """Put the calibration of each class into its row of the fields of an `Agreement`."""
    for row, found in zip(fields["classes"], calibration.by_class(), strict=True):
        row.update(found)
