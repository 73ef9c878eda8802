"""What is found out about a trained network, and how it is told: figures, history, page."""

import csv
import io
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import nn

import geoseg
from geoseg.config.training import Measurement, Training
from geoseg.core import provenance
from geoseg.core.files import write_atomic
from geoseg.core.legend import Legend
from geoseg.core.secrets import redacted
from geoseg.evaluation.calibration import Calibration
from geoseg.models.card import Card
from geoseg.report.training_page import Bins, ChipPicture, Curve, TrainingPageContent, write_training_page
from geoseg.training.appraisal import Appraisal, appraise
from geoseg.training.chips import GridChips
from geoseg.training.fit import Fitted
from geoseg.training.measure import PredictedChip, fit_temperature, predict_chips

_SHOWN_CHIPS = 6
_VERSIONED = ("torch", "torchvision", "segmentation-models-pytorch", "timm", "lightning", "numpy", "rasterio")
_TRUE_COLOR = ("red", "green", "blue")


@dataclass(frozen=True)
class Findings:
    """A trained network on the parts of its data."""

    temperature: float
    """Fitted on val."""
    measured_on: str
    """The part that nothing was fitted to: test, or val where there is none."""
    appraisals: dict[str, Appraisal]
    """By part, and `PART with AUGMENTATION`; with the temperature."""

    @property
    def main(self) -> Appraisal:
        """The figures to quote."""
        return self.appraisals[self.measured_on]

    def metrics(self) -> dict[str, Any]:
        """Return the figures for the card."""
        chips = self.main.chips
        what = {
            "test": f"agreement with the labels of {chips} chips of test, which nothing was fitted to",
            "val": f"agreement with the labels of {chips} chips of val, which chose epoch and temperature",
            "train": f"agreement with the labels of the {chips} chips that it was trained on",
        }
        parts = {k: a.figures for k, a in self.appraisals.items() if k != self.measured_on}
        return {"reference": what[self.measured_on], **self.main.figures, "other_parts": parts}


def look(
    network: nn.Module, parts: Mapping[str, GridChips], legend: Legend, measure: Measurement, batch: int
) -> Findings:
    """Calibrate a network and measure it on all parts but train.

    Parameters
    ----------
    network
        The network.
    parts
        Chips by part.
    legend
        The classes in channel order.
    measure
        What is asked for.
    batch
        Chips in a forward pass.
    """
    network.eval()
    temperature = 1.0
    if measure.calibrate and "val" in parts:
        labelled = sum(int(c.classes.sum()) for c in parts["val"].cells)
        temperature = round(fit_temperature(predict_chips(network, parts["val"], batch), labelled), 4)
    last = next(p for p in ("test", "val", "train") if p in parts)
    found = {
        part: appraise(
            network, parts[part], legend, temperature=temperature, batch=batch,
            shown=_SHOWN_CHIPS if part == last else 0,
        )
        for part in dict.fromkeys([last, *(p for p in ("val",) if p in parts)])
    }  # fmt: skip
    if measure.augment != "none":
        found[f"{last} with {measure.augment}"] = appraise(
            network, parts[last], legend, temperature=temperature, augment=measure.augment, batch=batch
        )
    return Findings(temperature, last, found)


def recipe(document: Training, fitted: Fitted, start: str) -> dict[str, Any]:
    """Return how the network was trained, for the card."""
    kept = document.model_dump(
        mode="json",
        include={"dataset", "seed", "split", "chips", "augmentation", "loss", "optimizer", "fit"},
        exclude_defaults=True,
    )
    if not isinstance(document.dataset, str):
        kept["dataset"] = document.dataset.title or document.dataset.kind
    return {
        "network": document.network_in_words,
        "start": start,
        **kept,
        "epochs": len(fitted.history),
        "best_epoch": fitted.best_epoch,
        "geoseg": geoseg.__version__,
    }


def record(
    document: Training, fitted: Fitted, found: Findings, noticed: Sequence[str], seconds: float
) -> dict[str, Any]:
    """Return the content of `training.json`, but for what the card has too."""
    return {
        "name": document.name,
        "finished": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": provenance.command(),
        "document": redacted(document.model_dump(mode="json")),
        "measured_on": found.measured_on,
        "resumed": fitted.resumed,
        "batch": fitted.batch,
        "accumulate": fitted.accumulate,
        "seconds": {
            "epochs": round(sum(r["seconds"] for r in fitted.history), 1),
            "total": round(seconds, 1),
        },
        "history": [_without_nan(row) for row in fitted.history],
        "machine": provenance.machine(),
        "versions": provenance.versions(_VERSIONED),
        "warnings": list(noticed),
    }


