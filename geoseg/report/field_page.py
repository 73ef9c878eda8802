"""The page of a run whose map is no class map: numbers, or several labels for each pixel."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from geoseg.config.run_record import RecordedValues, RunRecord
from geoseg.core.legend import NODATA
from geoseg.core.run_files import RunFile
from geoseg.report import run_parts
from geoseg.report.html import HeadlineFigure, grouped, percent
from geoseg.report.jumps import Differ, count_jumps, labels_differ, numbers_differ
from geoseg.report.map_images import (
    BYTES,
    band_titles,
    label_layer,
    probability_layer,
    value_colors,
    value_layer,
)
from geoseg.report.map_page import Colors, ShownLayer, ShownMap, map_page, strange_layers
from geoseg.report.quicklook import value_limits
from geoseg.report.ridges import Counted, Ridges, ridges
from geoseg.report.seams import check_seams
from geoseg.report.worth import accuracy_figure, class_scores

if TYPE_CHECKING:
    from geoseg.report.run_page import RunPage

_BARS = 51
"""Bars of the histogram of numbers, of five bins of the record each."""

_JUMP = 0.25
"""Standard deviations of the map by which neighbours must differ to count as a jump."""

_AT_LIMIT = 0.005
"""Share of the pixels at an end of the range from which on the page warns of it."""


@dataclass(frozen=True)
class LabelRow:
    """A row of the table of labels."""

    slug: str
    title: str
    color: str
    pixels: int
    share: float
    """Share of the pixels with data, 0 to 1."""
    area: str
    """Area with its unit; empty without a CRS."""
    id: int = 0
    iou: Any = None
    f1: Any = None
    """Scores of the model, 0 to 1; None where its card has none."""


def value_page(page: "RunPage") -> str:
    """Return the page of a map of numbers as text."""
    record, path = page.record, page.folder / RunFile.VALUES
    values = record.values
    assert values is not None  # noqa: S101 (the record of a regression has them)
    low, high = value_limits(values)
    unit = f" {values.unit}" if values.unit else ""
    colors = value_colors()
    edges = np.linspace(low, high, len(colors) + 1)
    meaning: Colors = [
        [*c, f"{a:.4g} to {b:.4g}{unit}"] for c, a, b in zip(colors, edges, edges[1:], strict=False)
    ]
    alt = f"Map of {values.title}, light where it is high"
    layer = ShownLayer("values", "Values", value_layer(path, low, high), alt, meaning)
    chart, table, spread = value_chart(values), value_table(values), _number(values.std, unit)
    numbers = [("statistic", "value"), *_statistics(values).items()]
    return _page(
        page, path, [layer], numbers_differ(_JUMP * values.std), none="no data",
        tables={"values": chart.table, "statistics": numbers},
        figures=[
            HeadlineFigure("Mean", f"standard deviation {spread}", _number(values.mean, unit)),
            HeadlineFigure("Median", "half of the pixels are below", _number(quantile(values, 0.5), unit)),
        ],
        values=values, chart=chart, table=table, limits=limits_text(values),
        ramp=["#{:02x}{:02x}{:02x}".format(*c) for c in colors[::9]],
        ends=(_number(low, unit), _number(high, unit)), rows=[],
    )  # fmt: skip


def label_page(page: "RunPage") -> str:
    """Return the page of a map of labels as text."""
    record, path = page.record, page.folder / RunFile.LABELS
    rows = label_rows(record)
    most = BYTES["classes"] // max(1, len(page.legend))
    layers = [
        ShownLayer(
            f"label-{i}", c.title, label_layer(path, i, c.rgb, most), f"Where {c.title} is",
            [[*c.rgb, c.title]],
        )
        for i, c in enumerate(page.legend.classes, start=1)
    ]  # fmt: skip
    areas = record.area_m2 or {}
    numbers: list[tuple[Any, ...]] = [("label", "id", "pixels", "share", "area_m2", "model_iou", "model_f1")]
    numbers += [(r.title, r.id, r.pixels, r.share, areas.get(r.slug), r.iou, r.f1) for r in rows]
    return _page(
        page, path, layers, labels_differ(NODATA), none="no label, or no data", tables={"classes": numbers},
        figures=[HeadlineFigure("Labels", "each pixel may have several", str(len(rows)))],
        values=None, chart=None, table={}, limits="", ramp=[], ends=("", ""), rows=rows,
    )  # fmt: skip


def _page(
    page: "RunPage",
    path: Path,
    layers: list[ShownLayer],
    differ: Differ,
    *,
    figures: list[HeadlineFigure],
    none: str,
    tables: dict[str, Any],
    **parts: Any,
) -> str:
    record = page.record
    rows, cols = count_jumps(path, differ)
    lines, columns = (axis.seams for axis in page.axes)
    seams = check_seams(((rows, lines), (cols, columns)))
    kept = page.folder / RunFile.PROBABILITIES if RunFile.PROBABILITIES in record.outputs else None
    shown = ShownMap(
        path, [*layers, *strange_layers(page)], lines, columns, none=none, tables=tables,
        probabilities=None if kept is None else probability_layer(kept),
        probable=[] if kept is None else band_titles(kept),
    )  # fmt: skip
    return map_page(
        "field.html.j2", page, shown, seams=seams,
        figures=[accuracy_figure(record), *run_parts.strangeness_figure(record), *figures, _mapped(record)],
        seam_chart=run_parts.seam_chart(seams, "jumps") if seams else None,
        what="labels" if parts["values"] is None else "values",
        scored=any(r.iou is not None or r.f1 is not None for r in parts["rows"]),
        **parts,
    )  # fmt: skip


def _mapped(record: RunRecord) -> HeadlineFigure:
    size = record.plan.width * record.plan.height
    valid = size - record.pixels["nodata"]
    inside = size if record.aoi is None else record.aoi.pixels
    where = "scene" if record.aoi is None else "area of interest"
    part = f"{percent(valid / inside)} % of the {where}; the rest is nodata"
    return HeadlineFigure("Mapped", part if valid < inside else f"all of the {where}", f"{grouped(valid)} px")


def _number(value: float, unit: str) -> str:
    return f"{value:.4g}{unit}"


def quantile(values: RecordedValues, share: float) -> float:
    """Return the value below which a share of the pixels lies, from the histogram of a map."""
    total = np.cumsum([0, *values.histogram])
    edges = np.linspace(values.min, values.max, len(total))
    place = share * total[-1]
    last = max(1, int(np.searchsorted(total, place)))
    before, after = total[last - 1], total[last]
    inside = (place - before) / (after - before) if after > before else 0.0
    return float(edges[last - 1] + inside * (edges[last] - edges[last - 1]))


def value_chart(values: RecordedValues) -> Ridges:
    """Return the histogram of a map, over the range in which values lie, in the colours of the map."""
    counts: NDArray[np.int64] = np.array(values.histogram)
    counts = counts.reshape(_BARS, -1).sum(axis=1)
    edges = np.linspace(values.min, values.max, _BARS + 1)
    first, last = np.flatnonzero(counts)[[0, -1]]
    colors, (low, high) = value_colors(), value_limits(values)
    middles = ((edges[:-1] + edges[1:]) / 2 - low) / (high - low)
    places = (middles * len(colors)).clip(0, len(colors) - 1).astype(int)
    part = range(first, last + 1)
    return ridges(
        [
            Counted(
                values.title, "", [int(counts[i]) for i in part],
                colors=["#{:02x}{:02x}{:02x}".format(*colors[places[i]]) for i in part],
            )
        ],
        [f"{edges[i]:.4g} to {edges[i + 1]:.4g}" for i in part],
        ticks=[
            (at / 4, f"{edges[first] + at / 4 * (edges[last + 1] - edges[first]):.4g}") for at in range(5)
        ],
        x_label=values.title + (f" [{values.unit}]" if values.unit else ""),
        what="pixels",
    )  # fmt: skip


def value_table(values: RecordedValues) -> dict[str, str]:
    """Return the statistics of a map as text, by name."""
    unit = f" {values.unit}" if values.unit else ""
    return {name: _number(v, unit) for name, v in _statistics(values).items()}


def _statistics(values: RecordedValues) -> dict[str, float]:
    shares = {"5 %": 0.05, "25 %": 0.25, "Median": 0.5, "75 %": 0.75, "95 %": 0.95}
    return {
        "Least": values.least,
        **{name: quantile(values, share) for name, share in shares.items()},
        "Largest": values.most,
        "Mean": values.mean,
        "Standard deviation": values.std,
    }


def limits_text(values: RecordedValues) -> str:
    """Return a note where many pixels lie at an end of the network's range; else an empty text."""
    total, unit = sum(values.histogram), f" {values.unit}" if values.unit else ""
    ends = (
        (values.at_min, values.min, values.least, "lower"),
        (values.at_max, values.max, values.most, "upper"),
    )
    told = [
        f"{percent(n / total)} % of the pixels lie at the {name} end of the range, {_number(end, unit)}"
        for n, end, reached, name in ends
        # Heights and densities end at 0, whatever the network.
        if n > _AT_LIMIT * total and abs(reached - end) <= values.step and end
    ]
    return "; ".join(told)


def label_rows(record: RunRecord) -> list[LabelRow]:
    """Return the labels of a map in the order of their bands, with the pixels and areas of `run.json`."""
    valid = record.plan.width * record.plan.height - record.pixels["nodata"]
    areas = record.area_m2
    largest = max(areas.values(), default=0.0) if areas else 0.0
    scores = class_scores(record)
    return [
        LabelRow(
            c.slug,
            c.title,
            c.color,
            record.pixels.get(c.slug, 0),
            record.pixels.get(c.slug, 0) / max(1, valid),
            run_parts.area_text(areas[c.slug], largest) if areas else "",
            c.id,
            *scores.get(c.slug, (None, None)),
        )
        for c in record.classes
    ]
