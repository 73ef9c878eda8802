"""The page of a training of labels, from its record and the measured chips."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np

import geoseg
from geoseg.core.legend import Legend
from geoseg.models.card import Card
from geoseg.report.training_page import ChipPicture, TrainingPage, write_training_page
from geoseg.training.measure import PredictedChip
from geoseg.training.multilabel.measure import MeasuredFlags, rarest
from geoseg.training.page import curves, facts, table_of
from geoseg.training.record import TrainingRecord
from geoseg.training.sheet import Sheet


def write_page(
    path: Path,
    record: TrainingRecord,
    measured: MeasuredFlags,
    legend: Legend,
    card: Card,
    links: Mapping[str, str],
) -> None:
    """Write the page of a training of labels; chips show the rarest label of each pixel.

    `links` are the addresses of the scenes' files, by name.

    Raises
    ------
    OutputError
        When the file cannot be written.
    """
    main = measured.main
    sheet = Sheet.of((*main.best, *main.worst), card, links)
    scores = main.scores.model_dump(mode="json")
    pixels = main.agreement.both + main.agreement.reference_only
    order = np.argsort(-pixels, kind="stable")
    limits = np.array(measured.thresholds)[:, None, None]
    rows = {r["slug"]: {**r, "support": r["reference_pixels"]} for r in scores["classes"]}

    def picture(chip: PredictedChip) -> ChipPicture:
        found = (chip.probabilities >= limits).astype(np.uint8)
        label = chip.label
        shown, known = rarest(label, order), label != 255
        right = float(((found == label) & known).sum() / max(1, known.sum()))
        predicted = rarest(found, order)
        return ChipPicture(chip.where, sheet.rgb(chip), shown, predicted, right, sheet.link(chip.where))

    content = TrainingPage(
        title=card.title,
        subtitle=f"{card.name} {card.version}, geoseg {geoseg.__version__}, {record.finished}",
        legend=legend,
        curves=curves(record.history, legend),
        confusion=np.zeros((len(legend), len(legend)), np.int64),
        measured_on=f"{main.chips} chips of {record.measured_on}",
        scores={**scores, "classes": rows},
        best=tuple(picture(c) for c in main.best),
        worst=tuple(picture(c) for c in main.worst),
        facts={"thresholds": card.thresholds or {}, **facts(record)},
        warnings=record.warnings,
        datasets=table_of(record),
        best_epoch=record.training["best_epoch"],
    )
    write_training_page(path, content)
