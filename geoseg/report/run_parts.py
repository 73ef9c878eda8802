"""The parts of a run's page: headline figures, areas, confidence, places with low confidence, seams."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox

from geoseg.config.run_record import RunRecord
from geoseg.core.legend import IGNORE, Legend, LegendClass
from geoseg.report.charts import Chart, Series, line_chart
from geoseg.report.html import HeadlineFigure, grouped, percent
from geoseg.report.map_images import STEP, confidence_colors
from geoseg.report.pictures import composition
from geoseg.report.ridges import Counted, Ridges, ridges
from geoseg.report.seams import SeamCheck
from geoseg.report.survey import CoarseCell, Survey, mean_confidence
from geoseg.report.worth import accuracy_figure, class_scores, degrees_text
from geoseg.scenes.windows import to_rasterio

PLACES = 8
"""Largest number of places with low confidence on the page."""

UNSURE = 50
"""Per cent of confidence below which a pixel counts as unsure."""

_READ = 256
"""Largest number of pixels a side that are read of a place."""


@dataclass(frozen=True)
class ClassAreaRow:
    """A row of the table of areas: one class of the map."""

    legend: LegendClass
    pixels: int
    share: float
    """Share of the pixels with a class, 0 to 1."""
    area: str
    """Area with its unit; empty without a CRS."""
    confidence: float
    """Mean confidence, 0 to 1; NaN without pixels."""
    iou: Any = None
    f1: Any = None
    """Scores of the model, 0 to 1; None where its card has none."""

    @property
    def title(self) -> str:
        """Name of the class for people."""
        return self.legend.title

    @property
    def color(self) -> str:
        """Its colour, `#rrggbb`."""
        return self.legend.color


@dataclass(frozen=True)
class UnsurePlace:
    """A part of the map with low confidence."""

    cell: CoarseCell
    where: str
    """Centre in coordinates of the map, or in pixels without a CRS."""
    what: str
    """Largest classes and their shares."""

    @property
    def box(self) -> tuple[int, int, int, int]:
        """First column and row, and one past the last column and row."""
        window = self.cell.window
        return window.cols.start, window.rows.start, window.cols.stop, window.rows.stop


def area_text(area_m2: float, largest_m2: float) -> str:
    """Return an area in the unit that fits the largest area of its table: km², ha or m²."""
    for size, name, digits in ((1e6, "km²", 3), (1e4, "ha", 2)):
        if largest_m2 >= size:
            whole, _, rest = f"{area_m2 / size:.{digits}f}".partition(".")
            return f"{grouped(int(whole))}.{rest} {name}"
    return f"{grouped(area_m2)} m²"


def class_rows(record: RunRecord, legend: Legend, found: Survey) -> list[ClassAreaRow]:
    """Return the classes of a map in the order of the legend, with pixels and areas of `run.json`."""
    pixels = {c.slug: record.pixels.get(c.slug, 0) for c in legend.classes}
    areas = record.area_m2
    # Of objects the share of what was looked at; a scene may have none.
    total = sum(pixels.values()) if record.objects is None else record.objects.looked_at
    total = total or 1
    scores = class_scores(record)
    return [
        ClassAreaRow(
            c,
            pixels[c.slug],
            pixels[c.slug] / total,
            area_text(areas[c.slug], sum(areas.values())) if areas else "",
            mean_confidence(found.counts[c.id]),
            *scores.get(c.slug, (None, None)),
        )
        for c in legend.classes
    ]


def class_table(record: RunRecord, rows: Sequence[ClassAreaRow]) -> list[tuple[Any, ...]]:
    """Return the areas of the classes as plain numbers, for those who compute with them."""
    areas = record.area_m2 or {}
    head = ("class", "id", "pixels", "share", "area_m2", "mean_confidence", "model_iou", "model_f1")
    return [
        head,
        *(
            (r.title, r.legend.id, r.pixels, r.share, areas.get(r.legend.slug), r.confidence, r.iou, r.f1)
            for r in rows
        ),
    ]


def shares_text(rows: Sequence[ClassAreaRow]) -> str:
    """Return the classes of the map and their shares as text."""
    return ", ".join(
        f"{r.title} {100 * r.share:.0f} %" for r in sorted(rows, key=lambda r: -r.pixels) if r.pixels
    )


def headline_results(record: RunRecord, found: Survey) -> list[HeadlineFigure]:
    """Return the figures at the top of the page: what the map is worth."""
    valid, aoi = int(found.histogram.sum()), record.aoi
    inside = valid + record.pixels["nodata"] if aoi is None else aoi.pixels
    where = "scene" if aoi is None else "area of interest"
    total = sum((record.area_m2 or {}).values())
    part = f"{percent(valid / inside)} % of the {where}; the rest is nodata"
    mapped = area_text(total, total) if total else f"{grouped(valid)} px"
    figures = [accuracy_figure(record), *strangeness_figure(record)]
    if found.cells:
        mean, low = mean_confidence(found.histogram), found.histogram[:UNSURE].sum() / valid
        figures += [
            HeadlineFigure("Doubtful pixels", f"their confidence is below {UNSURE} %", f"{percent(low)} %"),
            HeadlineFigure("Mean confidence", "no accuracy: it can be sure and wrong", f"{percent(mean)} %"),
        ]
    return [
        *figures,
        HeadlineFigure("Mapped", part if valid < inside else f"all of the {where}", mapped),
    ]


def strangeness_figure(record: RunRecord) -> list[HeadlineFigure]:
    """Return how many pixels are unlike the training pixels, nothing where that was not measured."""
    found = record.strangeness
    if found is None:
        return []
    meaning = "farther out than 99 of 100 training pixels are: do not rely on the map there"
    return [HeadlineFigure("Unlike the training", meaning, f"{percent(found.share)} %")]


def duration(seconds: float) -> str:
    """Return a duration as text: `4.2 s`, `66 s`, `12 min 5 s`, `3 h 4 min`."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 120:
        return f"{whole} s"
    minutes, rest = divmod(whole, 60)
    return f"{minutes} min {rest} s" if minutes < 120 else f"{minutes // 60} h {minutes % 60} min"


