"""The page of a run whose map is no class map: numbers, or several labels for each pixel."""

import base64
import hashlib
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import rasterio
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox

from geoseg.config.run_record import RecordedValues, RunRecord
from geoseg.core.legend import NODATA
from geoseg.core.run_files import RunFile
from geoseg.core.sharing import shared_path, shared_text
from geoseg.report import run_parts
from geoseg.report.html import HeadlineFigure, grouped, percent, read_template, render
from geoseg.report.jumps import Differ, count_jumps, labels_differ, numbers_differ
from geoseg.report.map_images import (
    BYTES,
    MapLayer,
    label_layer,
    scene_layer,
    strangeness_layers,
    strangeness_legend,
    value_colors,
    value_layer,
)
from geoseg.report.quicklook import value_limits
from geoseg.report.run_facts import megabytes, run_facts
from geoseg.report.run_timeline import draw_timeline
from geoseg.report.seams import check_seams
from geoseg.scenes.grid import crs_name

if TYPE_CHECKING:
    from geoseg.report.run_page import RunPage

LAST = (RunFile.PAGE, RunFile.PROFILE)
"""Files that are finished after the page."""

_BARS = 51
"""Bars of the histogram of numbers, of five bins of the record each."""

_JUMP = 0.25
"""Standard deviations of the map by which neighbours must differ to count as a jump."""

_AT_LIMIT = 0.005
"""Share of the pixels at an end of the range from which on the page warns of it."""


@dataclass(frozen=True)
class ValueBar:
    """One bar of the histogram of numbers."""

    low: str
    high: str
    color: str
    share: float
    height: float
    """Height as a share of the highest bar, 0 to 1."""


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


def value_page(page: "RunPage") -> str:
    """Return the page of a map of numbers as text."""
    record, path = page.record, page.folder / RunFile.VALUES
    values = record.values
    assert values is not None  # noqa: S101 (the record of a regression has them)
    low, high = value_limits(values)
    unit = f" {values.unit}" if values.unit else ""
    colors = value_colors()
    edges = np.linspace(low, high, len(colors) + 1)
    legend = [[*c, f"{a:.4g} to {b:.4g}{unit}"] for c, a, b in zip(colors, edges, edges[1:], strict=False)]
    layers = {"values": (value_layer(path, low, high), f"Map of {values.title}, light where it is high")}
    spread = _number(values.std, unit)
    alike = numbers_differ(_JUMP * values.std)
    return _page(
        page, path, layers, [["values", legend]], alike,
        figures=[
            HeadlineFigure("Mean", f"standard deviation {spread}", _number(values.mean, unit)),
            HeadlineFigure("Median", "half of the pixels are below", _number(quantile(values, 0.5), unit)),
        ],
        values=values, bars=value_bars(values), table=value_table(values), limits=limits_text(values),
        ramp=["#{:02x}{:02x}{:02x}".format(*c) for c in colors[::9]],
        ends=(_number(low, unit), _number(high, unit)), rows=[], none="no data",
    )  # fmt: skip


def label_page(page: "RunPage") -> str:
    """Return the page of a map of labels as text."""
    record, path = page.record, page.folder / RunFile.LABELS
    rows = label_rows(record)
    most = BYTES["classes"] // max(1, len(page.legend))
    layers = {
        f"label-{i}": (label_layer(path, i, c.rgb, most), f"Where {c.title} is")
        for i, c in enumerate(page.legend.classes, start=1)
    }
    legends = [[f"label-{i}", [[*c.rgb, c.title]]] for i, c in enumerate(page.legend.classes, start=1)]
    return _page(
        page, path, layers, legends, labels_differ(NODATA),
        figures=[HeadlineFigure("Labels", "each pixel may have several", str(len(rows)))],
        values=None, bars=[], table={}, limits="", ramp=[], ends=("", ""), rows=rows,
        none="no label, or no data",
    )  # fmt: skip


