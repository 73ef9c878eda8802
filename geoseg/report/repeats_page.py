"""The page of several trainings: folds and repeated seeds, in one self-contained HTML file."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geoseg.core.files import write_atomic
from geoseg.core.legend import Legend
from geoseg.report.datasets_table import DatasetsTable
from geoseg.report.html import HeadlineFigure, is_number, render
from geoseg.report.training_parts import (
    ALIASES,
    HEADLINES,
    SCORES,
    Bins,
    confusion_table,
    reliability_of_classes,
)

_MORE = {"rmse": "RMSE", "mae": "MAE", "r2": "R²", "bias": "Bias", "correlation": "Correlation"}
_OF_CLASSES = {"iou": "IoU", "f1": "F1", "precision": "Precision", "recall": "Recall"}


@dataclass(frozen=True)
class FigureRow:
    """A figure and how it varies; None where there is none."""

    name: str
    """`miou`, `iou/water`, `rmse`, ..."""
    value: float | None
    interval: tuple[float, float] | None
    seeds_mean: float | None
    seeds_sd: float | None
    folds_mean: float | None
    folds_sd: float | None


@dataclass(frozen=True)
class RepeatsPage:
    """Content of the page."""

    title: str
    subtitle: str
    about: str
    """What the figures are."""
    bundle: str
    """What the weights of the bundle are."""
    interval: str
    """How the interval was found."""
    unit: str
    """What was kept together, in the plural."""
    legend: Legend
    figures: tuple[FigureRow, ...]
    folds: Mapping[str, Mapping[str, float | None]]
    seeds: Mapping[str, Mapping[str, float | None]]
    places: Sequence[tuple[str, int, int, Mapping[str, float | None]]]
    """Name, fold, labelled pixels and figures of each place."""
    pages: Mapping[str, str]
    """Address of the page of each training, by its name."""
    confusion: NDArray[np.int64] | None = None
    """Pixels, shape (C, C): rows are the reference, columns the prediction."""
    reliability_of_classes: Mapping[str, Bins] = field(default_factory=dict)
    """Mean confidence, accuracy and pixels of each bin, of each class by slug."""
    facts: Mapping[str, Any] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()
    datasets: DatasetsTable | None = None
    """The data sets, where there are several."""

    @property
    def whole(self) -> list[str]:
        """Names of the figures that are of no single class, the most telling first."""
        names = [f.name for f in self.figures if "/" not in f.name]
        order = [*SCORES, *ALIASES, *_MORE]
        return sorted(names, key=lambda n: order.index(n) if n in order else len(order))


def figure_title(name: str, legend: Legend) -> str:
    """Return the title of a figure.

    Examples
    --------
    >>> figure_title("miou", ())
    'Mean IoU'
    """
    kind, _, slug = name.partition("/")
    if slug:
        titles = {c.slug: c.title for c in legend.classes}
        return f"{_OF_CLASSES.get(kind, kind)}, {titles.get(slug, slug)}"
    known = SCORES.get(ALIASES.get(kind, kind))
    return known[0] if known else _MORE.get(kind, kind.replace("_", " ").capitalize())


def write_repeats_page_file(path: Path, page: RepeatsPage) -> None:
    """Write the page as one HTML file that loads no other file.

    Raises
    ------
    OutputError
        When the file cannot be written.
    """
    write_atomic(path, repeats_page(page).encode("utf-8"))


def repeats_page(page: RepeatsPage) -> str:
    """Return the page as text."""
    rows = {f.name: f for f in page.figures}
    whole = page.whole
    return render(
        "repeats.html.j2",
        page=page,
        headlines=[
            HeadlineFigure(figure_title(n, page.legend), _range(rows[n]), _number(rows[n].value))
            for n in whole[:HEADLINES]
        ],
        figures=[
            (
                figure_title(f.name, page.legend), _number(f.value), _range(f),
                _spread(f.seeds_mean, f.seeds_sd), _spread(f.folds_mean, f.folds_sd),
            )
            for f in [*(rows[n] for n in whole), *(f for f in page.figures if "/" in f.name)]
        ],
        heads=[figure_title(n, page.legend) for n in whole],
        folds=[(n, [_number(row.get(k)) for k in whole]) for n, row in page.folds.items()],
        seeds=[(n, [_number(row.get(k)) for k in whole]) for n, row in page.seeds.items()],
        places=[(*place, [_number(row.get(k)) for k in whole]) for *place, row in page.places],
        by_class=reliability_of_classes(page.reliability_of_classes, page.legend),
        confusion=[] if page.confusion is None else confusion_table(page.confusion, page.legend),
    )  # fmt: skip


def _number(value: float | None) -> str:
    """Return a figure with three decimals, or four digits where it is large; a dash for none."""
    if not is_number(value) or value is None:
        return "–"
    return f"{value:.3f}" if abs(value) < 10 else f"{value:.4g}"


def _range(row: FigureRow) -> str:
    return "" if row.interval is None else f"{_number(row.interval[0])} to {_number(row.interval[1])}"


def _spread(mean: float | None, sd: float | None) -> str:
    return _number(mean) if sd is None else f"{_number(mean)} ± {_number(sd)}"
