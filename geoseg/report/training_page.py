"""The page of a training: one self-contained HTML file."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from geoseg.core.files import write_atomic
from geoseg.core.legend import Legend
from geoseg.report.charts import Chart, Series, line_chart
from geoseg.report.datasets_table import DatasetsTable
from geoseg.report.html import render
from geoseg.report.pictures import Panel, outlined_panels, panels
from geoseg.report.training_parts import (
    Bins,
    confusion_table,
    found_chart,
    headline_scores,
    per_class,
    reliability,
    reliability_of_classes,
)

_TITLES = {
    "loss": "Loss", "miou": "Mean IoU", "accuracy": "Overall accuracy", "rmse": "RMSE", "mae": "MAE",
    "r2": "R²", "bias": "Bias", "macro_f1": "Macro F1", "micro_f1": "Micro F1", "lr": "Learning rate",
    "learning_rate": "Learning rate",
    "learning rate": "Learning rate", "mask_ap": "Mask AP", "mask_ap50": "Mask AP at IoU 0.5",
    "mask_ap75": "Mask AP at IoU 0.75", "box_ap": "Box AP",
    "loss_objectness": "Loss of proposals, objectness",
    "loss_rpn_box_reg": "Loss of proposals, boxes", "loss_classifier": "Loss of classes",
    "loss_box_reg": "Loss of boxes", "loss_mask": "Loss of masks",
}  # fmt: skip
_PART_TITLES = {"train": "training", "val": "validation"}


@dataclass(frozen=True)
class Curve:
    """One quantity over the epochs."""

    name: str
    """`loss`, `miou`, `accuracy`, `lr`, `iou/<slug>` of a class, or any other; equal names share a chart."""
    steps: tuple[float, ...]
    """Epoch of each value."""
    values: tuple[float, ...]
    """Value at each step; NaN leaves a gap."""
    part: Literal["train", "val"]
    """Part of the data that the values were measured on."""

    def __post_init__(self) -> None:
        if len(self.steps) != len(self.values):
            raise ValueError(f"curve {self.name!r} has {len(self.steps)} steps and {len(self.values)} values")

    @property
    def points(self) -> tuple[tuple[float, float], ...]:
        """Step and value of each point."""
        return tuple((float(x), float(y)) for x, y in zip(self.steps, self.values, strict=True))


@dataclass(frozen=True)
class ChipPicture:
    """A chip that the page shows."""

    title: str
    rgb: NDArray[np.uint8]
    """Shape (rows, cols, 3)."""
    label: NDArray[np.uint8]
    """Channel numbers, shape (rows, cols), 255 where ignored. Of objects: of pixels on their outlines."""
    prediction: NDArray[np.uint8]
    """Channel numbers, shape (rows, cols)."""
    score: float
    """Share of the labelled pixels on which label and prediction agree; of objects: F1."""
    link: str = ""
    """Address of the file that it was cut from; empty: none."""


@dataclass(frozen=True)
class TrainingPage:
    """Content of the page of a training; the page leaves out what is empty."""

    title: str
    subtitle: str
    legend: Legend
    """Classes in channel order."""
    curves: tuple[Curve, ...]
    confusion: NDArray[np.int64]
    """Pixels, shape (C, C): rows are the reference, columns the prediction."""
    measured_on: str
    """Name of the chips that confusion and scores were measured on (`validation chips`)."""
    scores: Mapping[str, Any]
    """Scores by name; `classes` holds those of each class by slug."""
    reliability: Bins = ()
    """Reliability of the logits as they are."""
    reliability_scaled: Bins = ()
    """Reliability of what was calibrated."""
    reliability_of_classes: Mapping[str, Bins] = field(default_factory=dict)
    """The latter for each class, by slug."""
    best: tuple[ChipPicture, ...] = ()
    worst: tuple[ChipPicture, ...] = ()
    facts: Mapping[str, Any] = field(default_factory=dict)
    """Model, data, split, loss, timings, versions; mappings may be nested."""
    warnings: tuple[str, ...] = ()
    best_epoch: float | None = None
    """Epoch whose weights were kept; None takes the highest validation mIoU, else the lowest loss."""
    datasets: DatasetsTable | None = None
    """The data sets, where there are several."""
    objects: bool = False
    """Whether the network finds objects; `iou` of the scores of classes is then the average precision."""
    precision_recall: tuple[tuple[float, float, float], ...] = ()
    """Of objects: score, recall and precision when all of that score and above are kept, by falling score."""
    score_threshold: float | None = None
    """Of objects: the score from which they are kept."""

    def __post_init__(self) -> None:
        if self.confusion.shape != (len(self.legend), len(self.legend)):
            raise ValueError(
                f"a confusion matrix of shape {self.confusion.shape} does not fit {len(self.legend)} classes"
            )


def write_training_page(path: Path, page: TrainingPage) -> None:
    """Write the page as one HTML file that loads no other file.

    Parameters
    ----------
    path
        File to write; it appears complete or not at all.
    page
        Content of the page.

    Raises
    ------
    OutputError
        When the file cannot be written.
    """
    write_atomic(path, training_page(page).encode("utf-8"))


def training_page(page: TrainingPage) -> str:
    """Return the page as text."""
    best = best_epoch(page)
    figures, further = headline_scores(page.scores)
    return render(
        "training.html.j2",
        page=page,
        pixels=int(page.confusion.sum()),
        figures=figures,
        further=further,
        best=best,
        charts=charts_of(page.curves, best),
        confusion=confusion_table(page.confusion, page.legend),
        classes=per_class(page.scores, page.legend, page.confusion, _class_curves(page)),
        reliability=reliability(page.reliability, page.reliability_scaled),
        by_class=reliability_of_classes(page.reliability_of_classes, page.legend),
        precision_recall=found_chart(page.precision_recall, page.score_threshold),
        chips=_sheets(page),
        numbers=numbers_of(page.curves),
    )


def best_epoch(page: TrainingPage) -> float | None:
    """Return the epoch to highlight: the recorded one, else that of the best validation mIoU or loss."""
    if page.best_epoch is not None:
        return page.best_epoch
    for name, sign in (("miou", 1.0), ("loss", -1.0)):
        points = [p for c in page.curves if (c.name, c.part) == (name, "val") for p in c.points]
        seen = [p for p in points if math.isfinite(p[1])]
        if seen:
            return max(seen, key=lambda p: sign * p[1])[0]
    return None


def charts_of(
    curves: Sequence[Curve],
    best: float | None,
    large: tuple[str, ...] = ("loss", "miou", "accuracy", "mask_ap"),
) -> list[tuple[str, bool, Chart | None, list[Series]]]:
    """Return of each chart its title, whether it is small, drawing and series; the large ones come first."""
    names = list(dict.fromkeys(c.name for c in curves if not c.name.startswith("iou/")))
    names.sort(key=lambda n: list(_TITLES).index(n) if n in _TITLES else len(_TITLES))
    charts = []
    for name in names:
        group = sorted((c for c in curves if c.name == name), key=lambda c: c.part)
        small = name not in large
        series = [Series(_PART_TITLES[c.part], c.part, c.points) for c in group]
        title = _TITLES.get(name, name.replace("_", " "))
        drawing = line_chart(
            series,
            x_label="epoch",
            y_label="" if small else title,
            size=(290.0, 200.0) if small else (430.0, 290.0),
            share=name in ("miou", "accuracy") or "_ap" in name,
            best=None if small else _mark(group, best),
        )
        charts.append((title, small, drawing, series))
    return charts


def _mark(group: Sequence[Curve], best: float | None) -> tuple[float, float, str] | None:
    for curve in group:
        for step, value in curve.points:
            if curve.part == "val" and step == best and math.isfinite(value):
                return step, value, f"epoch {step:g}: {value:.3f}"
    return None


def _class_curves(page: TrainingPage) -> dict[str, tuple[tuple[float, float], ...]]:
    return {
        c.name.removeprefix("iou/"): c.points
        for c in page.curves
        if c.name.startswith("iou/") and c.part == "val"
    }


def numbers_of(curves: Sequence[Curve]) -> tuple[list[str], list[tuple[float, list[float | None]]]]:
    """Return the curves as a table: column names, and the values of each epoch."""
    columns = [dict(c.points) for c in curves]
    steps = sorted({x for c in columns for x in c})
    return [f"{c.name}, {_PART_TITLES[c.part]}" for c in curves], [
        (x, [c.get(x) for c in columns]) for x in steps
    ]


def _sheets(page: TrainingPage) -> list[tuple[str, list[tuple[ChipPicture, tuple[Panel, ...]]]]]:
    paint_panels = outlined_panels if page.objects else panels
    return [
        (title, [(c, paint_panels(c.rgb, c.label, c.prediction, page.legend)) for c in chips])
        for title, chips in (("Best chips", page.best), ("Worst chips", page.worst))
        if chips
    ]
