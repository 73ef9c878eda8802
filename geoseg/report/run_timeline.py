"""Layout of the timeline of a run as a drawing and a table, which the template turns into SVG and HTML."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby

import numpy as np
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from geoseg.report.charts import Tick
from geoseg.report.timeline import SECOND, STAGES, Timeline, WorkSpan

LEFT, WIDTH = 150.0, 1100.0
"""Left end of the time axis and width of the drawing, in drawing units."""

ROW, HEADING, AXIS = 20.0, 26.0, 40.0
"""Heights of a row, of the heading above a group of rows, and of the axis below."""

SINGLE = 1000
"""Up to so many spans are drawn one by one; more are drawn as the occupancy of `BINS` intervals."""

BINS = 160
LEVELS = 5
"""Number of shades for the occupancy of an interval."""

WORKERS = 8
"""Up to so many workers have their own rows; more are drawn together."""


@dataclass(frozen=True)
class TimelineShape:
    """An area with one fill."""

    path: str
    """The `d` attribute of an SVG path."""
    opacity: float
    title: str
    """Tooltip; empty where the shape stands for many spans."""


@dataclass(frozen=True)
class TimelineRow:
    """A row of the drawing: a stage of a worker, or an output."""

    label: str
    style: str
    """CSS class: the stage, or `output`."""
    y: float
    """Centre of the row."""
    shapes: tuple[TimelineShape, ...]


@dataclass(frozen=True)
class TimelineGroup:
    """The rows of a worker, or the outputs."""

    title: str
    y: float
    rows: tuple[TimelineRow, ...]


@dataclass(frozen=True)
class StageTime:
    """A row of the table: the time of one stage."""

    name: str
    seconds: float
    """Sum over all threads."""
    share: float | None
    """Share of all work on blocks, 0 to 1; None for waiting, which is no work."""
    under_way: float
    """Share of the time in which at least one worker was at it, 0 to 1."""


@dataclass(frozen=True)
class TimelineDrawing:
    """Drawing and table of a timeline."""

    height: float
    groups: tuple[TimelineGroup, ...]
    ticks: tuple[Tick, ...]
    stages: tuple[StageTime, ...]
    timeline: Timeline
    binned: bool
    width: float = WIDTH
    left: float = LEFT
    axis: float = AXIS

    @property
    def seconds(self) -> dict[str, float]:
        """Return the seconds of blocks, outputs and the whole run, and those that were left out."""
        t = self.timeline
        outputs = sum(s.length for s in t.outputs)
        times = {"blocks": t.wall, "outputs": outputs, "all": t.stop, "cut": t.cut}
        return {name: time / SECOND for name, time in times.items()}


def draw_timeline(timeline: Timeline) -> TimelineDrawing:
    """Return the layout of a timeline; the number of shapes does not grow with the number of blocks."""
    binned = len(timeline.workers) > WORKERS or len(timeline.blocks) > SINGLE
    groups, y = [], 0.0
    for title, rows in _rows(timeline):
        y += HEADING
        drawn = []
        for label, spans in rows.items():
            output = label not in STAGES
            draw = _bins if binned and not output else _boxes
            shapes = tuple(draw(spans, y, timeline.stop))
            drawn.append(TimelineRow(label, "output" if output else label, y + ROW / 2, shapes))
            y += ROW
        groups.append(TimelineGroup(title, drawn[0].y - ROW / 2 - 6, tuple(drawn)))
    return TimelineDrawing(
        y + AXIS, tuple(groups), _ticks(timeline.stop), stages_of(timeline), timeline, binned
    )


def stages_of(timeline: Timeline) -> tuple[StageTime, ...]:
    """Return time and share of each stage."""
    totals = {s: timeline.total(s) for s in STAGES}
    work = sum(n for s, n in totals.items() if s != "wait") or 1
    wall = timeline.wall or 1
    return tuple(
        StageTime(s, n / SECOND, None if s == "wait" else n / work, timeline.under_way(s) / wall)
        for s, n in totals.items()
    )


def _rows(timeline: Timeline) -> list[tuple[str, dict[str, list[WorkSpan]]]]:
    """Return the title of each group of rows with the spans of each row by label."""
    if len(timeline.workers) > WORKERS:
        found = [(f"all {len(timeline.workers)} workers", _by_stage(timeline.blocks))]
    else:
        each = enumerate(timeline.by_worker(), 1)
        found = [(f"worker {number}", _by_stage(spans)) for number, (_, spans) in each]
    # A file that was made again after an interruption keeps its row.
    return [*found, ("outputs", _by_stage(timeline.outputs))] if timeline.outputs else found


def _by_stage(spans: Sequence[WorkSpan]) -> dict[str, list[WorkSpan]]:
    rows: dict[str, list[WorkSpan]] = {}
    for span in sorted(spans, key=lambda s: STAGES.index(s.stage) if s.block else 0):
        rows.setdefault(span.stage, []).append(span)
    return rows


def _boxes(spans: Sequence[WorkSpan], top: float, stop: int) -> list[TimelineShape]:
    """Return a shape for each span; spans of different lanes lie below one another."""
    lanes = 1 + max(s.lane for s in spans)
    high = (ROW - 4) / lanes
    return [
        TimelineShape(
            _box(_x(s.start, stop), _x(s.stop, stop), top + 2 + s.lane * high, high),
            1.0,
            f"{s.block or s.stage}: {s.length / SECOND:.3g} s from {s.start / SECOND:.2f} s",
        )
        for s in spans
    ]


def _bins(spans: Sequence[WorkSpan], top: float, stop: int) -> list[TimelineShape]:
    """Return shapes whose shade is the occupancy: spans at a time as a share of the most that can be."""
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
    return [TimelineShape(path, level / LEVELS, "") for level, path in sorted(paths.items())]


def _passed(times: list[int], edges: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return for each edge the sum of its distances to all earlier times."""
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
    # Spans too short to be seen are drawn with a least width.
    wide = max(right - left, 0.4)
    return f"M{left:.1f} {top:.1f}h{wide:.1f}v{high:.1f}h-{wide:.1f}z"
