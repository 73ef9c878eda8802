"""What this machine keeps of things that live elsewhere."""

import contextlib
import fcntl
import hashlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from geoseg.core.cache import cache_folder
from geoseg.core.files import as_output_error
from geoseg.storage.store import Store


@contextlib.contextmanager
def one_at_a_time(path: Path) -> Iterator[None]:
    """Let processes of this machine through one after the other; `path` is a file to lock."""
    with as_output_error(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        handle = os.open(path, os.O_CREAT | os.O_RDWR, 0o644)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


@contextlib.contextmanager
def local_copy(store: Store) -> Iterator[Path]:
    """Yield a folder with the files that lie directly in a store: itself, if it is a folder.

    A place below it, like the staging of a run, becomes an empty folder.
    """
    if store.local is not None:
        yield store.local
        return
    with workspace(store.at()) as folder:
        with as_output_error(store.at(), "read"):
            for name in store.names():
                try:
                    store.fetch(name, folder / name)
                except FileNotFoundError:
                    (folder / name).unlink(missing_ok=True)
                    (folder / name).mkdir()
        yield folder


@contextlib.contextmanager
def workspace(uri: str) -> Iterator[Path]:
    """Make an empty folder for the work on what lies at a URI; it goes afterwards.

    What a killed process left is removed by the next one that works on the same URI.
    """
    path = cache_folder() / "runs" / hashlib.sha256(uri.encode()).hexdigest()[:16]
    with as_output_error(path):
        shutil.rmtree(path, ignore_errors=True)
        path.mkdir(parents=True, mode=0o700)
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)
