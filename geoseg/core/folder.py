"""Folders that one process writes at a time, and what was begun in them."""

import contextlib
import fcntl
import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from geoseg.core.errors import OutputError
from geoseg.core.files import as_output_error

_LOCK = ".geoseg.lock"


def difference(old: Any, new: Any, path: str = "") -> str:
    """Name the first value in which two plans differ."""
    if isinstance(old, dict) and isinstance(new, dict):
        for key in old.keys() | new.keys():
            if old.get(key) != new.get(key):
                return difference(old.get(key), new.get(key), f"{path}.{key}" if path else key)
    short = [str(v) if len(str(v)) <= 60 else f"{str(v)[:57]}..." for v in (old, new)]
    return f"its {path or 'plan'} is {short[0]}, now {short[1]}"


def read_json(path: Path) -> dict[str, Any] | None:
    """Return the object in a JSON file, None when there is none or it is damaged."""
    try:
        content = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return None
    return content if isinstance(content, dict) else None


@contextlib.contextmanager
def lock(folder: Path) -> Iterator[Callable[[], None]]:
    """Keep other runs out of the folder; the lock ends with the process, however it ends.

    It yields what checks that the lock is held, as other locks may be lost; this one cannot.
    """
    path = folder / _LOCK
    handle = _acquire(path)
    while not _is_at(handle, path):
        # The run that held it removed the file while this one waited at its door: lock the new file.
        os.close(handle)
        handle = _acquire(path)
    try:
        yield lambda: None
    finally:
        path.unlink(missing_ok=True)
        os.close(handle)


def _acquire(path: Path) -> int:
    with as_output_error(path):
        handle = os.open(path, os.O_CREAT | os.O_RDWR, 0o644)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(handle)
            raise OutputError(
                f"{path.parent}: another geoseg run is writing here; wait for it, or choose another folder "
                "with --output"
            ) from None
    return handle


def _is_at(handle: int, path: Path) -> bool:
    try:
        return os.fstat(handle).st_ino == path.stat().st_ino
    except FileNotFoundError:
        return False
