"""Progress and signals while a command runs: lines, bars, Ctrl-C."""

import contextlib
import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING

from geoseg.cli.messages import say
from geoseg.core.extras import require

if TYPE_CHECKING:
    from geoseg.inference.interruption import Interruption
    from geoseg.runs.progress import Progress
    from geoseg.training.callbacks import Event
    from geoseg.training.history import EpochRow


@contextlib.contextmanager
def run_progress(*, quiet: bool, dashboard: bool, scenes: int) -> Iterator[Callable[["Progress"], None]]:
    """Yield a callback that shows the events of a run: a bar on a terminal, else lines."""
    from geoseg.runs.bars import lines, terminal_bar

    if dashboard:
        require("bokeh", "dashboard", "--dashboard")
    shown: AbstractContextManager[Callable[[Progress], None]] = contextlib.nullcontext(lambda _: None)
    if not quiet:
        shown = terminal_bar(scenes) if sys.stderr.isatty() else lines(say, scenes)
    with shown as show:

        def on_progress(event: "Progress") -> None:
            if dashboard and event.fact is not None and event.fact["event"] == "dashboard":
                say(f"dashboard: {event.fact['address']}")
            show(event)

        yield on_progress


def silent(_: str) -> None:
    """Ignore a message."""


@contextlib.contextmanager
def graceful_shutdown() -> Iterator["Interruption"]:
    """Let the first SIGINT or SIGTERM finish the blocks under way; the second ends at once."""
    from geoseg.inference.interruption import Interruption

    interruption = Interruption()

    def on_signal(*_: object) -> None:
        if interruption.request():
            say("finishing the blocks in hand; a second signal stops at once")
        elif interruption.accepted:
            say("interrupted; the same command goes on where it stopped")
            # Python would wait for the threads that compute. The run resumes from here as after a kill.
            os._exit(130)
        else:
            raise KeyboardInterrupt

    before = {s: signal.signal(s, on_signal) for s in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield interruption
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


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
    from geoseg.training.callbacks import BatchDone, EpochDone

    def line(event: EpochDone) -> str:
        row = event.row
        return (
            f"epoch {event.epoch}/{event.epochs}: loss {row.train_loss:.3f}, "
            f"val loss {row.val_loss:.3f}, {_score(row)}, {row.seconds:.0f} s"
        )

    def tell(event: "Event") -> None:
        if not isinstance(event, BatchDone) and not quiet:
            say(line(event) if isinstance(event, EpochDone) else event.message)

    if quiet or not sys.stderr.isatty():
        yield tell
        return
    from rich.console import Console
    from rich.progress import Progress as Bars

    with Bars(console=Console(stderr=True), transient=True) as bars:
        task = bars.add_task("train", total=None)
        reached = ""

        def bar(event: "Event") -> None:
            nonlocal reached
            if isinstance(event, EpochDone):
                bars.console.print(line(event), highlight=False)
                reached = f", {_score(event.row)}"
            elif isinstance(event, BatchDone):
                text = f"loss {event.loss:.3f}{reached}"
                bars.update(task, completed=event.batch, total=event.batches, description=text)
            else:
                bars.console.print(event.message, highlight=False)

        yield bar
