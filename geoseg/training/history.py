"""The history of a training: a row for each epoch, and the file `metrics.csv`."""

import csv
import io
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    SerializerFunctionWrapHandler,
    model_serializer,
)

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
    train_figures: dict[str, Score] = Field(default_factory=dict)
    """Figures that only some tasks have: `rmse`, `mae`, `r2`, `bias`, `macro_f1`, `micro_f1`."""
    val_loss: Score
    val_miou: Score = math.nan
    val_iou: tuple[Score, ...] = ()
    val_figures: dict[str, Score] = Field(default_factory=dict)
    train_parts: dict[str, Score] = Field(default_factory=dict)
    """The losses of which `train_loss` is the sum, by name; of objects alone."""
    val_parts: dict[str, Score] = Field(default_factory=dict)
    val_ap: dict[str, Score] = Field(default_factory=dict)
    """Average precision on val by name, such as `mask_ap`; of objects alone."""
    train_accuracy: Score = math.nan
    """Overall accuracy: share of the labelled pixels with the right class."""
    val_accuracy: Score = math.nan

    @model_serializer(mode="wrap")
    def _without_nothing(self, serialize: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Leave out figures that the task has not."""
        plain: dict[str, Any] = serialize(self)
        return {k: v for k, v in plain.items() if v != {}}

    def numbers(self) -> dict[str, float]:
        """Return the figures of the epoch as one number each, for loggers; those of classes are left out."""
        found: dict[str, float] = {}
        for name, value in self.model_dump(exclude={"train_iou", "val_iou"}).items():
            if isinstance(value, dict):
                found |= {f"{name.partition('_')[0]}_{k}": v for k, v in value.items()}
            else:
                found[name] = value
        return found


def write_history(path: Path, history: Sequence[EpochRow], legend: Legend) -> None:
    """Write `metrics.csv`: a line for each epoch."""
    text = io.StringIO()
    slugs = [c.slug for c in legend.classes]
    writer = csv.writer(text)
    if any(row.val_ap for row in history):
        _write_objects(writer, history)
    else:
        _write_pixels(writer, history, slugs)
    write_atomic(path, text.getvalue().encode())


def _write_pixels(writer: Any, history: Sequence[EpochRow], slugs: Sequence[str]) -> None:
    """Write the rows of a training that gives classes, labels or numbers to pixels."""
    figures = list(history[0].val_figures) if history else []
    means = ["miou"] if slugs else []
    names = ["epoch", "rate", "seconds"]
    names += [f"{part}_{name}" for part in ("train", "val") for name in ("loss", *means)]
    counted = any(math.isfinite(v) for row in history for v in (row.train_accuracy, row.val_accuracy))
    last = ["train_accuracy", "val_accuracy"] if counted else []
    pairs = [(part, f) for part in ("train", "val") for f in figures]
    writer.writerow([*names, *(f"val_iou_{s}" for s in slugs), *last, *(f"{part}_{f}" for part, f in pairs)])
    for row in history:
        first, second = ([getattr(row, n) for n in some] for some in (names, last))
        more = [getattr(row, f"{part}_figures").get(f, "") for part, f in pairs]
        writer.writerow([*first, *(row.val_iou or [""] * len(slugs)), *second, *more])


def _write_objects(writer: Any, history: Sequence[EpochRow]) -> None:
    """Write the rows of a training that finds objects: each loss, and the average precision."""
    names = ["epoch", "rate", "seconds", "train_loss", "val_loss"]
    groups = ("train_parts", "val_parts", "val_ap")
    parts = [(g, k) for g in groups for k in dict.fromkeys(k for row in history for k in getattr(row, g))]
    writer.writerow([*names, *(f"{g.partition('_')[0]}_{k}" for g, k in parts)])
    for row in history:
        writer.writerow([*(getattr(row, n) for n in names), *(getattr(row, g).get(k, "") for g, k in parts)])
