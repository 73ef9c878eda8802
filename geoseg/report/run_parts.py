"""The parts of a run's page: headline figures, areas, confidence, places with low confidence, seams."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import rasterio
from odc.geo.geobox import GeoBox

from geoseg.config.run_record import RunRecord
from geoseg.core.legend import IGNORE, Legend, LegendClass
from geoseg.report.charts import Chart, Series, line_chart
from geoseg.report.html import HeadlineFigure, grouped, percent
from geoseg.report.map_images import STEP, confidence_colors
from geoseg.report.pictures import composition
from geoseg.report.seams import SeamCheck
from geoseg.report.survey import CoarseCell, Survey, mean_confidence
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
    bar: float
    """Pixels as a share of those of the largest class, 0 to 1."""
    area: str
    """Area with its unit; empty without a CRS."""
    confidence: float
    """Mean confidence, 0 to 1; NaN without pixels."""


@dataclass(frozen=True)
class Bar:
    """One bar of the confidence histogram."""

    low: int
    high: int
    """Bounds of the confidence in per cent."""
    color: str
    share: float
    """Share of the pixels with a class, 0 to 1."""
    height: float
    """Height as a share of the highest bar, 0 to 1."""


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
    """Return the classes of a map, the largest first, with the pixels and areas of `run.json`."""
    pixels = {c.slug: record.pixels.get(c.slug, 0) for c in legend.classes}
    areas = record.area_m2
    # Of objects the share of what was looked at; a scene may have none.
    total = sum(pixels.values()) if record.objects is None else record.objects.looked_at
    total, most = total or 1, max(pixels.values()) or 1
    rows = [
        ClassAreaRow(
            c,
            pixels[c.slug],
            pixels[c.slug] / total,
            pixels[c.slug] / most,
            area_text(areas[c.slug], sum(areas.values())) if areas else "",
            mean_confidence(found.counts[c.id]),
        )
        for c in legend.classes
    ]
    return sorted(rows, key=lambda r: -r.pixels)


def shares_text(rows: Sequence[ClassAreaRow]) -> str:
    """Return the classes of the map and their shares as text."""
    return ", ".join(f"{r.legend.title} {100 * r.share:.0f} %" for r in rows if r.pixels)


def headline_results(record: RunRecord, found: Survey, seams: SeamCheck | None) -> list[HeadlineFigure]:
    """Return the figures at the top of the page."""
    valid, aoi = int(found.histogram.sum()), record.aoi
    inside = valid + record.pixels["nodata"] if aoi is None else aoi.pixels
    where = "scene" if aoi is None else "area of interest"
    total = sum((record.area_m2 or {}).values())
    part = f"{percent(valid / inside)} % of the {where}; the rest is nodata"
    mapped = area_text(total, total) if total else f"{grouped(valid)} px"
    figures = [HeadlineFigure("Mapped", part if valid < inside else f"all of the {where}", mapped)]
    if found.cells:
        low = percent(found.histogram[:UNSURE].sum() / valid)
        mean = f"{percent(mean_confidence(found.histogram))} %"
        figures.append(HeadlineFigure("Mean confidence", f"{low} % of the pixels are below {UNSURE} %", mean))
    figures += strangeness_figure(record)
    if seams is not None and seams.index is not None:
        meaning = "class changes where tiles meet, over those beside; 1: no seam"
        figures.append(HeadlineFigure("Seam index", meaning, f"{seams.index:.2f}"))
    meaning = f"{record.tiles_predicted} tiles on {record.plan.device}"
    return [*figures, HeadlineFigure("Time", meaning, duration(record.seconds.total))]


def strangeness_figure(record: RunRecord) -> list[HeadlineFigure]:
    """Return how many pixels are unlike the training pixels, nothing where that was not measured."""
    found = record.strangeness
    if found is None:
        return []
    meaning = (
        "of the pixels are farther from the training pixels than 99 of 100 of these: no confidence holds"
    )
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


def confidence_bars(found: Survey) -> list[Bar]:
    """Return the histogram of the confidence, in the colours of the confidence map."""
    per_bar = np.add.reduceat(found.histogram, np.arange(0, 100, STEP))  # 100 % counts in the last bar
    shares = per_bar / per_bar.sum()
    return [
        Bar(i * STEP, (i + 1) * STEP, "#{:02x}{:02x}{:02x}".format(*rgb), float(s), float(s / shares.max()))
        for i, (rgb, s) in enumerate(zip(confidence_colors(), shares, strict=True))
    ]


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
    return place_text(y, x) if geobox.crs.geographic else f"{x:.0f} E, {y:.0f} N"


def place_text(latitude: float, longitude: float) -> str:
    """Return a place in degrees with the letters of its hemispheres: `10.5000° S, 75.6780° W`."""
    east = (longitude + 180) % 360 - 180
    north_south, east_west = "S" if latitude < 0 else "N", "W" if east < 0 else "E"
    return f"{abs(latitude):.4f}° {north_south}, {abs(east):.4f}° {east_west}"


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
