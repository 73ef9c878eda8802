"""The page of a training of numbers, from its record and the measured chips."""

from collections.abc import Mapping
from pathlib import Path

import geoseg
from geoseg.core.sharing import shared_text
from geoseg.models.card import Card
from geoseg.report.number_page import NumberPicture, NumberTrainingPage, write_number_page
from geoseg.report.training_page import Curve
from geoseg.training.page import facts, figure_curves, table_of
from geoseg.training.record import TrainingRecord
from geoseg.training.regression.measure import MeasuredNumbers, NumberChip
from geoseg.training.sheet import Sheet


def write_page(
    path: Path, record: TrainingRecord, measured: MeasuredNumbers, card: Card, links: Mapping[str, str]
) -> None:
    """Write the page of a training of numbers; `links` are the addresses of the scenes' files, by name.

    Raises
    ------
    OutputError
        When the file cannot be written.
    """
    main, target, history = measured.main, card.target, record.history
    assert target is not None  # noqa: S101 (the card of a regression has one)
    steps = tuple(float(r.epoch) for r in history)
    plain = (
        Curve("loss", steps, tuple(r.train_loss for r in history), "train"),
        Curve("loss", steps, tuple(r.val_loss for r in history), "val"),
        Curve("learning rate", steps, tuple(r.rate for r in history), "train"),
    )

    sheet = Sheet.of((*main.best, *main.worst), card, links)

    def picture(chip: NumberChip) -> NumberPicture:
        where = chip.where
        return NumberPicture(where, sheet.rgb(chip), chip.label, chip.found, chip.mae, sheet.link(where))

    content = NumberTrainingPage(
        title=card.title,
        subtitle=f"{card.name} {card.version}, geoseg {geoseg.__version__}, {record.finished}",
        label=target.label,
        unit=target.unit,
        limits=(target.min, target.max),
        curves=(*plain, *figure_curves(history)),
        cells=main.agreement.cells,
        differences=main.agreement.differences,
        measured_on=f"{main.chips} chips of {record.measured_on}",
        scores=main.scores.model_dump(mode="json"),
        best=tuple(picture(c) for c in main.best),
        worst=tuple(picture(c) for c in main.worst),
        facts={"target": target.model_dump(), **facts(record)},
        warnings=tuple(shared_text(w) for w in record.warnings),
        datasets=table_of(record),
        best_epoch=record.training["best_epoch"],
    )
    write_number_page(path, content)
