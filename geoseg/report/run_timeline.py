"""The timeline of a run as a drawing and a table: rows, shapes, shares. The template turns them into SVG."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby

import numpy as np
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from geoseg.report.charts import Tick
from geoseg.report.timeline import SECOND, STAGES, Span, Timeline

LEFT, WIDTH = 150.0, 1100.0
"""Where the time begins, and the width of the drawing, in drawing units."""

ROW, HEADING, AXIS = 20.0, 26.0, 40.0
"""Heights of a row, of the heading above a group of rows, and of the axis below."""

SINGLE = 1000
"""Up to so many spans are drawn one by one; of more, how full each of `BINS` pieces of time is."""

BINS = 160
LEVELS = 5
"""Shades that tell how full a piece of time is."""

WORKERS = 8
"""Up to so many workers have rows of their own; more are drawn together."""


@dataclass(frozen=True)
class Shape:
    """What is filled alike."""

    path: str
    """The `d` of an SVG path."""
    opacity: float
    title: str
    """What it says when pointed at; nothing where it stands for many spans."""


@dataclass(frozen=True)
class Row:
    """A stage of a worker, or an output."""

    label: str
    style: str
    """CSS class: the stage, or `output`."""
    y: float
    """Of its middle."""
    shapes: tuple[Shape, ...]


@dataclass(frozen=True)
class Group:
    """The rows of a worker, or the outputs."""

    title: str
    y: float
    rows: tuple[Row, ...]


@dataclass(frozen=True)
class Stage:
    """A line of the table."""

    name: str
    seconds: float
    """All threads together."""
    share: float | None
    """Of all work on blocks, 0 to 1; None for waiting, which is no work."""
    under_way: float
    """Share of the time in which at least one worker was at it, 0 to 1."""


@dataclass(frozen=True)
class Picture:
    """All that the page shows of a timeline."""

    height: float
    groups: tuple[Group, ...]
    ticks: tuple[Tick, ...]
    stages: tuple[Stage, ...]
    timeline: Timeline
    binned: bool
    width: float = WIDTH
    left: float = LEFT
    axis: float = AXIS

    @property
    def seconds(self) -> dict[str, float]:
        """Return how long blocks, outputs and all of it took, and what was cut out."""
        t = self.timeline
        outputs = sum(s.length for s in t.outputs)
        times = {"blocks": t.wall, "outputs": outputs, "all": t.stop, "cut": t.cut}
        return {name: time / SECOND for name, time in times.items()}


def picture_of(timeline: Timeline) -> Picture:
    """Lay out a timeline; the number of shapes is bounded whatever the number of blocks."""
    binned = len(timeline.workers) > WORKERS or len(timeline.blocks) > SINGLE
    groups, y = [], 0.0
    for title, rows in _rows(timeline):
        y += HEADING
        drawn = []
        for label, spans in rows.items():
            output = label not in STAGES
            draw = _bins if binned and not output else _boxes
            shapes = tuple(draw(spans, y, timeline.stop))
            drawn.append(Row(label, "output" if output else label, y + ROW / 2, shapes))
            y += ROW
        groups.append(Group(title, drawn[0].y - ROW / 2 - 6, tuple(drawn)))
    return Picture(y + AXIS, tuple(groups), _ticks(timeline.stop), stages_of(timeline), timeline, binned)


def stages_of(timeline: Timeline) -> tuple[Stage, ...]:
    """Return time and share of each stage."""
    totals = {s: timeline.total(s) for s in STAGES}
    work = sum(n for s, n in totals.items() if s != "wait") or 1
    wall = timeline.wall or 1
    return tuple(
        Stage(s, n / SECOND, None if s == "wait" else n / work, timeline.under_way(s) / wall)
        for s, n in totals.items()
    )


def _rows(timeline: Timeline) -> list[tuple[str, dict[str, list[Span]]]]:
    """Return the spans of each row by its label, and of each group of rows by its title."""
    if len(timeline.workers) > WORKERS:
        found = [(f"all {len(timeline.workers)} workers", _by_stage(timeline.blocks))]
    else:
        each = enumerate(timeline.by_worker(), 1)
        found = [(f"worker {number}", _by_stage(spans)) for number, (_, spans) in each]
    # A file that was made again after an interruption keeps its row.
    return [*found, ("outputs", _by_stage(timeline.outputs))] if timeline.outputs else found


def _by_stage(spans: Sequence[Span]) -> dict[str, list[Span]]:
    rows: dict[str, list[Span]] = {}
    for span in sorted(spans, key=lambda s: STAGES.index(s.stage) if s.block else 0):
        rows.setdefault(span.stage, []).append(span)
    return rows


def _boxes(spans: Sequence[Span], top: float, stop: int) -> list[Shape]:
    """Draw each span, those of different lanes below one another."""
    lanes = 1 + max(s.lane for s in spans)
    high = (ROW - 4) / lanes
    return [
        Shape(
            _box(_x(s.start, stop), _x(s.stop, stop), top + 2 + s.lane * high, high),
            1.0,
            f"{s.block or s.stage}: {s.length / SECOND:.3g} s from {s.start / SECOND:.2f} s",
        )
        for s in spans
    ]


def _bins(spans: Sequence[Span], top: float, stop: int) -> list[Shape]:
    """Draw how many spans are under way at once, as shades of the most that ever are."""
    edges = np.linspace(0, stop, BINS + 1)
    full = np.diff(_passed([s.start for s in spans], edges) - _passed([s.stop for s in spans], edges))
    # Lanes of several workers are counted for each of them.
    most = len({(s.worker, s.lane) for s in spans}) * (edges[1] or 1)
    levels = np.ceil(np.clip(full / most, 0, 1) * LEVELS - 1e-9).astype(int)
    paths: dict[int, str] = {}
    for level, run in groupby(range(BINS), lambda i: int(levels[i])):
        if level:
            bins = list(run)
            box = _box(_x(edges[bins[0]], stop), _x(edges[bins[-1] + 1], stop), top + 2, ROW - 4)
            paths[level] = paths.get(level, "") + box
    return [Shape(path, level / LEVELS, "") for level, path in sorted(paths.items())]


def _passed(times: list[int], edges: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return, for each edge, the sum of how long ago each earlier time was."""
    ordered = np.sort(np.asarray(times, dtype=np.float64))
    before = np.searchsorted(ordered, edges)
    sums = np.concatenate([np.zeros(1), np.cumsum(ordered)])
    return np.asarray(before * edges - sums[before])


def _ticks(stop: int) -> tuple[Tick, ...]:
    values = MaxNLocator(10, steps=[1, 2, 5, 10]).tick_values(0.0, stop / SECOND)
    return tuple(Tick(_x(v * SECOND, stop), f"{v:g}") for v in values if 0 <= v * SECOND <= stop)


def _x(at: float, stop: int) -> float:
    return LEFT + at / (stop or 1) * (WIDTH - 14 - LEFT)


def _box(left: float, right: float, top: float, high: float) -> str:
    # What is too short to be seen is drawn as a hair.
    wide = max(right - left, 0.4)
    return f"M{left:.1f} {top:.1f}h{wide:.1f}v{high:.1f}h-{wide:.1f}z"