def confidence_chart(rows: Sequence[ClassAreaRow], found: Survey) -> Ridges:
    """Return the histograms of the confidence, of all pixels in the colours of the confidence map."""
    colors = ["#{:02x}{:02x}{:02x}".format(*rgb) for rgb in confidence_colors()]
    counted = [Counted("All classes", "", _steps(found.histogram), colors=colors)]
    classes = [(r.legend, found.counts[r.legend.id]) for r in rows if r.pixels]
    counted += [
        Counted(c.title, c.color, _steps(n), f"mean {percent(mean_confidence(n))} %") for c, n in classes
    ]
    return ridges(
        counted if len(classes) > 1 else counted[:1],
        [f"{low} to {low + STEP} %" for low in range(0, 100, STEP)],
        ticks=[(share / 100, f"{share} %") for share in range(0, 101, 25)],
        x_label="confidence",
        what="pixels",
    )


def _steps(histogram: NDArray[np.int64]) -> list[int]:
    """Return pixels by `STEP` per cent of pixels by per cent; 100 % counts in the last step."""
    sums: list[int] = np.add.reduceat(histogram, np.arange(0, 100, STEP)).tolist()
    return sums


def least_confident(
    class_map: Path, legend: Legend, geobox: GeoBox, cells: Sequence[CoarseCell]
) -> list[UnsurePlace]:
    """Return the cells of the coarse grid with the lowest mean confidence, the lowest first.

    Cells with less than a quarter of the pixels of a full cell are left out.
    """
    full = max((c.window.shape[0] * c.window.shape[1] for c in cells), default=0)
    large = [c for c in cells if 4 * c.pixels >= full]
    return [_place(class_map, legend, geobox, c) for c in sorted(large, key=lambda c: c.confidence)[:PLACES]]


def _place(class_map: Path, legend: Legend, geobox: GeoBox, cell: CoarseCell) -> UnsurePlace:
    rows, cols = cell.window.rows, cell.window.cols
    height, width = (min(n, _READ) for n in cell.window.shape)
    with rasterio.open(class_map) as src:
        classes = src.read(1, window=to_rasterio(cell.window), out_shape=(height, width))
    channel = np.full(256, IGNORE, dtype=np.uint8)
    channel[legend.ids] = np.arange(len(legend))
    col, row = (cols.start + cols.stop) / 2, (rows.start + rows.stop) / 2
    return UnsurePlace(cell, _where(geobox, col, row), composition(channel[classes], legend, 2))


def _where(geobox: GeoBox, col: float, row: float) -> str:
    if geobox.crs is None:
        return f"column {col:.0f}, row {row:.0f}"
    x, y = geobox.transform @ (col, row)
    return degrees_text(x, y, 4) if geobox.crs.geographic else f"{x:.0f} E, {y:.0f} N"


def seam_chart(seams: SeamCheck, what: str = "class changes") -> Chart | None:
    """Return the chart of the rate of class changes (per cent) over the distance to the seams."""
    points = tuple((float(at), 100 * rate) for at, rate in seams.profile)
    mark = (0.0, 100 * seams.rate, f"on the seams: {percent(seams.rate, 2)} %")
    return line_chart(
        [Series(what, "val", points)],
        x_label="distance to the seam in pixels",
        y_label="pairs of pixels that differ, %",
        size=(560.0, 260.0),
        share=True,
        best=mark,
    )
