"""Agreement of two labellings of the same pixels: confusion matrix and scores."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geoseg.core.legend import IGNORE, Legend


def confusion_matrix(reference: NDArray[Any], prediction: NDArray[Any], classes: int) -> NDArray[np.int64]:
    """Count the pixels of each pair of classes.

    Parameters
    ----------
    reference, prediction
        Channel numbers of the same shape; pixels that are 255 in either do not count.
    classes
        Number of classes C, at most 255.

    Returns
    -------
    numpy.ndarray
        Pixels, shape (C, C): rows are classes of the reference, columns classes of the prediction.

    Raises
    ------
    ValueError
        When the shapes differ or a channel number is neither a class nor 255.
    """
    if reference.shape != prediction.shape:
        raise ValueError(f"reference {reference.shape} and prediction {prediction.shape} differ in shape")
    both = (reference != IGNORE) & (prediction != IGNORE)
    rows, cols = reference[both].astype(np.int64), prediction[both].astype(np.int64)
    if rows.size and not 0 <= min(rows.min(), cols.min()) <= max(rows.max(), cols.max()) < classes:
        raise ValueError(f"channel numbers beyond the {classes} classes")
    return np.bincount(rows * classes + cols, minlength=classes**2).reshape(classes, classes)


@dataclass(frozen=True)
class Scores:
    """Agreement of a map with its reference; NaN where a figure would divide by zero."""

    matrix: NDArray[np.int64]
    """Pixels, shape (C, C): rows are the reference, columns the map."""
    precision: NDArray[np.float64]
    """User's accuracy: share of the map's pixels of a class that are right, shape (C,)."""
    recall: NDArray[np.float64]
    """Producer's accuracy: share of the reference's pixels of a class that the map has, shape (C,)."""
    f1: NDArray[np.float64]
    """Harmonic mean of precision and recall (Dice), shape (C,); NaN for absent classes only."""
    iou: NDArray[np.float64]
    """Intersection over union (Jaccard), shape (C,); NaN for absent classes only."""
    present: NDArray[np.bool_]
    """Which classes occur in the reference or the map, shape (C,)."""
    overall_accuracy: float
    miou: float
    """Mean IoU of the present classes."""
    macro_f1: float
    """Mean F1 of the present classes."""
    frequency_weighted_iou: float
    """Mean IoU, weighted with the classes' share of the reference."""
    kappa: float
    """Cohen's kappa (1960)."""

    def to_dict(self, legend: Legend) -> dict[str, Any]:
        """Return the fields of an `Agreement` report as plain values, None for NaN.

        Raises
        ------
        ValueError
            When the legend has another number of classes than the matrix.
        """
        total = max(1, int(self.matrix.sum()))
        reference, mapped = self.matrix.sum(axis=1), self.matrix.sum(axis=0)
        rows = [
            {
                "id": c.id,
                "slug": c.slug,
                "title": c.title,
                "iou": plain(self.iou[i]),
                "f1": plain(self.f1[i]),
                "precision": plain(self.precision[i]),
                "recall": plain(self.recall[i]),
                "reference_pixels": int(reference[i]),
                "map_pixels": int(mapped[i]),
                "reference_share": plain(reference[i] / total),
                "map_share": plain(mapped[i] / total),
            }
            for i, c in zip(range(len(self.matrix)), legend.classes, strict=True)
        ]
        return {
            "pixels": int(self.matrix.sum()),
            "overall_accuracy": plain(self.overall_accuracy),
            "miou": plain(self.miou),
            "macro_f1": plain(self.macro_f1),
            "frequency_weighted_iou": plain(self.frequency_weighted_iou),
            "kappa": plain(self.kappa),
            "absent": [c.slug for c, p in zip(legend.classes, self.present, strict=True) if not p],
            "classes": rows,
            "confusion_matrix": {
                "rows": "reference",
                "columns": "map",
                "slugs": [c.slug for c in legend.classes],
                "pixels": self.matrix.tolist(),
            },
        }


def scores(matrix: NDArray[np.int64]) -> Scores:
    """Return the scores of a confusion matrix of shape (C, C), rows: reference, columns: map.

    The means leave out classes that occur in neither. Kappa is NaN when both have the same single class.
    """
    hits = np.diag(matrix).astype(np.float64)
    # In float: products of pixel counts of large maps exceed 64 bits.
    reference, mapped = matrix.sum(axis=1).astype(np.float64), matrix.sum(axis=0).astype(np.float64)
    total = float(reference.sum())
    present = (reference + mapped) > 0
    iou = _ratio(hits, reference + mapped - hits)
    f1 = _ratio(2 * hits, reference + mapped)
    observed = _share(hits.sum(), total)
    chance = _share((reference * mapped).sum(), total**2)
    return Scores(
        matrix=matrix,
        precision=_ratio(hits, mapped),
        recall=_ratio(hits, reference),
        f1=f1,
        iou=iou,
        present=present,
        overall_accuracy=observed,
        miou=_mean(iou[present]),
        macro_f1=_mean(f1[present]),
        frequency_weighted_iou=_share((reference * np.nan_to_num(iou)).sum(), total),
        kappa=_share(observed - chance, 1 - chance),
    )


def plain(value: Any) -> float | None:
    """Return a figure with six digits after the point, None for NaN."""
    return None if np.isnan(value) else round(float(value), 6)


def _ratio(part: NDArray[np.float64], whole: NDArray[np.float64]) -> NDArray[np.float64]:
    nothing = np.full(whole.shape, np.nan)
    return np.asarray(np.divide(part, whole, out=nothing, where=whole != 0))


def _share(part: Any, whole: float) -> float:
    return float(part) / whole if whole else float("nan")


def _mean(values: NDArray[np.float64]) -> float:
    return float(values.mean()) if values.size else float("nan")
