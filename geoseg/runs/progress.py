"""Progress of a run: its event, the throughput, and a bar or lines that show them."""

import contextlib
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from time import monotonic

from geoseg.inference.events import Fact

_LINES = 30.0
"""Seconds between two lines of progress where there is no terminal."""


@dataclass(frozen=True)
class Progress:
    """Event: the current stage of a run and its progress."""

    stage: str
    """`predict`, `mask` while another network masks the scene, or the name of the file that is written."""
    done: int = 0
    """Finished blocks."""
    total: int = 0
    """All blocks of the scene; 0 when the stage has none."""
    pixels: int = 0
    """Pixels of the scene in the block just finished."""
    name: str = ""
    """The scene."""
    fact: Fact | None = None
    """The event of a block or a worker, see `geoseg.inference.events`."""

    @property
    def waiting(self) -> bool:
        """Whether the run waits for workers."""
        return self.fact is not None and self.fact["event"] == "waiting"


@dataclass
class _Worker:
    since: float
    """Time of its first event, in seconds since 1970."""
    pixels: int = 0
    busy: float = 0.0
    """Seconds in which at least one forward pass ran."""
    until: float = 0.0
    """End of the last forward pass, in seconds since 1970."""


@dataclass
class Throughput:
    """Speed of a run, worker by worker, from the events of tasks."""

    workers: dict[str, _Worker] = field(default_factory=dict)
    """By address."""
    now: float = 0.0
    """Time of the latest event, in seconds since 1970."""

    def add(self, fact: Fact) -> None:
        """Add an event."""
        address = fact.get("worker")
        if address is None:
            return
        if fact.get("state") == "left":
            self.workers.pop(address, None)
            return
        self.now = max(self.now, fact["time"])
        worker = self.workers.setdefault(address, _Worker(fact["time"]))
        worker.pixels += fact.get("pixels", 0)
        forward = sorted((start, took) for what, start, took in fact.get("spans", ()) if what == "forward")
        for start, took in forward:
            worker.busy += max(0.0, start + took - max(start, worker.until))
            worker.until = max(worker.until, start + took)

    def text(self) -> str:
        """Return a line: pixels per second in all and by worker, and how busy the devices are."""
        lives = {a: self.now - w.since for a, w in self.workers.items() if self.now > w.since}
        rates = [self.workers[a].pixels / s / 1e6 for a, s in lives.items()]
        if not any(rates):
            return ""
        busy = sum(min(1.0, self.workers[a].busy / s) for a, s in lives.items()) / len(lives)
        each = f" ({len(rates)} workers: {min(rates):.2f} to {max(rates):.2f})" if len(rates) > 1 else ""
        return f"{sum(rates):.2f} Mpx/s{each}, device {busy:.0%} busy"


@contextlib.contextmanager
def lines(say: Callable[[str], None]) -> Iterator[Callable[[Progress], None]]:
    """Yield a callback that says a line for each stage, and every half minute the progress in it."""
    throughput, stage, told = Throughput(), "", 0.0

    def on_progress(event: Progress) -> None:
        nonlocal stage, told
        throughput.add(event.fact or {})
        if event.waiting:
            say("waiting: no worker is there")
        if event.stage != stage or (event.total and monotonic() - told > _LINES):
            rate = f", {throughput.text()}" if event.stage == stage and throughput.text() else ""
            say(f"{event.stage}: {event.done} of {event.total} blocks{rate}" if event.total else event.stage)
            told = monotonic()
        stage = event.stage

    yield on_progress


@contextlib.contextmanager
def terminal_bar() -> Iterator[Callable[[Progress], None]]:
    """Yield a callback that draws a bar on the terminal of stderr."""
    # Slow to import, and needed only on a terminal.
    from rich.console import Console  # noqa: PLC0415
    from rich.progress import BarColumn, TextColumn, TimeRemainingColumn  # noqa: PLC0415
    from rich.progress import Progress as Bars  # noqa: PLC0415

    columns = (
        TextColumn("{task.description:>16}"),
        BarColumn(),
        TextColumn("{task.completed:.0f}/{task.total:.0f} blocks  {task.fields[speed]}"),
        TimeRemainingColumn(),
    )
    throughput = Throughput()
    # Its own descriptor: the bar is shown even while stderr is redirected to catch messages of GDAL.
    with (
        os.fdopen(os.dup(2), "w") as terminal,
        Bars(*columns, console=Console(file=terminal), transient=True) as bars,
    ):
        task = bars.add_task("predict", total=1, speed="")

        def on_progress(event: Progress) -> None:
            throughput.add(event.fact or {})
            if not event.total:
                bars.update(task, description=event.stage)
                return
            speed = "waiting: no worker is there" if event.waiting else throughput.text()
            bars.update(task, description=event.stage, completed=event.done, total=event.total, speed=speed)

        yield on_progress
