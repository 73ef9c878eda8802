"""Locks between processes: on a folder that a single one writes, and on a file that they share."""

import contextlib
import fcntl
import os
from collections.abc import Callable, Iterator
from pathlib import Path

from geoseg.core.errors import ELSEWHERE, OutputError
from geoseg.core.files import as_output_error

_LOCK = ".geoseg.lock"


@contextlib.contextmanager
def wait_for_lock(path: Path) -> Iterator[None]:
    """Wait for the lock of a file, which is made if need be, and hold it until the block ends."""
    with as_output_error(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        handle = os.open(path, os.O_CREAT | os.O_RDWR, 0o666)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


@contextlib.contextmanager
def lock_folder(folder: Path) -> Iterator[Callable[[], None]]:
    """Keep other runs out of a folder; the lock ends with the process, however it ends.

    Yields
    ------
    check
        Raises OutputError once the lock is lost. This lock cannot be lost; that of an object store can.

    Raises
    ------
    OutputError
        When another process holds the lock, or the folder cannot be written.
    """
    path = folder / _LOCK
    handle = _acquire(path)
    while not _is_at(handle, path):
        # Another run removed the lock file between its opening and its locking here: lock the new file.
        os.close(handle)
        handle = _acquire(path)
    try:
        yield lambda: None
    finally:
        path.unlink(missing_ok=True)
        os.close(handle)


def _acquire(path: Path) -> int:
    with as_output_error(path):
        handle = os.open(path, os.O_CREAT | os.O_RDWR, 0o666)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(handle)
            raise OutputError(
                f"{path.parent}: another geoseg run is writing here; wait for it, or {ELSEWHERE}"
            ) from None
    return handle


def _is_at(handle: int, path: Path) -> bool:
    try:
        return os.fstat(handle).st_ino == path.stat().st_ino
    except FileNotFoundError:
        return False
