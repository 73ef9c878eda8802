"""Folders of products: on a disk, inside a zip or tar, behind a URL, or in a bucket."""

import contextlib
import io
import re
import tarfile
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path, PurePosixPath
from typing import IO, Any, Protocol, cast

from geoseg.core.errors import ConfigError, SceneError, one_line
from geoseg.core.parsing import open_regular, read_bytes
from geoseg.scenes import remote
from geoseg.scenes.remote import is_remote, uri_of
from geoseg.scenes.versions import FileVersion, file_of, version_of
from geoseg.storage.object_store import SCHEMES, ObjectStore

MOST_BYTES = 32_000_000
"""Largest metadata file that is read."""

MOST_MEMBERS = 200_000
"""Files of an archive that are listed; products have some hundred."""

ARCHIVES = {".zip": "/vsizip/", ".tar": "/vsitar/"}
"""Suffixes of archives, and how GDAL names what lies in them."""


class Place(Protocol):
    """A folder whose files are read by name; names may have folders in them (`IMG_DATA/B02.jp2`)."""

    @property
    def path(self) -> str:
        """Path or URL of the folder, for messages."""

    def names(self) -> tuple[str, ...]:
        """Return the names of files and folders directly in it, sorted; none when it cannot be listed."""

    def read(self, name: str) -> bytes | None:
        """Return the content of a small file; None when there is none of that name."""

    def has(self, name: str) -> bool:
        """Return whether there is a file; True when only opening it could tell."""

    def at(self, name: str) -> str:
        """Return what GDAL opens for a file."""


@dataclass(frozen=True)
class Folder:
    """A folder on a disk."""

    path: str

    def names(self) -> tuple[str, ...]:
        """List it."""
        with _readable(self.path):
            return tuple(sorted(p.name for p in Path(self.path).iterdir()))

    def read(self, name: str) -> bytes | None:
        """Read a file."""
        with _readable(self.at(name)):
            try:
                return read_bytes(Path(self.path, name), MOST_BYTES)
            except FileNotFoundError:
                return None

    def has(self, name: str) -> bool:
        """Look for a file."""
        return Path(self.path, name).is_file()

    def at(self, name: str) -> str:
        """Return its path."""
        return str(Path(self.path, name))


@dataclass(frozen=True)
class Archive:
    """A folder inside a zip or tar, which may lie behind a URL."""

    file: str
    """Path or URI of the archive."""
    inside: str = ""
    """The folder, without a slash at its end; empty for the archive itself."""

    @property
    def path(self) -> str:
        """Return the path of the archive, and of the folder in it."""
        return f"{self.file}/{self.inside}" if self.inside else self.file

    def names(self) -> tuple[str, ...]:
        """List the folder."""
        under = f"{self.inside}/" if self.inside else ""
        found = (n.removeprefix(under).partition("/")[0] for n in self._members() if n.startswith(under))
        return tuple(sorted({n for n in found if n}))

    def read(self, name: str) -> bytes | None:
        """Read a file."""
        if not self.has(name):
            return None
        with _readable(self.file), _open(self.file) as file, _opened(file) as archive:
            member = _member(archive, self._name(name))
            data = member.read(MOST_BYTES + 1)
        if len(data) > MOST_BYTES:
            raise SceneError(f"{self.path}/{name}: is larger than {MOST_BYTES / 1e6:.0f} MB")
        return data

    def has(self, name: str) -> bool:
        """Look for a file."""
        return self._name(name) in self._members()

    def at(self, name: str) -> str:
        """Return GDAL's path of a file in the archive."""
        return gdal_name(self.file, self._name(name))

    def files(self) -> tuple[str, ...]:
        """Return the names of all files below the folder, with their folders."""
        under = f"{self.inside}/" if self.inside else ""
        return tuple(sorted(n.removeprefix(under) for n in self._members() if n.startswith(under)))

    def _name(self, name: str) -> str:
        return f"{self.inside}/{name}" if self.inside else name

    def _members(self) -> frozenset[str]:
        return _members(self.file, version_of(self.file))


def gdal_name(archive: str, name: str) -> str:
    """Return how GDAL names a file in a zip or tar.

    Examples
    --------
    >>> gdal_name("/data/x.zip", "B02.jp2")
    '/vsizip//data/x.zip/B02.jp2'
    >>> gdal_name("https://host/x.zip", "B02.jp2")
    '/vsizip//vsicurl/https://host/x.zip/B02.jp2'
    """
    place = remote.gdal_path(archive) if is_remote(archive) else str(Path(archive).absolute())
    return f"{ARCHIVES[_suffix(archive)]}{place}/{name}"


@dataclass(frozen=True)
class Web:
    """A folder behind a URL, which nothing lists: its files are asked for by name."""

    path: str

    def names(self) -> tuple[str, ...]:
        """Return nothing."""
        return ()

    def read(self, name: str) -> bytes | None:
        """Download a file."""
        return remote.read_url(self.at(name), MOST_BYTES)

    def has(self, name: str) -> bool:  # noqa: ARG002 (a request for each would take long)
        """Return True."""
        return True

    def at(self, name: str) -> str:
        """Return its URL."""
        folder, question, query = self.path.partition("?")
        return f"{folder}/{name}{question}{query}"


