"""The parts of a run's page that show objects: how many, how sure, how large, and how they were merged."""

import math
from dataclasses import dataclass
from typing import Any

from geoseg.config.run_record import RecordedObjects, RunRecord
from geoseg.core.legend import Legend, LegendClass
from geoseg.report.html import MISSING, HeadlineFigure, grouped, percent
from geoseg.report.ridges import Counted, Ridges, ridges
from geoseg.report.run_parts import area_text, strangeness_figure
from geoseg.report.worth import accuracy_figure


@dataclass(frozen=True)
class ObjectRow:
    """A row of the table of objects: one class."""

    legend: LegendClass
    count: int
    bar: float
    """Objects as a share of those of the most frequent class, 0 to 1."""
    density: str
    """Objects in a square kilometre that was looked at; a dash without a CRS."""
    share: float
    """Pixels as a share of those that were looked at, 0 to 1."""
    area: str
    """Area with its unit; empty without a CRS."""


@dataclass(frozen=True)
class ObjectSection:
    """What the page shows of objects."""

    rows: list[ObjectRow]
    scores: Ridges
    """Histogram of their scores."""
    sizes: list[tuple[str, str]]
    """What a size is of, and the size."""
    notes: list[str]
    """How many objects were joined, are hidden, or may be missing."""


def object_section(record: RunRecord, legend: Legend, found: RecordedObjects) -> ObjectSection:
    """Return what the page shows of objects."""
    most, areas = max(found.by_class.values(), default=0) or 1, record.area_m2
    total = sum((areas or {}).values())
    rows = [
        ObjectRow(
            c,
            found.by_class.get(c.slug, 0),
            found.by_class.get(c.slug, 0) / most,
            _short(_density(found.by_class.get(c.slug, 0), found)),
            record.pixels.get(c.slug, 0) / max(1, found.looked_at),
            area_text(areas[c.slug], total) if areas else "",
        )
        for c in legend.classes
    ]
    return ObjectSection(rows, _scores(found), _sizes(found), _notes(found))


def _scores(found: RecordedObjects) -> Ridges:
    step = 100 // max(1, len(found.scores))
    return ridges(
        [Counted("All objects", "", found.scores)],
        [f"{i * step} to {(i + 1) * step} %" for i in range(len(found.scores))],
        ticks=[(share / 100, f"{share} %") for share in range(0, 101, 25)],
        x_label="score",
        what="objects",
    )


def object_table(record: RunRecord, legend: Legend, found: RecordedObjects) -> list[tuple[Any, ...]]:
    """Return objects and areas of the classes as plain numbers."""
    areas = record.area_m2 or {}
    rows = [
        (c.title, c.id, found.by_class.get(c.slug, 0), record.pixels.get(c.slug, 0), areas.get(c.slug))
        for c in legend.classes
    ]
    return [("class", "id", "objects", "pixels", "area_m2"), *rows]


def object_figures(record: RunRecord, found: RecordedObjects) -> list[HeadlineFigure]:
    """Return the figures at the top of the page."""
    density = _density(found.count, found)
    meaning = "no CRS, so no density" if math.isnan(density) else f"{_short(density)} in a km² looked at"
    looked = found.looked_at_m2
    where = grouped(found.looked_at) + " px" if looked is None else area_text(looked, looked)
    covered = sum(n for slug, n in record.pixels.items() if slug != "nodata") / max(1, found.looked_at)
    joined = found.joined / max(1, found.count)
    return [
        accuracy_figure(record),
        *strangeness_figure(record),
        HeadlineFigure("Objects", meaning, grouped(found.count)),
        HeadlineFigure("Looked at", f"{percent(covered)} % of it is covered by objects", where),
        HeadlineFigure("Joined from parts", "objects of which no tile saw all", f"{percent(joined)} %"),
    ]


def _density(count: int, found: RecordedObjects) -> float:
    return 1e6 * count / found.looked_at_m2 if found.looked_at_m2 else math.nan


def _short(density: float) -> str:
    if math.isnan(density):
        return MISSING
    return grouped(density) if density >= 100 else f"{density:.3g}"


def _sizes(found: RecordedObjects) -> list[tuple[str, str]]:
    names = ("smallest", "a quarter is smaller than", "median", "a quarter is larger than", "largest")
    pixel = None if found.looked_at_m2 is None else found.looked_at_m2 / max(1, found.looked_at)
    return [
        (name, f"{grouped(n)} px" if pixel is None else f"{_square_metres(n * pixel)} ({grouped(n)} px)")
        for name, n in zip(names, found.pixels, strict=False)
    ]


def _square_metres(area: float) -> str:
    return area_text(area, area) if area >= 100 else f"{area:.3g} m²"


def _notes(found: RecordedObjects) -> list[str]:
    notes = [
        f"Tiles reported {grouped(found.detections)} detections; most objects are reported by several tiles.",
        f"{grouped(found.joined)} objects were joined from parts, because no tile saw all of them.",
        f"{grouped(found.at_edge)} objects touch nodata or the frame of the map, and may go on beyond it.",
    ]
    if found.hidden:
        notes.append(f"{grouped(found.hidden)} objects are hidden whole by others and were left out.")
    if found.full_tiles:
        notes.append(
            f"{grouped(found.full_tiles)} tiles have as many detections as the network gives, "
            "and may lack objects."
        )
    return notes
