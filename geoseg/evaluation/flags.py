"""Agreement of maps of labels, each of which is there or not."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geoseg.core.legend import IGNORE, Legend
from geoseg.evaluation.metrics import plain


@dataclass(frozen=True)
class FlagAgreement:
    """Pixels of each label, shape (C,)."""

    both: NDArray[np.int64]
    """Pixels that have it in the reference and on the map."""
    map_only: NDArray[np.int64]
    reference_only: NDArray[np.int64]
    neither: NDArray[np.int64]

    @classmethod
    def of(cls, reference: NDArray[np.uint8], mapped: NDArray[np.uint8]) -> "FlagAgreement":
        """Count the pixels of two arrays (C, rows, cols) of 0 and 1; 255 in either does not count."""
        known = (reference != IGNORE) & (mapped != IGNORE)
        there, found = known & (reference == 1), known & (mapped == 1)
        axes = tuple(range(1, reference.ndim))
        return cls(
            (there & found).sum(axis=axes),
            (found & ~there).sum(axis=axes),
            (there & ~found).sum(axis=axes),
            (known & ~there & ~found).sum(axis=axes),
        )

    def __add__(self, other: "FlagAgreement") -> "FlagAgreement":
        return FlagAgreement(
            self.both + other.both,
            self.map_only + other.map_only,
            self.reference_only + other.reference_only,
            self.neither + other.neither,
        )

    def scores(self, legend: Legend, precisions: NDArray[np.float64] | None = None) -> dict[str, Any]:
        """Return the fields of a `FlagScores` report as plain values, None where one would divide by zero.

        Parameters
        ----------
        legend
            The classes, in order.
        precisions
            Average precision of each class, shape (C,); None where there are no probabilities.
        """
        precision, recall = (
            _ratio(self.both, self.both + wrong) for wrong in (self.map_only, self.reference_only)
        )
        iou = _ratio(self.both, self.both + self.map_only + self.reference_only)
        f1 = _ratio(2 * self.both, 2 * self.both + self.map_only + self.reference_only)
        pixels = self.both + self.map_only + self.reference_only + self.neither
        rows = [
            {
                "id": c.id,
                "slug": c.slug,
                "title": c.title,
                "iou": plain(iou[i]),
                "f1": plain(f1[i]),
                "precision": plain(precision[i]),
                "recall": plain(recall[i]),
                "average_precision": None if precisions is None else plain(precisions[i]),
                "reference_pixels": int(self.both[i] + self.reference_only[i]),
                "map_pixels": int(self.both[i] + self.map_only[i]),
                "reference_share": plain(_ratio(self.both + self.reference_only, pixels)[i]),
                "map_share": plain(_ratio(self.both + self.map_only, pixels)[i]),
            }
            for i, c in enumerate(legend.classes)
        ]
        hits, wrong = 2 * self.both.sum(), self.map_only.sum() + self.reference_only.sum()
        return {
            "pixels": int(pixels.max(initial=0)),
            "miou": plain(_mean(iou)),
            "macro_f1": plain(_mean(f1)),
            "micro_f1": plain(hits / (hits + wrong) if hits + wrong else np.nan),
            "mean_average_precision": None if precisions is None else plain(_mean(precisions)),
            "absent": [c.slug for c, value in zip(legend.classes, iou, strict=True) if np.isnan(value)],
            "classes": rows,
        }


def _ratio(part: NDArray[Any], whole: NDArray[Any]) -> NDArray[np.float64]:
    nothing = np.full(whole.shape, np.nan)
    return np.asarray(np.divide(part, whole, out=nothing, where=whole != 0))


def _mean(values: NDArray[np.float64]) -> float:
    known = values[~np.isnan(values)]
    return float(known.mean()) if known.size else float("nan")
