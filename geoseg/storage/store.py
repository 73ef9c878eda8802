"""A store: a folder, or a prefix in an object store."""

import errno
import os
import shutil
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from geoseg.core.errors import ConfigError, OutputError
from geoseg.core.files import (
    as_output_error,
    delete_discarded,
    discard,
    is_stream,
    streams_in,
    write_atomic,
)
from geoseg.core.locks import lock_folder
from geoseg.core.paths import at_home
from geoseg.storage.object_store import SCHEMES, ObjectStore


class Store(Protocol):
    """Named files in one place. Small enough to send to workers; has no credentials."""

    @property
    def local(self) -> Path | None:
        """The folder; None when the files have no paths."""

    def at(self, name: str = "") -> str:
        """Return the place of a file (or of the store): a path or a URI."""

    def child(self, name: str) -> "Store":
        """Return the store one level below."""

    def resolved(self) -> "Store":
        """Return the same store for processes whose current folder is another."""

    def check(self) -> None:
        """Raise OutputError when a run could not write here, as far as looking tells; nothing is written."""

    def create(self) -> None:
        """Create the place if it does not exist; OutputError when that fails."""

    def names(self) -> list[str]:
        """Return the names directly in this place, sorted; none when it does not exist."""

    def read(self, name: str) -> bytes | None:
        """Return a file's bytes, None when there is no such file; OSError when it cannot be read."""

    def fetch(self, name: str, path: Path) -> None:
        """Copy a file to a local path, in pieces; OSError when it is missing or cannot be read."""

    def write(self, name: str, data: bytes) -> None:
        """Write a file, complete or not at all; OutputError when that fails."""

    def adopt(self, path: Path) -> None:
        """Move a finished local file into the store under its own name, complete or not at all."""

    def delete(self, names: Iterable[str]) -> None:
        """Delete files; missing ones are no error."""

    def clear(self, last: str) -> None:
        """Delete everything in this place, the file `last` not before all others are gone.

        So a place without that file holds nothing else, whenever the process is killed. Files that cannot be
        deleted stay.
        """

    def tidy(self) -> None:
        """Delete what a process that was killed while it cleared this place left beside it."""

    def lock(self) -> AbstractContextManager[Callable[[], None]]:
        """Keep other runs out; yields a check that raises OutputError once the lock is lost."""


@dataclass(frozen=True)
class FolderStore:
    """A folder on a disk, also one that several machines share."""

    folder: Path

    @property
    def local(self) -> Path:
        """The folder."""
        return self.folder

    def at(self, name: str = "") -> str:
        """Return a path."""
        return str(self.folder / name)

    def child(self, name: str) -> "FolderStore":
        """Return a folder in this one."""
        return FolderStore(self.folder / name)

    def resolved(self) -> "FolderStore":
        """Return the folder by its absolute path."""
        return FolderStore(self.folder.resolve())

    def check(self) -> None:
        """Look whether the folder is one, or can be made, may be written to, and holds no pipe or device."""
        with as_output_error(self.folder):
            folder = self.folder.resolve()
            there = next(p for p in (folder, *folder.parents) if p.exists())
            if not there.is_dir():
                raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR))
            if folder.parent == folder:
                raise OSError(errno.EINVAL, "it is the root of all folders")
            if not os.access(there, os.W_OK | os.X_OK):
                raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
        if there == folder:
            self._refuse_streams()

    def create(self) -> None:
        """Create the folder."""
        with as_output_error(self.folder):
            self.folder.mkdir(parents=True, exist_ok=True)

    def names(self) -> list[str]:
        """Return the names of files and folders."""
        try:
            return sorted(p.name for p in self.folder.iterdir())
        except (FileNotFoundError, NotADirectoryError):
            return []

    def read(self, name: str) -> bytes | None:
        """Read a file."""
        path = self.folder / name
        if is_stream(path):
            raise OSError(errno.EINVAL, "it is a pipe or a device, and no file", str(path))
        try:
            return path.read_bytes()
        except FileNotFoundError:
            return None

    def fetch(self, name: str, path: Path) -> None:
        """Copy a file."""
        shutil.copyfile(self.folder / name, path)

    def write(self, name: str, data: bytes) -> None:
        """Write beside the file, then rename."""
        write_atomic(self.folder / name, data)

    def adopt(self, path: Path) -> None:
        """Rename; staging lies on the same disk."""
        with as_output_error(self.folder / path.name):
            path.replace(self.folder / path.name)

    def delete(self, names: Iterable[str]) -> None:
        """Delete files."""
        for name in names:
            (self.folder / name).unlink(missing_ok=True)

    def clear(self, last: str) -> None:  # noqa: ARG002 (all go at once)
        """Delete the folder and all in it."""
        discard(self.folder)

    def tidy(self) -> None:
        """Delete folders that were renamed to be deleted."""
        delete_discarded(self.folder)

    def lock(self) -> AbstractContextManager[Callable[[], None]]:
        """Lock the folder; the lock ends with the process, however it ends."""
        self._refuse_streams()
        return lock_folder(self.folder)

    def _refuse_streams(self) -> None:
        with as_output_error(self.folder):
            stream = next(streams_in(self.folder), None)
        if stream is not None:
            raise OutputError(f"{stream}: is a pipe or a device, and no file; move it away")


def open_store(place: str | Path) -> Store:
    """Return the store at a path or URI; nothing is read or created.

    Raises
    ------
    ConfigError
        When the URI is of a kind that geoseg cannot write to, or carries credentials.
    """
    if not is_uri(place):
        return FolderStore(at_home(Path(place)))
    uri = str(place)
    scheme, _, rest = uri.partition("://")
    bucket = rest.partition("/")[0]
    if not is_store(uri):
        raise ConfigError(f"{uri}: here a folder is expected, or {', '.join(f'{s}://' for s in SCHEMES)}")
    if "@" in bucket or "?" in uri:
        raise ConfigError(
            f"{uri}: credentials come from the environment or a profile (AWS_PROFILE), never with the URI"
        )
    if not bucket:
        raise ConfigError(f"{uri}: has no bucket; write it like {scheme}://bucket/folder")
    return ObjectStore(uri.rstrip("/"))


def is_uri(place: str | Path) -> bool:
    """Return whether a place is a URI; otherwise it is a path."""
    return isinstance(place, str) and "://" in place


def is_store(place: str | Path) -> bool:
    """Return whether a place can be opened as a store: a path, or a URI of a known kind."""
    return not is_uri(place) or str(place).partition("://")[0] in SCHEMES


def within(place: str | Path, name: str) -> str | Path:
    """Return the place of a file or folder inside another place."""
    return f"{str(place).rstrip('/')}/{name}" if is_uri(place) else Path(place) / name
