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
