"""The progress bar of a run, in a notebook or on a terminal."""

import contextlib
import html
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import Any

from geoseg.runs.progress import Progress, Throughput, terminal_bar


def progress_bar() -> AbstractContextManager[Callable[[Progress], None]]:
    """Return a context whose callback shows events: a bar, or nothing outside notebook and terminal."""
    if _in_notebook():
        return _notebook_bar()
    return terminal_bar() if sys.stderr.isatty() else contextlib.nullcontext(lambda _: None)


def _in_notebook() -> bool:
    ipython = sys.modules.get("IPython")
    shell: Any = ipython and ipython.get_ipython()
    return shell is not None and hasattr(shell, "kernel")


@contextlib.contextmanager
def _notebook_bar() -> Iterator[Callable[[Progress], None]]:
    """Yield a callback that draws a bar into the output of the cell; the bar is removed at the end."""
    # Not a dependency of geoseg; a notebook has it.
    from IPython.display import HTML, display  # noqa: PLC0415

    throughput = Throughput()
    shown = display(HTML(""), display_id=True)

    def on_progress(event: Progress) -> None:
        throughput.add(event.fact or {})
        shown.update(HTML(bar_html(event, throughput.text())))

    yield on_progress
    shown.update(HTML(""))


def bar_html(event: Progress, speed: str) -> str:
    """Return an event as HTML: a bar with blocks and throughput, or the file that is being made."""
    if not event.total:
        return f"<div>{html.escape(event.stage)} ...</div>"
    blocks = (
        f'<progress value="{event.done}" max="{event.total}"></progress> {event.done}/{event.total} blocks'
    )
    told = "waiting: no worker is there" if event.waiting else speed
    return f"<div>{html.escape(event.name)} {blocks} {html.escape(told)}</div>"
