"""The history of a training: a row for each epoch, and the file `metrics.csv`."""

import csv
import io
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, PlainSerializer

from geoseg.core.files import write_atomic
from geoseg.core.legend import Legend


def _from_json(value: Any) -> Any:
    return math.nan if value is None else value


def _to_json(value: float) -> float | None:
    return value if math.isfinite(value) else None


Score = Annotated[float, BeforeValidator(_from_json), PlainSerializer(_to_json, when_used="json")]
"""A figure that may be NaN, which JSON does not know: there it is null."""


class EpochRow(BaseModel):
    """The figures of an epoch; NaN where there is none."""

    model_config = ConfigDict(frozen=True)

    epoch: int
    """From 1."""
    rate: float
    """Largest learning rate at the end of the epoch."""
    seconds: float
    train_loss: Score
    train_miou: Score = math.nan
    train_iou: tuple[Score, ...] = ()
    """IoU of each class; NaN for absent classes, empty when nothing was counted."""
    val_loss: Score
    val_miou: Score = math.nan
    val_iou: tuple[Score, ...] = ()
    train_parts: dict[str, Score] = Field(default_factory=dict)
    """The losses of which `train_loss` is the sum, by name; of objects alone."""
    val_parts: dict[str, Score] = Field(default_factory=dict)
    val_ap: dict[str, Score] = Field(default_factory=dict)
    """Average precision on val by name, such as `mask_ap`; of objects alone."""
    train_accuracy: Score = math.nan
    """Overall accuracy: share of the labelled pixels with the right class."""
    val_accuracy: Score = math.nan


def write_history(path: Path, history: Sequence[EpochRow], legend: Legend) -> None:
    """Write `metrics.csv`: a line for each epoch."""
    text = io.StringIO()
    slugs = [c.slug for c in legend.classes]
    writer = csv.writer(text)
    if any(row.val_ap for row in history):
        _write_objects(writer, history)
    else:
        _write_classes(writer, history, slugs)
    write_atomic(path, text.getvalue().encode())


def _write_classes(writer: Any, history: Sequence[EpochRow], slugs: Sequence[str]) -> None:
    """Write the rows of a training that gives classes to pixels."""
    names = ["epoch", "rate", "seconds", "train_loss", "train_miou", "val_loss", "val_miou"]
    last = ["train_accuracy", "val_accuracy"]
    writer.writerow([*names, *(f"val_iou_{s}" for s in slugs), *last])
    for row in history:
        first, second = ([getattr(row, n) for n in some] for some in (names, last))
        writer.writerow([*first, *(row.val_iou or [""] * len(slugs)), *second])


def _write_objects(writer: Any, history: Sequence[EpochRow]) -> None:
    """Write the rows of a training that finds objects: each loss, and the average precision."""
    names = ["epoch", "rate", "seconds", "train_loss", "val_loss"]
    groups = ("train_parts", "val_parts", "val_ap")
    parts = [(g, k) for g in groups for k in dict.fromkeys(k for row in history for k in getattr(row, g))]
    writer.writerow([*names, *(f"{g.partition('_')[0]}_{k}" for g, k in parts)])
    for row in history:
        writer.writerow([*(getattr(row, n) for n in names), *(getattr(row, g).get(k, "") for g, k in parts)])
