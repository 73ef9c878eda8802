"""Folders of products: on a disk, inside a zip or tar, behind a URL, or in a bucket."""

import os
import re
import stat
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path, PurePosixPath
from typing import Protocol
from urllib.parse import quote

from geoseg.core.errors import SceneError
from geoseg.core.parsing import read_bytes
from geoseg.scenes.products.archives import (
    ARCHIVES,
    MOST_BYTES,
    Archive,
    archive_in,
    checked_name,
    only_folder,
    readable,
    suffix_of,
)
from geoseg.scenes.remote import read_uri, uri_of
from geoseg.storage.object_store import SCHEMES, ObjectStore

__all__ = ["Archive", "Bucket", "Folder", "Place", "Web", "is_missing", "place_of"]

_STALE = 30
"""Seconds for which the listing of a bucket is kept: readers ask for it again and again."""


class Place(Protocol):
    """A folder whose files are read by name; names may have folders in them (`IMG_DATA/B02.jp2`)."""

    @property
    def path(self) -> str:
        """Path or URL of the folder, for messages."""

    def names(self) -> tuple[str, ...]:
        """Return the names of files and folders directly in it, sorted; none when it cannot be listed."""

    def folders(self) -> tuple[str, ...]:
        """Return the names of folders directly in it, sorted; none when it cannot be listed."""

    def child(self, name: str) -> "Place":
        """Return a folder in it."""

    def read(self, name: str) -> bytes | None:
        """Return the content of a small file; None when there is none of that name."""

    def has(self, name: str) -> bool:
        """Return whether there is a file; True when only opening it could tell."""

    def at(self, name: str) -> str:
        """Return what GDAL opens for a file.

        Raises
        ------
        SceneError
            When the name leads out of the folder.
        """


@dataclass(frozen=True)
class Folder:
    """A folder on a disk."""

    path: str

    def names(self) -> tuple[str, ...]:
        """List it."""
        return self._names

    def folders(self) -> tuple[str, ...]:
        """List the folders in it."""
        with readable(self.path), os.scandir(self.path) as entries:
            return tuple(sorted(e.name for e in entries if e.is_dir()))

    def child(self, name: str) -> "Folder":
        """Return a folder in it."""
        return Folder(str(Path(self.path, name)))

    def read(self, name: str) -> bytes | None:
        """Read a file."""
        with readable(self.at(name)):
            try:
                return read_bytes(Path(self.path, name), MOST_BYTES)
            except FileNotFoundError:
                return None

    def has(self, name: str) -> bool:
        """Look for a file."""
        return Path(self.path, name).is_file()

    def at(self, name: str) -> str:
        """Return its path."""
        return str(Path(self.path, checked_name(name, self.path)))

    @cached_property
    def _names(self) -> tuple[str, ...]:
        # Each reader asks for them, and there may be ten thousand.
        with readable(self.path):
            return tuple(sorted(os.listdir(self.path)))  # noqa: PTH208 (four times as fast)


@dataclass(frozen=True)
class Web:
    """A folder behind a URL, which nothing lists: its files are asked for by name."""

    path: str
    """Its URL, which may have a query (a signature) that every file in it needs."""

    def names(self) -> tuple[str, ...]:
        """Return nothing."""
        return ()

    def folders(self) -> tuple[str, ...]:
        """Return nothing."""
        return ()

    def child(self, name: str) -> "Web":
        """Return a folder in it."""
        return Web(self.at(name))

    def read(self, name: str) -> bytes | None:
        """Download a file."""
        return read_uri(self.at(name), MOST_BYTES)

    def has(self, name: str) -> bool:  # noqa: ARG002 (a request for each would take long)
        """Return True."""
        return True

    def at(self, name: str) -> str:
        """Return its URL."""
        folder, question, query = self.path.partition("?")
        return f"{folder}/{quote(checked_name(name, self.path))}{question}{query}"


