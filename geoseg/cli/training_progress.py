"""The progress of a training for people: a bar on a terminal, elsewhere lines."""

import contextlib
import sys
from collections.abc import Callable, Iterator
from threading import Event as Flag
from threading import Thread
from time import monotonic
from typing import TYPE_CHECKING

from geoseg.cli.messages import say

if TYPE_CHECKING:
    from geoseg.training.callbacks import BatchDone, EpochDone, Event
    from geoseg.training.history import EpochRow

EVERY = 30.0
"""Seconds between two lines where there is no terminal."""


class Pace:
    """How far a training has come and how long it still takes, from its events and the clock."""

    def __init__(self, clock: Callable[[], float] = monotonic) -> None:
        self.clock, self.begun = clock, clock()
        self.batch: BatchDone | None = None
        self.epoch_s: float | None = None
        """Seconds of the last epoch that has ended."""
        self.elsewhere: EpochDone | None = None
        """Last epoch of a training on a worker."""

    def add(self, event: "Event") -> None:
        """Take in an event."""
        from geoseg.training.callbacks import BatchDone, EpochDone

        if isinstance(event, EpochDone) and event.member:
            self.elsewhere = event
        elif isinstance(event, EpochDone):
            self.begun, self.batch, self.epoch_s = self.clock(), None, event.row.seconds
        elif isinstance(event, BatchDone):
            self.batch = event

    def line(self) -> str:
        """Return batch, loss, elapsed and remaining time in words."""
        from geoseg.runs.pace import clock_time

        over, batch = self.clock() - self.begun, self.batch
        if (last := self.elsewhere) is not None:
            return f"[{clock_time(over)}] last: {last.member}, epoch {last.epoch}/{last.epochs}"
        if batch is None:
            return f"[{clock_time(over)}] waits for the first batch"
        part = "batch" if batch.loss is not None else "checks batch"
        loss = "" if batch.loss is None else f", loss {batch.loss:.3f}"
        epoch_s = self.epoch_s
        if epoch_s is None and batch.loss is not None:
            epoch_s = over / batch.batch * batch.batches
        left = ""
        if epoch_s is not None:
            rest = max(0.0, epoch_s - over)
            whole = rest + (batch.epochs - batch.epoch) * epoch_s
            left = f", {clock_time(rest)} left of the epoch, {clock_time(whole)} of all"
        where = f"epoch {batch.epoch}/{batch.epochs}, {part} {batch.batch}/{batch.batches}"
        return f"[{clock_time(over)}] {where}{loss}{left}"


def epoch_line(event: "EpochDone") -> str:
    """Return an epoch in words."""
    row, which = event.row, f"{event.member}: " if event.member else ""
    return (
        f"{which}epoch {event.epoch}/{event.epochs}: loss {row.train_loss:.3f}, "
        f"val loss {row.val_loss:.3f}, {_score(row)}, {row.seconds:.0f} s"
    )


def _score(row: "EpochRow") -> str:
    """Return the figure on val that people follow."""
    if (rmse := row.val_figures.get("rmse")) is not None:
        return f"val RMSE {rmse:.4g}"
    if (found := row.val_ap.get("mask_ap")) is not None:
        return f"val mask AP {found:.3f}"
    return f"val mIoU {row.val_miou:.3f}"


@contextlib.contextmanager
def training_progress(*, quiet: bool) -> Iterator[Callable[["Event"], None]]:
    """Yield a callback that shows a training: a line for each epoch, on a terminal also a bar."""
    if quiet:
        yield lambda _: None
        return
    with _bar() if sys.stderr.isatty() else _lines() as show:
        yield show


@contextlib.contextmanager
def _lines(every: float | None = None) -> Iterator[Callable[["Event"], None]]:
    """Yield a callback that says a line for each epoch, and one every half minute in any case."""
    from geoseg.training.callbacks import BatchDone, EpochDone

    wait = EVERY if every is None else every
    pace, told_at, ended = Pace(), monotonic(), Flag()

    def tell(text: str) -> None:
        nonlocal told_at
        told_at = monotonic()
        say(text)

    def show(event: "Event") -> None:
        pace.add(event)
        if not isinstance(event, BatchDone):
            tell(epoch_line(event) if isinstance(event, EpochDone) else event.message)

    def repeat() -> None:
        while not ended.wait(max(told_at + wait - monotonic(), 0.01)):
            if monotonic() - told_at >= wait:
                tell(pace.line())

    thread = Thread(target=repeat, daemon=True)
    thread.start()
    try:
        yield show
    finally:
        ended.set()
        thread.join()


@contextlib.contextmanager
def _bar() -> Iterator[Callable[["Event"], None]]:
    """Yield a callback that draws a bar of the batches of an epoch, and a line for each epoch."""
    from rich.console import Console
    from rich.progress import Progress as Bars

    from geoseg.training.callbacks import BatchDone, EpochDone

    with Bars(console=Console(stderr=True), transient=True) as bars:
        task = bars.add_task("train", total=None)
        reached = ""

        def show(event: "Event") -> None:
            nonlocal reached
            if isinstance(event, EpochDone):
                bars.console.print(epoch_line(event), highlight=False)
                reached = f", {_score(event.row)}"
            elif isinstance(event, BatchDone):
                what = "check on val" if event.loss is None else f"loss {event.loss:.3f}"
                text = f"epoch {event.epoch}/{event.epochs}, {what}{reached}"
                bars.update(task, completed=event.batch, total=event.batches, description=text)
            else:
                bars.console.print(event.message, highlight=False)

        yield show
