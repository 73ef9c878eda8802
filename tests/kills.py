"""Kills at a given moment, without a process: as after kill -9, nothing more reaches the disk."""

import contextlib
import os
import sys
import threading
from pathlib import Path

_CHANGES = {"os.mkdir", "os.remove", "os.rename", "os.rmdir"}
_LOCK = ".geoseg.lock"  # the operating system unlocks what a killed process held


class Killed(BaseException):
    """Stands for the end of the process."""


class _Watch:
    def __init__(self):
        self.thread, self.left, self.seen = 0, None, 0

    def __call__(self, event, arguments):
        if self.left is None or threading.get_ident() != self.thread:
            return
        writes = (
            event == "open" and isinstance(arguments[2], int) and arguments[2] & (os.O_WRONLY | os.O_RDWR)
        )
        if (event in _CHANGES or writes) and Path(os.fsdecode(arguments[0])).name != _LOCK:
            self.seen += 1
            if self.seen > self.left:
                raise Killed


_watch = _Watch()
_added: list[bool] = []


@contextlib.contextmanager
def killed_after(changes):
    """Let the block make this many changes to files and folders; every later one, also in `finally`, raises.

    Yields a list, which holds True once the block was ended.
    """
    if not _added:
        sys.addaudithook(_watch)  # cannot be removed again
        _added.append(True)
    _watch.thread, _watch.left, _watch.seen = threading.get_ident(), changes, 0
    ended: list[bool] = []
    try:
        yield ended
    except Killed:
        ended.append(True)
    finally:
        _watch.left = None


def every_moment(limit=300):
    """Yield 0, 1, 2, ... until the caller stops; a task that never ends is an error."""
    yield from range(limit)
    raise AssertionError(f"the task made more than {limit} changes")
