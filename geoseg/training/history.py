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

    @model_serializer(mode="wrap")
    def _without_nothing(self, serialize: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Leave out figures that the task has not."""
        plain: dict[str, Any] = serialize(self)
        return {k: v for k, v in plain.items() if v != {}}

    def numbers(self) -> dict[str, float]:
        """Return the figures of the epoch as one number each, for loggers."""
        parts = ("train", "val")
        plain = self.model_dump(exclude={f"{p}_{k}" for p in parts for k in ("iou", "figures")})
        more = {f"{p}_{k}": v for p in parts for k, v in getattr(self, f"{p}_figures").items()}
        return {**plain, **more}


def write_history(path: Path, history: Sequence[EpochRow], legend: Legend) -> None:
    """Write `metrics.csv`: a line for each epoch."""
    text = io.StringIO()
    slugs = [c.slug for c in legend.classes]
    figures = list(history[0].val_figures) if history else []
    means = ["miou"] if slugs else []
    names = ["epoch", "rate", "seconds"]
    names += [f"{part}_{name}" for part in ("train", "val") for name in ("loss", *means)]
    writer = csv.writer(text)
    pairs = [(part, f) for part in ("train", "val") for f in figures]
    writer.writerow([*names, *(f"val_iou_{s}" for s in slugs), *(f"{part}_{f}" for part, f in pairs)])
    for row in history:
        more = [getattr(row, f"{part}_figures").get(f, "") for part, f in pairs]
        writer.writerow([*(getattr(row, n) for n in names), *(row.val_iou or [""] * len(slugs)), *more])
    write_atomic(path, text.getvalue().encode())
