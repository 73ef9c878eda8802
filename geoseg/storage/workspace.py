"""Folders on this machine for the work on files that lie in an object store."""

import contextlib
import hashlib
import shutil
from collections.abc import Iterator
from pathlib import Path

from geoseg.core.cache import cache_folder
from geoseg.core.files import as_output_error
from geoseg.storage.store import Store


@contextlib.contextmanager
def local_copy(store: Store) -> Iterator[Path]:
    """Yield a folder with copies of the files directly in a store: the store itself, if it is a folder.

    A prefix below it, like the staging of a run, becomes an empty folder.
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
    """Make an empty folder for the work on the files at a URI; it is deleted afterwards.

    Files that a killed process left are deleted by the next one that works on the same URI.
    """
    path = cache_folder() / "runs" / hashlib.sha256(uri.encode()).hexdigest()[:16]
    with as_output_error(path):
        shutil.rmtree(path, ignore_errors=True)
        path.mkdir(parents=True, mode=0o700)
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)
