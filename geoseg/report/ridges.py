"""Histograms below one another with one axis: confidence, scores, sizes or values, a row for each class."""

from collections.abc import Sequence
from dataclasses import dataclass

from geoseg.report.html import grouped, percent

WIDTH = 540.0
LABELS = 150.0
"""Room for the names of rows at the left, in drawing units."""

_RIGHT, _TOP, _AXIS = 32.0, 8.0, 46.0
_ROW = 42.0
_ALONE = 170.0
"""Height of the bars of a lone row."""
_BARS = 0.8
"""Share of a row's height that its highest bar takes."""

MOST = 30
"""Largest number of rows that are drawn."""


@dataclass(frozen=True)
class Counted:
    """What is counted in one row."""

    label: str
    color: str
    """Of its bars, `#rrggbb`; empty: that of text."""
    counts: Sequence[int]
    """Things in each bin."""
    note: str = ""
    """What stands below its name."""
    colors: Sequence[str] = ()
    """A colour for each bin instead."""


@dataclass(frozen=True)
class Bin:
    """One bar."""

    x: float
    y: float
    width: float
    height: float
    color: str
    title: str
    """What it counts, and how many."""


@dataclass(frozen=True)
class Ridge:
    """One row."""

    label: str
    note: str
    y: float
    """Where its bars stand."""
    bars: tuple[Bin, ...]


@dataclass(frozen=True)
class Ridges:
    """Histograms below one another, in drawing units; y points downwards."""

    height: float
    left: float
    """Where bars begin: a lone row needs no room for its name."""
    rows: tuple[Ridge, ...]
    ticks: tuple[tuple[float, str], ...]
    """Place and text of each tick of the axis."""
    x_label: str
    alt: str
    table: tuple[tuple[str | int | float, ...], ...]
    """The same in numbers, with a head."""
    left_out: int
    """Rows that are not drawn."""
    width: float = WIDTH


def ridges(
    rows: Sequence[Counted],
    bins: Sequence[str],
    *,
    ticks: Sequence[tuple[float, str]],
    x_label: str,
    what: str,
) -> Ridges:
    """Lay out histograms; the highest bar of each row has the same height.

    Parameters
    ----------
    rows
        From the first to the last.
    bins
        What each bin is, in words: `10 to 20 %`.
    ticks
        Place from 0 (begin of the first bin) to 1 (end of the last) and text of each tick.
    x_label
        Title of the axis, with the unit.
    what
        What is counted: `pixels`.

    Examples
    --------
    >>> drawn = ridges([Counted("Tree", "#00ff00", [1, 3])], ["low", "high"], ticks=[], x_label="", what="px")
    >>> [bar.title for bar in drawn.rows[0].bars]
    ['Tree, low: 1 px, 25.00 %', 'Tree, high: 3 px, 75.00 %']
    """
    alone = len(rows) == 1
    left, high = (32.0, _ALONE) if alone else (LABELS, _ROW)
    shown = rows[:MOST]
    wide = (WIDTH - left - _RIGHT) / max(1, len(bins))
    drawn = []
    for i, row in enumerate(shown):
        foot = _TOP + (i + 1) * high
        most, total = max([*row.counts, 1]), max(1, sum(row.counts))
        bars = tuple(
            Bin(
                round(left + j * wide + 0.5, 2),
                round(foot - _BARS * high * n / most, 2),
                round(max(0.5, wide - 1), 2),
                round(_BARS * high * n / most, 2),
                row.colors[j] if row.colors else row.color,
                f"{row.label}, {text}: {grouped(n)} {what}, {percent(n / total, 2)} %",
            )
            for j, (n, text) in enumerate(zip(row.counts, bins, strict=True))
            if n
        )
        drawn.append(Ridge("" if alone else row.label, "" if alone else row.note, foot, bars))
    span = WIDTH - left - _RIGHT
    return Ridges(
        height=_TOP + high * len(shown) + _AXIS,
        left=left,
        rows=tuple(drawn),
        ticks=tuple((round(left + at * span, 2), text) for at, text in ticks),
        x_label=x_label,
        alt=f"Histogram of {what} over {x_label}: " + "; ".join(_told(r, bins) for r in shown),
        table=(("", *(r.label for r in rows)), *_table(rows, bins)),
        left_out=len(rows) - len(shown),
    )


def _told(row: Counted, bins: Sequence[str]) -> str:
    """Return where most of a row is, for those who do not see it."""
    total = sum(row.counts)
    if not total:
        return f"{row.label} none"
    most = max(range(len(bins)), key=lambda i: row.counts[i])
    return f"{row.label} most at {bins[most]}, {percent(row.counts[most] / total, 0)} %"


def _table(rows: Sequence[Counted], bins: Sequence[str]) -> list[tuple[str | int, ...]]:
    return [(text, *(int(r.counts[i]) for r in rows)) for i, text in enumerate(bins)]