def _without_nan(row: Mapping[str, Any]) -> dict[str, Any]:
    """Return a row that JSON can hold."""

    def plain(value: Any) -> Any:
        if isinstance(value, list):
            return [plain(v) for v in value]
        return None if isinstance(value, float) and not math.isfinite(value) else value

    return {key: plain(value) for key, value in row.items()}


def write_history(path: Path, history: Sequence[Mapping[str, Any]], legend: Legend) -> None:
    """Write a line for each epoch as CSV."""
    text = io.StringIO()
    slugs = [c.slug for c in legend.classes]
    names = ["epoch", "rate", "seconds", "train_loss", "train_miou", "val_loss", "val_miou"]
    writer = csv.writer(text)
    writer.writerow([*names, *(f"val_iou_{s}" for s in slugs)])
    for row in history:
        writer.writerow([*(row[n] for n in names), *(row["val_iou"] or [""] * len(slugs))])
    write_atomic(path, text.getvalue().encode())


def write_page(
    path: Path,
    content: Mapping[str, Any],
    fitted: Fitted,
    found: Findings,
    legend: Legend,
    card: Card,
) -> None:
    """Write `training.html`."""
    metrics = dict(found.main.figures)
    rows = {row["slug"]: row for row in metrics.pop("classes")}
    metrics.pop("confusion_matrix")
    pictures = [tuple(_picture(c, card) for c in chips) for chips in (found.main.best, found.main.worst)]
    page = TrainingPageContent(
        title=card.title,
        subtitle=f"{card.name} {card.version}, geoseg {geoseg.__version__}, {content['finished']}",
        legend=legend,
        curves=_curves(fitted, legend),
        confusion=found.main.confusion,
        measured_on=f"{found.main.chips} chips of {found.measured_on}",
        scores={**metrics, "classes": rows},
        reliability=_bins(found.main.uncalibrated),
        reliability_scaled=_bins(found.main.calibration),
        best=pictures[0],
        worst=pictures[1],
        facts={
            "training": content["training"],
            "temperature": found.temperature,
            "seconds": content["seconds"],
            "versions": content["versions"],
            "command": content["command"],
        },
        warnings=tuple(content["warnings"]),
        best_epoch=fitted.best_epoch,
    )
    write_training_page(path, page)


def _curves(fitted: Fitted, legend: Legend) -> tuple[Curve, ...]:
    steps = tuple(float(r["epoch"]) for r in fitted.history)
    curves = [
        Curve(name, steps, tuple(float(r[f"{part}_{name}"]) for r in fitted.history), part)
        for name in ("loss", "miou")
        for part in ("train", "val")
    ]
    curves.append(Curve("learning rate", steps, tuple(float(r["rate"]) for r in fitted.history), "train"))
    for i, c in enumerate(legend.classes):
        values = tuple(float(r["val_iou"][i]) if r["val_iou"] else math.nan for r in fitted.history)
        curves.append(Curve(f"iou/{c.slug}", steps, values, "val"))
    return tuple(curves)


def _bins(calibration: Calibration) -> Bins:
    table = calibration.to_dict()["reliability"]
    return tuple((b["confidence"], b["accuracy"], b["pixels"]) for b in table if b["pixels"])


def _picture(chip: PredictedChip, card: Card) -> ChipPicture:
    names = [b.common_name for b in card.bands]
    wanted = [names.index(n) for n in _TRUE_COLOR] if set(_TRUE_COLOR) <= set(names) else [0, -1, 0]
    return ChipPicture(
        title=chip.where,
        rgb=_stretched(chip.image[wanted]),
        label=chip.label,
        prediction=chip.probabilities.argmax(0).astype(np.uint8),
        score=chip.agreement,
    )


def _stretched(bands: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Return bands (3, rows, cols) as a picture (rows, cols, 3) between their 2nd and 98th percentile."""
    low, high = (np.percentile(bands, q, axis=(1, 2))[:, None, None] for q in (2, 98))
    scaled = ((bands - low) / np.maximum(high - low, 1e-6)).clip(0, 1)
    return np.moveaxis((255 * scaled**0.8).astype(np.uint8), 0, -1)