@dataclass(frozen=True)
class Bucket:
    """A prefix in an object store."""

    path: str

    def names(self) -> tuple[str, ...]:
        """List what lies directly below it."""
        return _listing(self.path, _now())

    def folders(self) -> tuple[str, ...]:
        """List what is named as a folder directly below it."""
        return tuple(n for n in self.names() if _is_named_as_folder(n))

    def child(self, name: str) -> "Bucket":
        """Return a longer prefix."""
        return Bucket(self.at(name))

    def read(self, name: str) -> bytes | None:
        """Read an object."""
        with readable(self.at(name)):
            return read_uri(self.at(name), MOST_BYTES)

    def has(self, name: str) -> bool:
        """Look for an object in the listing of its prefix."""
        prefix, _, last = self.at(name).rpartition("/")
        return last in _listing(prefix, _now())

    def at(self, name: str) -> str:
        """Return its URI."""
        return f"{self.path}/{checked_name(name, self.path)}"


def _now() -> int:
    return int(time.monotonic() // _STALE)


@lru_cache(maxsize=256)
def _listing(prefix: str, _: int) -> tuple[str, ...]:
    with readable(prefix):
        return tuple(ObjectStore(prefix).names())


def place_of(uri: str) -> tuple[Place, str | None] | None:
    """Return the folder that a path or URI means, and the name of the file in it that it names, if any.

    A zip or tar counts as a folder; where all it holds lies in one folder, as that folder. None: nothing that
    could be a product is there.

    Raises
    ------
    SceneError
        When an archive cannot be read.
    """
    uri = uri_of(uri)
    scheme = uri.partition("://")[0] if "://" in uri else ""
    if uri.startswith(tuple(ARCHIVES.values())):
        archive, inside = archive_in(uri)
        return _in_archive(archive, inside) if suffix_of(archive.file) in ARCHIVES else None
    if scheme in SCHEMES and not uri.removeprefix(f"{scheme}://").strip("/"):
        raise SceneError(f"{uri}: names no bucket; write it like {scheme}://bucket/folder/scene.tif")
    if scheme in {"http", "https", *SCHEMES}:
        if suffix_of(uri) in ARCHIVES:
            return only_folder(Archive(uri)), None
        return _remote_place(uri, Bucket if scheme in SCHEMES else Web)
    return _local_place(uri)


def _local_place(path: str) -> tuple[Place, str | None] | None:
    """Return the folder and perhaps the file that a path means."""
    # No pathlib, which takes several times as long: the path of each chip of a training is asked for.
    try:
        mode = os.stat(path).st_mode  # noqa: PTH116
    except (OSError, ValueError):
        return None
    if stat.S_ISDIR(mode):
        return Folder(path), None
    if not stat.S_ISREG(mode):
        return None
    if suffix_of(path) in ARCHIVES:
        return only_folder(Archive(path)), None
    folder, name = os.path.split(path)
    return Folder(folder or "."), name


def is_missing(path: str) -> bool:
    """Return whether a file of a product is not there; False where only opening it can tell."""
    path = uri_of(path)
    if path.startswith(tuple(ARCHIVES.values())):
        archive, inside = archive_in(path)
        return suffix_of(archive.file) in ARCHIVES and not archive.has(inside)
    return "://" not in path and not path.startswith("/vsi") and not os.path.exists(path)  # noqa: PTH110 (of any length)


def _remote_place(uri: str, kind: Callable[[str], Place]) -> tuple[Place, str | None]:
    """Return the folder and perhaps the file that a URI means."""
    path, question, query = uri.partition("?")
    folder, _, last = path.rstrip("/").rpartition("/")
    if _is_named_as_folder(last):
        return kind(f"{folder}/{last}{question}{query}"), None
    return kind(f"{folder}{question}{query}"), last


def _is_named_as_folder(name: str) -> bool:
    """Return whether a name has no suffix, but that of SAFE or the version of HLS."""
    suffix = PurePosixPath(name).suffix
    return not suffix or suffix.upper() == ".SAFE" or re.search(r"\.v\d+\.\d+$", name) is not None


def _in_archive(archive: Archive, inside: str) -> tuple[Place, str | None]:
    if not inside:
        return only_folder(archive), None
    if archive.has(inside):
        folder, _, name = inside.rpartition("/")
        return Archive(archive.file, folder), name
    return Archive(archive.file, inside), None
