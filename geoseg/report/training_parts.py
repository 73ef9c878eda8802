"""The parts of a training's page: headline figures, confusion matrix, scores of the classes, reliability."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geoseg.core.legend import Legend, LegendClass
from geoseg.report.charts import Chart, Series, recall_chart, reliability_chart, sparkline
from geoseg.report.html import HeadlineFigure, is_number

Bins = tuple[tuple[float, float, int], ...]
"""Mean confidence, accuracy and number of pixels of each bin."""

HEADLINES = 5
"""Number of figures at the top of the page."""

SCORES = {
    "miou": ("Mean IoU", "intersection over union, mean over the classes"),
    "overall_accuracy": ("Overall accuracy", "share of the labelled pixels that are right"),
    "macro_f1": ("Macro F1", "F1 score, mean over the classes"),
    "micro_f1": ("Micro F1", "F1 score over the pixels of all labels together"),
    "mean_average_precision": ("Average precision", "area under precision over recall, mean over the labels"),
    "kappa": ("Cohen's kappa", "agreement beyond chance"),
    "ece": ("Calibration error", "expected gap between confidence and accuracy; lower is better"),
    "brier": ("Brier score", "squared error of the probabilities, 0 to 2; lower is better"),
    "fwiou": ("Weighted IoU", "IoU weighted by how common a class is"),
    "mask_ap": ("Mask AP", "average precision of masks, mean over IoU 0.5 to 0.95 and the classes"),
    "mask_ap50": ("Mask AP50", "average precision of masks at IoU 0.5"),
    "box_ap": ("Box AP", "average precision of boxes, mean over IoU 0.5 to 0.95 and the classes"),
    "f1": ("F1", "of objects at IoU 0.5 and the score threshold"),
    "count_error": ("Count error", "detections less labelled objects, as a share of these"),
}
"""Title and meaning of the scores, the most telling first."""

ALIASES = {"expected_calibration_error": "ece", "frequency_weighted_iou": "fwiou"}
"""Longer names of the same scores."""


_STRONG = 0.7
"""Share of a right cell above which its text is light."""


@dataclass(frozen=True)
class MatrixCell:
    """One cell of the confusion matrix."""

    count: int
    share: float
    """Of the pixels of its row, 0 to 1; NaN in an empty row."""
    right: bool
    """Whether it lies on the diagonal."""

    @property
    def depth(self) -> float:
        """Depth of the cell's colour, 0 to 1; errors by the square root, so that small ones show.

        Right ones leave out the depths on which neither dark nor light text has a contrast of 4.5 to 1.
        """
        if math.isnan(self.share):
            return 0.0
        if not self.right:
            return math.sqrt(self.share)
        return 0.76 + 0.8 * (self.share - _STRONG) if self.strong else self.share * 0.6 / _STRONG

    @property
    def strong(self) -> bool:
        """Whether its text is light."""
        return self.right and self.share > _STRONG


@dataclass(frozen=True)
class MatrixRow:
    """A row of the confusion matrix: one class of the reference."""

    legend: LegendClass
    total: int
    cells: tuple[MatrixCell, ...]


@dataclass(frozen=True)
class ClassScoreRow:
    """A row of the table of classes; None where a class has no such score."""

    legend: LegendClass
    iou: float | None
    f1: float | None
    precision: float | None
    recall: float | None
    support: float
    """Pixels of the reference."""
    curve: str
    """SVG path of the IoU over the epochs, empty without a history."""


def headline_scores(scores: Mapping[str, Any]) -> tuple[list[HeadlineFigure], dict[str, Any]]:
    """Return the headline figures, and the remaining scores by title."""
    scores = {ALIASES.get(name, name): value for name, value in scores.items()}
    known = [name for name in SCORES if name in scores]
    figures = [HeadlineFigure(*SCORES[name], scores[name]) for name in known[:HEADLINES]]
    rest = [name for name in (*known[HEADLINES:], *scores) if name not in (*known[:HEADLINES], "classes")]
    return figures, {SCORES[n][0] if n in SCORES else n: _rounded(scores[n]) for n in rest}


def _rounded(value: Any) -> Any:
    return round(float(value), 3) if isinstance(value, float) else value


def confusion_table(confusion: NDArray[np.int64], legend: Legend) -> list[MatrixRow]:
    """Return the rows of a confusion matrix of shape (C, C), empty when it holds no pixel."""
    if confusion.sum() == 0:
        return []
    return [_row(c, i, confusion[i].tolist()) for i, c in enumerate(legend.classes)]


def _row(legend: LegendClass, channel: int, counts: list[int]) -> MatrixRow:
    total = sum(counts)
    shares = [n / total if total else math.nan for n in counts]
    return MatrixRow(
        legend,
        total,
        tuple(MatrixCell(n, s, channel == j) for j, (n, s) in enumerate(zip(counts, shares, strict=True))),
    )


def per_class(
    scores: Mapping[str, Any],
    legend: Legend,
    confusion: NDArray[np.int64],
    curves: Mapping[str, Sequence[tuple[float, float]]],
) -> list[ClassScoreRow]:
    """Return the scores of each class in the order of the legend; empty when no class has scores."""
    found = scores.get("classes") or {}
    if not found and not curves:
        return []
    rows = []
    for c, total in zip(legend.classes, confusion.sum(axis=1).tolist(), strict=True):
        values = {k: v for k, v in found.get(c.slug, {}).items() if is_number(v)}
        iou, f1, precision, recall = (values.get(k) for k in ("iou", "f1", "precision", "recall"))
        support = values.get("support", total)
        rows.append(ClassScoreRow(c, iou, f1, precision, recall, support, sparkline(curves.get(c.slug, ()))))
    return rows


def reliability(
    before: Sequence[tuple[float, float, int]], after: Sequence[tuple[float, float, int]]
) -> tuple[Chart, list[Series]] | None:
    """Return the reliability diagram and its series, whose labels state the calibration error."""
    given = [("before", "as trained", before), ("after", "calibrated", after)]
    series = [
        Series(f"{label}: error {calibration_error(bins):.3f}", style, tuple((c, a) for c, a, n in bins if n))
        for style, label, bins in given
        if any(n for _, _, n in bins)
    ]
    chart = reliability_chart(series, [(c, n) for c, _, n in (after or before)])
    return (chart, series) if chart else None


def found_chart(curve: Sequence[tuple[float, float, float]], threshold: float | None) -> Chart | None:
    """Return the chart of precision over recall, with the score from which objects are kept marked.

    Parameters
    ----------
    curve
        Score, recall and precision, by falling score.
    threshold
        That score.
    """
    kept = [point for point in curve if threshold is not None and point[0] >= threshold]
    mark = (kept[-1][1], kept[-1][2], f"score {threshold:.2f}") if kept else None
    return recall_chart([(recall, precision) for _, recall, precision in curve], mark)


@dataclass(frozen=True)
class ClassReliability:
    """The small reliability diagram of a class."""

    legend: LegendClass
    error: float
    """Expected calibration error."""
    pixels: int
    """Pixels where it is the most probable class."""
    chart: Chart


def reliability_of_classes(
    bins: Mapping[str, Sequence[tuple[float, float, int]]], legend: Legend
) -> list[ClassReliability]:
    """Return a small diagram of each class that was predicted somewhere, in the order of the legend."""
    found = []
    for c in legend.classes:
        rows = [row for row in bins.get(c.slug, ()) if row[2]]
        series = [Series("", "after", tuple((p, a) for p, a, _ in rows))]
        chart = reliability_chart(series, [(p, n) for p, _, n in rows], size=(230.0, 215.0))
        if chart is not None:
            found.append(ClassReliability(c, calibration_error(rows), sum(n for *_, n in rows), chart))
    return found


def calibration_error(bins: Sequence[tuple[float, float, int]]) -> float:
    """Return the expected calibration error (Guo et al. 2017) of bins: mean confidence, accuracy, pixels."""
    filled = [(abs(c - a), n) for c, a, n in bins if n]
    return sum(gap * n for gap, n in filled) / sum(n for _, n in filled)
