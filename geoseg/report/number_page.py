"""The page of a training of numbers: curves, predicted against true values, differences, chips."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from numpy.typing import NDArray

from geoseg.core.files import write_atomic
from geoseg.report.charts import Chart, histogram_chart, picture_chart
from geoseg.report.datasets_table import DatasetsTable
from geoseg.report.html import HeadlineFigure, grouped, render
from geoseg.report.pictures import Panel, data_uri
from geoseg.report.training_page import Curve, charts_of, numbers_of

_SCORES = {
    "rmse": ("RMSE", "root of the mean squared difference"),
    "mae": ("MAE", "mean absolute difference"),
    "bias": ("Bias", "mean difference, prediction minus label"),
    "r2": ("R²", "share of the variance that is explained; 1 is best"),
    "correlation": ("Correlation", "Pearson's, between prediction and label"),
}
_UNITLESS = ("r2", "correlation")


@dataclass(frozen=True)
class NumberPicture:
    """A chip that the page shows."""

    title: str
    rgb: NDArray[np.uint8]
    """Shape (rows, cols, 3)."""
    label: NDArray[np.float32]
    """NaN where nothing is known, shape (rows, cols)."""
    prediction: NDArray[np.float32]
    score: float
    """Mean absolute difference."""
    link: str = ""
    """Address of the file that it was cut from; empty: none."""


@dataclass(frozen=True)
class NumberTrainingPage:
    """Content of the page of a training of numbers."""

    title: str
    subtitle: str
    label: str
    """Title and unit of the numbers."""
    unit: str
    limits: tuple[float, float]
    """Range of the numbers."""
    curves: tuple[Curve, ...]
    cells: NDArray[np.int64]
    """Pixels by bin of the label (rows) and of the prediction (columns), over the range."""
    differences: NDArray[np.int64]
    """Pixels by bin of the difference, from minus to plus half the range."""
    measured_on: str
    scores: Mapping[str, Any]
    best: tuple[NumberPicture, ...] = ()
    worst: tuple[NumberPicture, ...] = ()
    facts: Mapping[str, Any] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()
    best_epoch: float | None = None
    datasets: DatasetsTable | None = None
    """The data sets, where there are several."""


def write_number_page(path: Path, page: NumberTrainingPage) -> None:
    """Write the page as one HTML file that loads no other file.

    Raises
    ------
    OutputError
        When the file cannot be written.
    """
    write_atomic(path, number_page(page).encode("utf-8"))


def number_page(page: NumberTrainingPage) -> str:
    """Return the page as text."""
    unit = f" {page.unit}" if page.unit else ""
    figures = [
        HeadlineFigure(title, meaning, f"{page.scores[key]:.3g}{'' if key in _UNITLESS else unit}")
        for key, (title, meaning) in _SCORES.items()
        if page.scores.get(key) is not None
    ]
    return render(
        "training_numbers.html.j2",
        page=page,
        figures=figures,
        pixels=grouped(page.scores["pixels"]),
        charts=charts_of(page.curves, page.best_epoch, ("loss", "rmse")),
        numbers=numbers_of(page.curves),
        scatter=scatter_chart(page),
        residuals=residual_chart(page),
        chips=[
            (title, [(c, _panels(c, page.limits)) for c in chips])
            for title, chips in (("Best chips", page.best), ("Worst chips", page.worst))
            if chips
        ],
        ramp=["#{:02x}{:02x}{:02x}".format(*rgb) for rgb in _colors("viridis", np.linspace(0, 1, 12))],
        ends=(f"{page.limits[0]:.4g}{unit}", f"{page.limits[1]:.4g}{unit}"),
    )


def scatter_chart(page: NumberTrainingPage) -> Chart:
    """Return the 2-D histogram of predictions over labels; darker where there are more pixels."""
    # Image rows run downwards, and predictions upwards; pixels on a logarithmic scale, so that few show too.
    counts = np.log1p(page.cells.T[::-1].astype(np.float64))
    shares = counts / max(counts.max(), 1e-9)
    rgba = mpl.colormaps["viridis_r"](0.08 + 0.92 * shares, bytes=True)
    rgba[counts == 0] = 0
    return picture_chart(
        data_uri(np.ascontiguousarray(rgba)), page.limits, x_label="label", y_label="prediction"
    )


def residual_chart(page: NumberTrainingPage) -> Chart:
    """Return the histogram of the differences, prediction minus label, where they lie."""
    half = (page.limits[1] - page.limits[0]) / 2
    edges = np.linspace(-half, half, len(page.differences) + 1)
    seen = np.flatnonzero(page.differences)
    # As far on either side as the farther one, so that 0 is in the middle.
    middle = len(page.differences) // 2
    reach = max(4, int(np.abs(seen - middle).max(initial=0)) + 1)
    part = slice(max(0, middle - reach), min(len(page.differences), middle + reach))
    return histogram_chart(
        page.differences[part].tolist(), edges[part.start : part.stop + 1].tolist(),
        x_label="prediction minus label", y_label="share of the pixels, %",
    )  # fmt: skip


def _panels(chip: NumberPicture, limits: tuple[float, float]) -> tuple[Panel, ...]:
    """Paint the four pictures of a chip: input, label, prediction, and their difference."""
    low, high = limits
    difference = chip.prediction - chip.label
    pictures = (
        ("Image", f"{chip.rgb.shape[0]} by {chip.rgb.shape[1]} pixels", chip.rgb),
        ("Label", f"mean {np.nanmean(chip.label):.4g}", _painted(chip.label, low, high, "viridis")),
        ("Prediction", f"mean {chip.prediction.mean():.4g}", _painted(chip.prediction, low, high, "viridis")),
        (
            "Difference",
            f"mean absolute {chip.score:.4g}",
            _painted(difference, -(high - low) / 4, (high - low) / 4, "RdBu_r"),
        ),
    )
    return tuple(Panel(name, f"{name}: {about}", data_uri(pixels)) for name, about, pixels in pictures)


def _painted(values: NDArray[Any], low: float, high: float, ramp: str) -> NDArray[np.uint8]:
    shares = ((np.nan_to_num(values) - low) / (high - low)).clip(0, 1)
    rgba: NDArray[np.uint8] = mpl.colormaps[ramp](shares, bytes=True)
    rgba[np.isnan(values)] = 0
    return rgba


def _colors(ramp: str, shares: NDArray[np.float64]) -> list[tuple[int, int, int]]:
    return [(int(r), int(g), int(b)) for r, g, b, _ in mpl.colormaps[ramp](shares, bytes=True)]