def _page(
    page: "RunPage",
    path: Path,
    layers: dict[str, tuple[MapLayer, str]],
    legends: list[Any],
    differ: Differ,
    *,
    figures: list[HeadlineFigure],
    none: str,
    **parts: Any,
) -> str:
    record = page.record
    with rasterio.open(path) as src:
        geobox, model = GeoBox(src.shape, src.transform, src.crs), src.tags().get("GEOSEG_MODEL", "")
    jumps, lines = count_jumps(path, differ), tuple(axis.seams for axis in page.axes)
    seams = check_seams(((jumps[0], lines[0]), (jumps[1], lines[1])))
    script = read_template("map.js")
    titles = [row.title for row in parts["rows"]] or ["Values"]
    over = list(zip(layers, titles, strict=True))
    shown = {**layers, **strangeness_layers(page.strangeness)}
    if len(shown) > len(layers):
        over.append(("strangeness", "Unlike the training"))
    if page.picture:
        shown = {"scene": (scene_layer(page.picture), f"Scene: {page.picture.title}"), **shown}
    return render(
        "field.html.j2",
        record=record,
        scene=shared_path(record.plan.scene),
        warnings=[shared_text(w) for w in record.warnings],
        model=model,
        finished=f"{datetime.fromisoformat(record.finished):%Y-%m-%d %H:%M} UTC",
        note=shared_text(page.note),
        picture=page.picture.title if page.picture else "",
        figures=[_mapped(record), *figures, *_told(record, None if seams is None else seams.index)],
        layers=shown,
        over=over,
        seams=seams,
        seam_chart=run_parts.seam_chart(seams, "jumps") if seams else None,
        what="labels" if parts["values"] is None else "values",
        timeline=draw_timeline(page.timeline) if page.timeline else None,
        facts=run_facts(record, model, crs_name(geobox.crs)),
        files={k: (megabytes(f.bytes), f.sha256) for k, f in record.outputs.items() if k not in LAST},
        data={
            "width": geobox.shape.x,
            "height": geobox.shape.y,
            "transform": None if geobox.crs is None else tuple(geobox.transform)[:6],
            "geographic": geobox.crs is not None and geobox.crs.geographic,
            "gsd": record.plan.gsd_m,
            "legends": [*legends, strangeness_legend()],
            "none": none,
            "rows": lines[0],
            "cols": lines[1],
            "places": [],
        },
        script=script,
        script_hash=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode("ascii"),
        **parts,
    )


def _mapped(record: RunRecord) -> HeadlineFigure:
    size = record.plan.width * record.plan.height
    valid = size - record.pixels["nodata"]
    inside = size if record.aoi is None else record.aoi.pixels
    where = "scene" if record.aoi is None else "area of interest"
    part = f"{percent(valid / inside)} % of the {where}; the rest is nodata"
    return HeadlineFigure("Mapped", part if valid < inside else f"all of the {where}", f"{grouped(valid)} px")


def _told(record: RunRecord, index: float | None) -> list[HeadlineFigure]:
    seam = []
    if index is not None:
        seam = [
            HeadlineFigure(
                "Seam index", "jumps where tiles meet, over those beside; 1: no seam", f"{index:.2f}"
            )
        ]
    tiles = f"{record.tiles_predicted} tiles on {record.plan.device}"
    strange = run_parts.strangeness_figure(record)
    return [*strange, *seam, HeadlineFigure("Time", tiles, run_parts.duration(record.seconds.total))]


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


def value_bars(values: RecordedValues) -> list[ValueBar]:
    """Return the histogram of a map, over the range in which values lie."""
    counts: NDArray[np.int64] = np.array(values.histogram)
    counts = counts.reshape(_BARS, -1).sum(axis=1)
    edges = np.linspace(values.min, values.max, _BARS + 1)
    first, last = np.flatnonzero(counts)[[0, -1]]
    colors, (low, high) = value_colors(), value_limits(values)
    shares = counts / counts.sum()
    bars = []
    for i in range(first, last + 1):
        middle = ((edges[i] + edges[i + 1]) / 2 - low) / (high - low)
        rgb = colors[int(np.clip(middle * len(colors), 0, len(colors) - 1))]
        bars.append(
            ValueBar(
                f"{edges[i]:.4g}",
                f"{edges[i + 1]:.4g}",
                "#{:02x}{:02x}{:02x}".format(*rgb),
                float(shares[i]),
                float(shares[i] / shares.max()),
            )
        )
    return bars


def value_table(values: RecordedValues) -> dict[str, str]:
    """Return the statistics of a map as text, by name."""
    unit = f" {values.unit}" if values.unit else ""
    shares = {"5 %": 0.05, "25 %": 0.25, "Median": 0.5, "75 %": 0.75, "95 %": 0.95}
    found = {
        "Least": values.least,
        **{name: quantile(values, share) for name, share in shares.items()},
        "Largest": values.most,
        "Mean": values.mean,
        "Standard deviation": values.std,
    }
    return {name: _number(v, unit) for name, v in found.items()}


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
    return [
        LabelRow(
            c.slug,
            c.title,
            c.color,
            record.pixels.get(c.slug, 0),
            record.pixels.get(c.slug, 0) / max(1, valid),
            run_parts.area_text(areas[c.slug], largest) if areas else "",
        )
        for c in record.classes
    ]
