"""Collect the warnings of geoseg, in several threads at the same time."""

import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from geoseg.core.errors import GeosegWarning
from geoseg.core.secrets import redact

SLOW = 10.0
"""Seconds of silence after which a wait is said."""

_lock = threading.Lock()
_here = threading.local()
_state: dict[str, Any] = {"users": 0, "tell": lambda _: None}


def say_waits_by(tell: Callable[[str], None]) -> None:
    """Set what tells the user of a wait; without it nothing does."""
    _state["tell"] = tell


@contextmanager
def waiting_for(what: str) -> Iterator[None]:
    """Tell the user when the block takes longer than `SLOW`."""
    timer = threading.Timer(SLOW, lambda: _state["tell"](f"no answer yet from {redact(what)}; still waiting"))
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


@contextmanager
def collect_warnings() -> Iterator[list[str]]:
    """Collect the GeosegWarnings of this thread until the block ends; other warnings are dropped.

    `warnings.catch_warnings` changes the whole process: two threads that overlap would restore each other's
    filters. Here the first thread to enter sets the filters, and the last to leave restores them.
    """
    _enter()
    outer: list[str] | None = getattr(_here, "notices", None)
    mine: list[str] = []
    _here.notices = mine
    try:
        yield mine
    finally:
        _here.notices = outer
        _leave()


@contextmanager
def ignore_warnings() -> Iterator[None]:
    """Drop the warnings of other libraries until the block ends, also while other threads collect theirs."""
    _enter()
    try:
        yield
    finally:
        _leave()


def _enter() -> None:
    with _lock:
        if not _state["users"]:
            _state["catcher"] = catcher = warnings.catch_warnings()
            catcher.__enter__()
            warnings.simplefilter("ignore")
            warnings.simplefilter("always", GeosegWarning)
            warnings.showwarning = _note
        _state["users"] += 1


def _leave() -> None:
    with _lock:
        _state["users"] -= 1
        if not _state["users"]:
            _state.pop("catcher").__exit__(None, None, None)


def _note(message: Warning | str, category: type[Warning], *_: Any, **__: Any) -> None:
    notices: list[str] | None = getattr(_here, "notices", None)
    if notices is not None and issubclass(category, GeosegWarning):
        notices.append(str(message))
