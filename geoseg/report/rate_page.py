"""The page of a range test of learning rates: one curve, in one self-contained HTML file."""

import math
from dataclasses import dataclass
from pathlib import Path

from geoseg.core.files import write_atomic
from geoseg.report.charts import Series, line_chart
from geoseg.report.html import render


@dataclass(frozen=True)
class RatePage:
    """Content of the page."""

    title: str
    points: tuple[tuple[float, float], ...]
    """Learning rate and loss."""
    best: float | None
    """The rate that is suggested; None: none."""
    now: float
    """The rate of the training file."""


def write_rate_page(path: Path, page: RatePage) -> None:
    """Write the page.

    Raises
    ------
    OutputError
        When the file cannot be written.
    """
    points = tuple((math.log10(rate), loss) for rate, loss in page.points)
    mark = None
    if page.best is not None:
        x = math.log10(page.best)
        mark = (x, min(points, key=lambda p: abs(p[0] - x))[1], f"{page.best:g}")
    drawing = line_chart(
        [Series("train", "train", points)], x_label="learning rate, as a power of ten",
        y_label="smoothed loss", size=(640.0, 330.0), best=mark,
    )  # fmt: skip
    write_atomic(path, render("rate.html.j2", page=page, drawing=drawing).encode())