@dataclass(frozen=True)
class Bucket:
    """A prefix in an object store."""

    path: str

    def names(self) -> tuple[str, ...]:
        """List what lies directly below it."""
        return _listing(self.path)

    def read(self, name: str) -> bytes | None:
        """Read an object."""
        with _readable(self.at(name)):
            return ObjectStore(self.path).read(name)

    def has(self, name: str) -> bool:
        """Look for an object in the listing of its prefix."""
        prefix, _, last = self.at(name).rpartition("/")
        return last in _listing(prefix)

    def at(self, name: str) -> str:
        """Return its URI."""
        return f"{self.path}/{name}"


@lru_cache(maxsize=256)
def _listing(prefix: str) -> tuple[str, ...]:
    with _readable(prefix):
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
        file, inside = _archive_in(uri)
        return _in_archive(Archive(file), inside) if _suffix(file) in ARCHIVES else None
    if _suffix(uri) in ARCHIVES and (scheme or Path(uri).is_file()):
        return _only_folder(Archive(uri)), None
    if scheme in SCHEMES and not uri.removeprefix(f"{scheme}://").strip("/"):
        raise SceneError(f"{uri}: names no bucket; write it like {scheme}://bucket/folder/scene.tif")
    if scheme in {"http", "https", *SCHEMES}:
        return _remote_place(uri, Bucket if scheme in SCHEMES else Web)
    if Path(uri).is_dir():
        return Folder(uri), None
    return (Folder(str(Path(uri).parent)), Path(uri).name) if Path(uri).is_file() else None


def _suffix(uri: str) -> str:
    return PurePosixPath(uri.partition("?")[0].rstrip("/")).suffix.lower()


def _remote_place(uri: str, kind: Callable[[str], Place]) -> tuple[Place, str | None]:
    """Return the folder and perhaps the file that a URI means; a folder has no suffix, but that of SAFE."""
    path, question, query = uri.partition("?")
    folder, _, last = path.rstrip("/").rpartition("/")
    if "." not in last or last.upper().endswith(".SAFE") or re.search(r"\.v\d+\.\d+$", last):
        return kind(f"{folder}/{last}{question}{query}"), None
    return kind(f"{folder}{question}{query}"), last


def _archive_in(path: str) -> tuple[str, str]:
    """Return the archive and the path in it that a path of GDAL (`/vsizip/...`) names."""
    file = file_of(path)
    rest = path.partition("/")[2].partition("/")[2]
    for prefix in (f"{{{file}}}", file, remote.gdal_path(file)):
        if rest.startswith(prefix):
            return uri_of(file), rest.removeprefix(prefix).strip("/")
    return uri_of(file), ""


def _in_archive(archive: Archive, inside: str) -> tuple[Place, str | None]:
    if not inside:
        return _only_folder(archive), None
    if archive.has(inside):
        folder, _, name = inside.rpartition("/")
        return Archive(archive.file, folder), name
    return Archive(archive.file, inside), None


def _only_folder(archive: Archive) -> Archive:
    """Return the only folder of an archive, in which all of its files lie, else the archive."""
    tops = [n for n in archive.names() if n != "__MACOSX"]
    if len(tops) == 1 and not archive.has(tops[0]):
        return Archive(archive.file, tops[0])
    return archive


@lru_cache(maxsize=64)
def _members(file: str, _: FileVersion) -> frozenset[str]:
    with _readable(file), _open(file) as opened, _opened(opened) as archive:
        if isinstance(archive, zipfile.ZipFile):
            names = [n for n in archive.namelist() if not n.endswith("/")]
        else:
            names = [m.name.removeprefix("./") for m in archive if m.isfile()]
    if len(names) > MOST_MEMBERS:
        raise SceneError(f"{file}: holds more than {MOST_MEMBERS} files, which no product does")
    return frozenset(names)


@contextlib.contextmanager
def _opened(file: IO[bytes]) -> Iterator[zipfile.ZipFile | tarfile.TarFile]:
    is_zip = zipfile.is_zipfile(file)
    file.seek(0)
    with zipfile.ZipFile(file) if is_zip else tarfile.open(fileobj=file, mode="r:") as archive:
        yield archive


def _member(archive: zipfile.ZipFile | tarfile.TarFile, name: str) -> IO[bytes]:
    if isinstance(archive, zipfile.ZipFile):
        return archive.open(name)
    names = {m.name.removeprefix("./"): m for m in archive if m.isfile()}
    return cast("IO[bytes]", archive.extractfile(names[name]))


def _open(file: str) -> IO[bytes]:
    if not is_remote(file):
        return open_regular(Path(file))
    return io.BufferedReader(cast("Any", remote.RangeReader(file)), 1 << 16)


@contextlib.contextmanager
def _readable(path: str) -> Iterator[None]:
    """Turn what goes wrong while metadata are read into one line."""
    try:
        yield
    except ConfigError as error:
        raise SceneError(str(error)) from error
    except (zipfile.BadZipFile, tarfile.TarError, EOFError, NotImplementedError, RuntimeError) as error:
        raise SceneError(
            f"{path}: is no archive, or truncated or damaged; get it again ({one_line(error)})"
        ) from error
    except (OSError, ValueError) as error:
        raise SceneError(f"{path}: cannot be read: {one_line(error)}") from error
