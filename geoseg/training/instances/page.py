"""`training.html` of a training that finds objects: losses, average precision, chips with outlines."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import binary_erosion

from geoseg.core.detections import SCORES, Detections
from geoseg.core.legend import IGNORE, Legend
from geoseg.models.card import Card
from geoseg.models.networks.mask_rcnn import LOSSES
from geoseg.report.training_page import ChipPicture, Curve, TrainingPage, write_training_page
from geoseg.training.history import EpochRow
from geoseg.training.instances.measure import DetectedChip, MeasuredInstances
from geoseg.training.page import page_facts
from geoseg.training.record import TrainingRecord
from geoseg.training.sheet import Sheet

_AP = ("mask_ap", "mask_ap50", "mask_ap75", "box_ap")


def write_instances_page(
    path: Path,
    record: TrainingRecord,
    measured: MeasuredInstances,
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
    main, scores = measured.main, measured.main.scores
    classes = {
        c.slug: {
            "iou": c.mask_ap,
            **c.model_dump(include={"f1", "precision", "recall"}),
            "support": c.objects,
        }
        for c in scores.classes
    }
    figures = {
        "mask_ap": scores.masks.ap, "mask_ap50": scores.masks.ap50, "box_ap": scores.boxes.ap,
        "f1": scores.f1, "count_error": scores.count_error, "mask_ap75": scores.masks.ap75,
        "mask_ap_small": scores.masks.small, "mask_ap_medium": scores.masks.medium,
        "mask_ap_large": scores.masks.large, "box_ap50": scores.boxes.ap50, "box_ap75": scores.boxes.ap75,
        "precision": scores.precision, "recall": scores.recall, "objects": scores.objects,
        "detections": scores.detections, "duplicates": scores.duplicates,
    }  # fmt: skip
    sheet = Sheet.of([chip for _, chip in (*main.best, *main.worst)], card, links)
    threshold = scores.score_threshold
    content = TrainingPage(
        **page_facts(record, legend, card),
        curves=_curves(record.history),
        confusion=np.zeros((len(legend), len(legend)), dtype=np.int64),
        measured_on=f"{scores.objects} objects of {main.chips} chips of {record.measured_on}",
        scores={**{k: v for k, v in figures.items() if v is not None}, "classes": classes},
        best=tuple(_picture(f1, chip, sheet, threshold) for f1, chip in main.best),
        worst=tuple(_picture(f1, chip, sheet, threshold) for f1, chip in main.worst),
        objects=True,
        precision_recall=main.curve,
        score_threshold=threshold,
    )
    write_training_page(path, content)


def _curves(history: Sequence[EpochRow]) -> tuple[Curve, ...]:
    steps = tuple(float(r.epoch) for r in history)
    curves = [
        Curve("loss", steps, tuple(r.train_loss for r in history), "train"),
        Curve("loss", steps, tuple(r.val_loss for r in history), "val"),
        *(Curve(n, steps, tuple(r.val_ap[n] for r in history), "val") for n in _AP),
    ]
    for name in LOSSES:
        curves.append(Curve(name, steps, tuple(r.train_parts[name] for r in history), "train"))
        curves.append(Curve(name, steps, tuple(r.val_parts[name] for r in history), "val"))
    curves.append(Curve("learning rate", steps, tuple(r.rate for r in history), "train"))
    return tuple(curves)


def _picture(f1: float, chip: DetectedChip, sheet: Sheet, threshold: float) -> ChipPicture:
    kept = chip.predicted.chosen(np.flatnonzero(chip.predicted.scores >= round(threshold * SCORES)))
    return ChipPicture(
        title=chip.where,
        rgb=sheet.rgb(chip),
        label=outlines(chip.true, chip.shape),
        prediction=outlines(kept, chip.shape),
        score=f1,
        link=sheet.link(chip.where),
    )


def outlines(found: Detections, shape: tuple[int, int]) -> NDArray[np.uint8]:
    """Return the class of the pixels on the rim of each object, 255 elsewhere, shape (rows, cols)."""
    drawn = np.full(shape, IGNORE, dtype=np.uint8)
    for box, kind, mask in zip(found.boxes.tolist(), found.classes.tolist(), found.masks, strict=True):
        rim = mask & ~binary_erosion(mask)
        drawn[box[0] : box[2], box[1] : box[3]][rim] = kind
    return drawn
