"""`training.html`: the content of the page of a training, from its record and the measured chips."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

import geoseg
from geoseg.core.legend import Legend
from geoseg.core.sharing import shared_command, shared_text
from geoseg.evaluation.calibration import Calibration
from geoseg.evaluation.reports import ClassScores
from geoseg.models.card import Card
from geoseg.report.datasets_table import DatasetsTable, datasets_table
from geoseg.report.training_page import ChipPicture, Curve, TrainingPage, write_training_page
from geoseg.report.training_parts import Bins
from geoseg.training.history import EpochRow
from geoseg.training.measure import Measured, PredictedChip
from geoseg.training.record import TrainingRecord
from geoseg.training.sheet import Sheet


def write_page(
    path: Path,
    record: TrainingRecord,
    measured: Measured,
    legend: Legend,
    card: Card,
    links: Mapping[str, str],
) -> None:
    """Write the page of a training; `links` are the addresses of the scenes' files, by name.

    Raises
    ------
    OutputError
        When the file cannot be written.
    """
    main = measured.main
    sheet = Sheet.of((*main.best, *main.worst), card, links)
    scores = main.scores.model_dump(mode="json", exclude={"confusion_matrix"})
    content = TrainingPage(
        **page_facts(record, legend, card),
        curves=curves(record.history, legend),
        confusion=main.confusion,
        measured_on=f"{main.chips} {main.unit} of {record.measured_on}",
        scores={**scores, "classes": {row["slug"]: row for row in scores["classes"]}},
        reliability=_bins(main.uncalibrated),
        reliability_scaled=_bins(main.calibration),
        reliability_of_classes=bins_of_classes(main.scores.classes),
        best=tuple(_picture(c, sheet) for c in main.best),
        worst=tuple(_picture(c, sheet) for c in main.worst),
    )
    write_training_page(path, content)


def page_facts(record: TrainingRecord, legend: Legend, card: Card) -> dict[str, Any]:
    """Return the parts of a page that tell how the network was trained, whatever it learned."""
    return {
        "title": card.title,
        "subtitle": f"{card.name} {card.version}, geoseg {geoseg.__version__}, {record.finished}",
        "legend": legend,
        "facts": facts(record),
        "warnings": tuple(shared_text(w) for w in record.warnings),
        "datasets": table_of(record),
        "best_epoch": record.training["best_epoch"],
    }


def table_of(record: TrainingRecord) -> DatasetsTable | None:
    """Return the table of the data sets of a training that has several."""
    scores = {}
    for name, of_set in record.metrics.datasets.items():
        scores[name] = of_set.model_dump(mode="json")
        if "masks" in scores[name]:
            scores[name]["mask_ap"] = scores[name]["masks"]["ap"]
    return datasets_table(record.training.get("datasets", {}), scores, record.measured_on)


def facts(record: TrainingRecord) -> dict[str, Any]:
    """Return how a network was trained, for its page."""
    return {
        "training": record.training,
        **_scaling(record),
        "seconds": record.seconds.model_dump(),
        "versions": record.versions,
        "command": shared_command(record.command),
    }


def _scaling(record: TrainingRecord) -> dict[str, Any]:
    """Return what is done to logits; numbers and scores of objects are not calibrated."""
    if record.training.get("task", "classes") not in {"classes", "multilabel"}:
        return {}
    if record.calibration is None:
        return {"temperature": record.temperature}
    return {"calibration": record.calibration.model_dump(mode="json")}


def curves(history: Sequence[EpochRow], legend: Legend) -> tuple[Curve, ...]:
    """Return the figures of all epochs as curves."""
    steps = tuple(float(r.epoch) for r in history)
    found = [
        Curve("loss", steps, tuple(r.train_loss for r in history), "train"),
        Curve("loss", steps, tuple(r.val_loss for r in history), "val"),
        Curve("miou", steps, tuple(r.train_miou for r in history), "train"),
        Curve("miou", steps, tuple(r.val_miou for r in history), "val"),
        Curve("accuracy", steps, tuple(r.train_accuracy for r in history), "train"),
        Curve("accuracy", steps, tuple(r.val_accuracy for r in history), "val"),
        Curve("learning rate", steps, tuple(r.rate for r in history), "train"),
    ]
    for i, c in enumerate(legend.classes):
        values = tuple(r.val_iou[i] if r.val_iou else math.nan for r in history)
        found.append(Curve(f"iou/{c.slug}", steps, values, "val"))
    return (*found, *figure_curves(history))


def figure_curves(history: Sequence[EpochRow]) -> tuple[Curve, ...]:
    """Return the figures that only some tasks have as curves."""
    steps = tuple(float(r.epoch) for r in history)
    found: list[Curve] = []
    for name in dict.fromkeys(n for r in history for n in r.val_figures):
        train, val = (
            tuple(f.get(name, math.nan) for f in figures)
            for figures in ([r.train_figures for r in history], [r.val_figures for r in history])
        )
        found += [Curve(name, steps, train, "train"), Curve(name, steps, val, "val")]
    return tuple(found)


def bins_of_classes(rows: Sequence[ClassScores]) -> dict[str, Bins]:
    """Return the reliability of each class by slug, of those that were predicted somewhere."""
    return {
        row.slug: tuple((b.confidence or 0.0, b.accuracy or 0.0, b.pixels) for b in row.reliability)
        for row in rows
        if row.reliability
    }


def _bins(calibration: Calibration) -> Bins:
    table = calibration.to_dict()["reliability"]
    return tuple((b["confidence"], b["accuracy"], b["pixels"]) for b in table if b["pixels"])


def _picture(chip: PredictedChip, sheet: Sheet) -> ChipPicture:
    return ChipPicture(
        title=chip.where,
        rgb=sheet.rgb(chip),
        label=chip.label,
        prediction=chip.probabilities.argmax(0).astype(np.uint8),
        score=chip.agreement,
        link=sheet.link(chip.where),
    )
