"""Folders inside a zip or tar, which may lie behind a URL."""

import contextlib
import io
import posixpath
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path, PurePosixPath
from typing import IO, Any, cast

from geoseg.core.errors import ConfigError, SceneError, one_line
from geoseg.core.parsing import open_regular
from geoseg.scenes import remote
from geoseg.scenes.remote import is_remote, uri_of
from geoseg.scenes.versions import FileVersion, file_of, version_of

MOST_BYTES = 32_000_000
"""Largest metadata file that is read."""

MOST_MEMBERS = 200_000
"""Files of an archive that are listed; products have some hundred."""

ARCHIVES = {".zip": "/vsizip/", ".tar": "/vsitar/"}
"""Suffixes of archives, and how GDAL names what lies in them."""


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
        return tuple(sorted({n.partition("/")[0] for n in self.files()}))

    def folders(self) -> tuple[str, ...]:
        """List the folders in it."""
        return tuple(sorted({n.partition("/")[0] for n in self.files() if "/" in n} - {"__MACOSX"}))

    def child(self, name: str) -> "Archive":
        """Return a folder in it."""
        return Archive(self.file, self._name(name))

    def read(self, name: str) -> bytes | None:
        """Read a file."""
        if not self.has(name):
            return None
        with readable(self.file), _open(self.file) as file, _opened(file) as archive:
            data = _member(archive, self._name(name)).read(MOST_BYTES + 1)
        if len(data) > MOST_BYTES:
            raise SceneError(f"{self.path}/{name}: is larger than {MOST_BYTES / 1e6:.0f} MB")
        return data

    def has(self, name: str) -> bool:
        """Look for a file."""
        return self._name(name) in self._members()

    def at(self, name: str) -> str:
        """Return GDAL's path of a file in the archive."""
        return gdal_name(self.file, self._name(checked_name(name, self.path)))

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
    return f"{ARCHIVES[suffix_of(archive)]}{place}/{name}"


def suffix_of(uri: str) -> str:
    """Return the suffix of a path or URL in lower case."""
    path = uri.partition("?")[0] if "://" in uri else uri
    return posixpath.splitext(path.rstrip("/"))[1].lower()


def archive_in(path: str) -> tuple[Archive, str]:
    """Return the archive and the path in it that a path of GDAL (`/vsizip/...`) names."""
    file = file_of(path)
    rest = path.partition("/")[2].partition("/")[2]
    for prefix in (f"{{{file}}}", file, remote.gdal_path(file)):
        if rest.startswith(prefix):
            return Archive(uri_of(file)), rest.removeprefix(prefix).strip("/")
    return Archive(uri_of(file)), ""


def only_folder(archive: Archive) -> Archive:
    """Return the only folder of an archive, in which all of its files lie, else the archive."""
    tops = [n for n in archive.names() if n != "__MACOSX"]
    return archive.child(tops[0]) if len(tops) == 1 and not archive.has(tops[0]) else archive


def checked_name(name: str, place: str) -> str:
    """Return the name of a file in a product, as its metadata give it.

    Raises
    ------
    SceneError
        When it lies outside of the product: who wrote the metadata could have any file of this machine read.
    """
    parts = PurePosixPath(name).parts
    if not parts or parts[0] == "/" or ".." in parts or "\\" in name or not name.isprintable():
        raise SceneError(f"{place}: its metadata name the file {name!r}, which does not lie in the product")
    return name


@lru_cache(maxsize=64)
def _members(file: str, _: FileVersion) -> frozenset[str]:
    with readable(file), _open(file) as opened, _opened(opened) as archive:
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
def readable(path: str) -> Iterator[None]:
    """Turn what goes wrong while files of a product are read into one line."""
    try:
        yield
    except ConfigError as error:
        raise SceneError(str(error)) from error
    except (
        zipfile.BadZipFile, zlib.error, tarfile.TarError, EOFError, NotImplementedError, RuntimeError
    ) as error:  # fmt: skip
        raise SceneError(
            f"{path}: is no archive, or truncated or damaged; get it again ({one_line(error)})"
        ) from error
    except (OSError, ValueError) as error:
        raise SceneError(f"{path}: cannot be read: {one_line(error)}") from error
