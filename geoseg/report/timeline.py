"""The timeline of a run, from its events: which worker did what when, and how busy the device was.

Times are whole microseconds since the run began: the resolution of the events, without rounding errors. They
come from each worker's clock; clocks that differ between machines show as a shift of whole workers.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import groupby
from typing import Any

STAGES = ("read", "wait", "forward", "sum", "settle", "write")
"""Stages of a block in their order; `wait`: a batch waits for the device."""

SECOND = 1_000_000
"""Microseconds in a second."""


@dataclass(frozen=True)
class WorkSpan:
    """An interval in which a worker, or the run's own process, did one thing."""

    worker: str
    """Address of the worker; empty for the run's own process."""
    stage: str
    """One of `STAGES`, or the name of an output."""
    block: str
    start: int
    stop: int
    lane: int = 0
    """Spans of a worker and stage that overlap have different lanes, counted from 0."""

    @property
    def length(self) -> int:
        """Return the duration."""
        return self.stop - self.start


@dataclass(frozen=True)
class Timeline:
    """The spans of a run, and how busy the device was."""

    began: float
    """Start of the run in seconds since 1970."""
    blocks: tuple[WorkSpan, ...]
    """Work on blocks, sorted by worker, stage and start."""
    outputs: tuple[WorkSpan, ...]
    """Files made from the blocks, sorted by start."""
    device: str
    wall: int
    """Duration of the work on blocks; for a resumed run the sum over its starts."""
    capacity: int
    """Time for forward passes within `wall`: workers x passes at a time that the run planned x duration."""
    cut: int = 0
    """Time between an interruption and the next start, which the timeline leaves out."""

    @property
    def stop(self) -> int:
        """Return the end of the last span."""
        return max((s.stop for s in (*self.blocks, *self.outputs)), default=0)

    @property
    def workers(self) -> tuple[str, ...]:
        """Return the addresses of the workers that worked on blocks."""
        return tuple(dict.fromkeys(s.worker for s in self.blocks))

    @property
    def busy(self) -> float:
        """Return the share of the capacity that forward passes filled, 0 to 1."""
        return self.total("forward") / self.capacity if self.capacity else 0.0

    def by_worker(self) -> Iterator[tuple[str, list[WorkSpan]]]:
        """Yield the address of each worker and its spans."""
        for worker, spans in groupby(self.blocks, lambda s: s.worker):
            yield worker, list(spans)

    def total(self, stage: str) -> int:
        """Return the time spent on a stage, summed over all threads."""
        return sum(s.length for s in self.blocks if s.stage == stage)

    def under_way(self, stage: str) -> int:
        """Return the time in which at least one worker was at a stage."""
        return covered(s for s in self.blocks if s.stage == stage)


@dataclass
class _Start:
    """The spans of one start of the run, in microseconds since 1970."""

    passes: int
    device: str
    first: int
    last: int
    blocks: list[WorkSpan] = field(default_factory=list)
    outputs: list[WorkSpan] = field(default_factory=list)

    def note(self, at: int) -> None:
        self.first, self.last = min(self.first, at), max(self.last, at)

    def add(self, kept: list[WorkSpan], span: WorkSpan) -> None:
        self.note(span.start)
        self.note(span.stop)
        kept.append(span)


def timeline_of(events: Iterable[Mapping[str, Any]]) -> Timeline:
    """Return the timeline of the events of a run.

    Parameters
    ----------
    events
        As in `events.jsonl`, in its order; unknown events are skipped.

    Raises
    ------
    LookupError, TypeError, ValueError
        When the events are not as a run writes them.
    """
    starts = _starts(events)
    blocks: list[WorkSpan] = []
    outputs: list[WorkSpan] = []
    end = wall = capacity = 0
    for start in starts:
        # Each start begins where the one before ended: the time in between is left out.
        by = start.first - end
        blocks += [replace(s, start=s.start - by, stop=s.stop - by) for s in start.blocks]
        outputs += [replace(s, start=s.start - by, stop=s.stop - by) for s in start.outputs]
        end += start.last - start.first
        if start.blocks:
            lasted = max(s.stop for s in start.blocks) - min(s.start for s in start.blocks)
            wall += lasted
            capacity += lasted * start.passes * len({s.worker for s in start.blocks})
    return Timeline(
        began=starts[0].first / SECOND,
        blocks=in_lanes(blocks),
        outputs=in_lanes(outputs, apart=False),
        device=starts[-1].device,
        wall=wall,
        capacity=capacity,
        cut=max(0, starts[-1].last - starts[0].first - end),
    )


def in_lanes(spans: Iterable[WorkSpan], *, apart: bool = True) -> tuple[WorkSpan, ...]:
    """Assign overlapping spans of a worker and stage to different lanes, as few as possible.

    Each span takes the lowest lane that is free when it begins: greedy colouring, optimal for intervals.

    Parameters
    ----------
    spans
        The spans, in any order.
    apart
        Whether each stage has its own lanes.
    """
    laid: list[WorkSpan] = []

    def row(span: WorkSpan) -> tuple[str, int]:
        return span.worker, STAGES.index(span.stage) if apart else 0

    for _, together in groupby(sorted(spans, key=lambda s: (*row(s), s.start, s.stop)), row):
        ends: list[int] = []
        for span in together:
            lane = next((i for i, end in enumerate(ends) if end <= span.start), len(ends))
            ends[lane : lane + 1] = [span.stop]
            laid.append(replace(span, lane=lane))
    return tuple(laid)


def covered(spans: Iterable[WorkSpan]) -> int:
    """Return the total time that spans cover, overlaps counted once."""
    length = end = 0
    for span in sorted(spans, key=lambda s: s.start):
        length += max(0, span.stop - max(span.start, end))
        end = max(end, span.stop)
    return length


def _starts(events: Iterable[Mapping[str, Any]]) -> Sequence[_Start]:
    starts: list[_Start] = []
    for fact in events:
        kind, at = fact["event"], _units(fact["time"])
        if kind == "run":
            starts.append(_Start(int(fact["passes"]), fact["device"], at, at))
        start = starts[-1]
        start.note(at)
        if kind in {"predicted", "settled"}:
            for what, began, seconds in fact["spans"]:
                if what in STAGES:
                    begin = _units(began)
                    stop = begin + _units(seconds)
                    start.add(start.blocks, WorkSpan(fact["worker"], what, fact["block"], begin, stop))
        elif kind == "output":
            begin = _units(fact["began"])
            start.add(start.outputs, WorkSpan("", fact["file"], "", begin, begin + _units(fact["seconds"])))
    return starts


def _units(seconds: float) -> int:
    return round(seconds * SECOND)
