"""The progress bar of a run, in a notebook or on a terminal."""

import contextlib
import html
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import Any

from geoseg.runs.bars import terminal_bar
from geoseg.runs.pace import Pace, View
from geoseg.runs.progress import Progress


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

    pace, shown = Pace(), display(HTML(""), display_id=True)

    def on_progress(event: Progress) -> None:
        pace.add(event)
        shown.update(HTML(bar_html(pace.view())))

    yield on_progress
    shown.update(HTML(""))


def bar_html(view: View) -> str:
    """Return the progress as HTML: a bar, what is being done, elapsed and remaining time, throughput."""
    told = html.escape(", ".join(filter(None, [view.what, view.times, view.rate])))
    return f'<div><progress value="{view.share:.3f}" max="1"></progress> {told}</div>'
