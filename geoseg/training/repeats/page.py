"""The page of several trainings, from their record."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

import geoseg
from geoseg.core.legend import Legend
from geoseg.core.sharing import shared_text
from geoseg.models.card import Card
from geoseg.report.repeats_page import FigureRow, RepeatsPage, write_repeats_page_file
from geoseg.training.page import bins_of_classes, facts, table_of
from geoseg.training.record import TrainingRecord


def write_repeats_page(
    path: Path,
    record: TrainingRecord,
    card: Card,
    legend: Legend,
    pages: Mapping[str, str],
    confusion: NDArray[np.int64] | None,
) -> None:
    """Write the page.

    Parameters
    ----------
    path
        File to write.
    record
        Record of all trainings.
    card
        Card of their bundle.
    legend
        The classes; none of a regression.
    pages
        Folder of each training, by its name.
    confusion
        Pixels of all networks, shape (C, C); None where there are no classes.

    Raises
    ------
    OutputError
        When the file cannot be written.
    """
    repeats = getattr(record.metrics, "repeats", None)
    assert repeats is not None  # noqa: S101 (that of several trainings has it)
    content = RepeatsPage(
        title=card.title,
        subtitle=f"{card.name} {card.version}, geoseg {geoseg.__version__}, {record.finished}",
        about=repeats.about,
        bundle=repeats.bundle,
        interval=repeats.interval,
        unit=repeats.unit,
        legend=legend,
        figures=tuple(
            FigureRow(n, f.value, f.ci95, f.seeds_mean, f.seeds_sd, f.folds_mean, f.folds_sd)
            for n, f in repeats.figures.items()
        ),
        folds=repeats.by_fold,
        seeds=repeats.by_seed,
        places=[(r.place, r.fold, r.pixels, r.figures) for r in repeats.by_place],
        pages=pages,
        confusion=confusion,
        reliability_of_classes=bins_of_classes(getattr(record.metrics, "classes", ())),
        facts=facts(record),
        warnings=tuple(shared_text(w) for w in record.warnings),
        datasets=table_of(record),
    )
    write_repeats_page_file(path, content)
