"""Scenes that are read over a network: their URIs and versions."""

import base64
import io
import re
import time
import urllib.error
import urllib.request
import warnings
from functools import lru_cache
from http import HTTPStatus
from http.client import HTTPException
from typing import Any
from urllib.parse import unquote, urlsplit, urlunsplit

from geoseg.core.errors import ConfigError, GeosegWarning, SceneError, one_line
from geoseg.core.notices import waiting_for
from geoseg.scenes import network
from geoseg.storage.object_store import SCHEMES, ObjectStore

_TIMEOUT = 30
_STALE = 30
"""Seconds for which the version of a remote file is cached: a check of a scene asks for it many times."""

STORES = {"/vsis3/": "s3://", "/vsigs/": "gs://", "/vsiaz/": "az://"}


def is_remote(path: str) -> bool:
    """Return whether GDAL reads a path otherwise than from the file system."""
    return "://" in path or path.startswith("/vsi")


def uri_of(path: str) -> str:
    """Return GDAL's path of a remote file (`/vsis3/...`) as a URI (`s3://...`)."""
    for prefix, scheme in STORES.items():
        if path.startswith(prefix):
            return scheme + path.removeprefix(prefix)
    return path.removeprefix("/vsicurl/") if path.startswith("/vsicurl/http") else path


def gdal_path(uri: str) -> str:
    """Return GDAL's path (`/vsicurl/https://...`, `/vsis3/...`) of a URI."""
    for prefix, scheme in STORES.items():
        if uri.startswith(scheme):
            return prefix + uri.removeprefix(scheme)
    return f"/vsicurl/{uri}" if uri.startswith("http") else uri


def has_version(path: str) -> bool:
    """Return whether `version` works for a path or URI."""
    return uri_of(path).partition("://")[0] in {"http", "https", *SCHEMES}


def version(path: str) -> tuple[int, str]:
    """Return the size in bytes and the ETag of a remote file; 0 and an empty text where they are unknown.

    Raises
    ------
    SceneError
        When the file does not exist, or may not be read.
    """
    return _version(uri_of(path), int(time.monotonic() // _STALE))


@lru_cache(maxsize=4096)
def _version(uri: str, _: int) -> tuple[int, str]:
    with waiting_for(uri):
        if uri.startswith("http"):
            return _of_url(uri)
        scheme, place = uri.split("://", 1)
        if not all(place.partition("/")[::2]):
            raise SceneError(
                f"{uri}: names no file in a bucket; write it like {scheme}://bucket/folder/scene.tif"
            )
        folder, name = uri.rsplit("/", 1)
        return _of_object(folder, name)


def _of_object(folder: str, name: str) -> tuple[int, str]:
    store = ObjectStore(folder)
    try:
        found = store.version(name)
    except ConfigError as error:
        raise SceneError(str(error)) from error
    except OSError as error:
        raise SceneError(f"{store.at(name)}: cannot be read: {error.strerror}") from error
    if found is None:
        raise SceneError.absent(f"{store.at(name)}: no such object")
    return found.bytes, found.tag


def _of_url(url: str) -> tuple[int, str]:
    """Request the first byte: URLs that are signed for GET refuse HEAD."""
    try:
        with _get(url, "bytes=0-0") as answer:
            received = answer.headers
    except urllib.error.HTTPError as error:
        error.close()
        if error.code in _MISSING:
            raise SceneError.absent(f"{url}: no such file (HTTP {error.code})") from None
        return unknown(url, f"HTTP {error.code}")
    except (OSError, ValueError, HTTPException) as error:
        raise _unreachable(url, error) from None
    total = re.search(r"/(\d+)$", received.get("Content-Range", ""))
    size = int(total[1] if total else received.get("Content-Length") or 0)
    tag = received.get("ETag") or received.get("Last-Modified") or ""
    return (size, tag) if tag or size else unknown(url, "it tells neither size nor ETag")


def read_url(url: str, most: int) -> bytes | None:
    """Return the content behind a URL (`http`, `https`); None when there is none.

    Raises
    ------
    SceneError
        When it cannot be reached, may not be read, or has more than `most` bytes.
    """
    try:
        with waiting_for(url), _get(url) as answer:
            data: bytes = answer.read(most + 1)
    except urllib.error.HTTPError as error:
        error.close()
        if error.code in _MISSING:
            return None
        raise SceneError(f"{url}: cannot be read: HTTP {error.code}{needs_signing(error.code)}") from None
    except (OSError, ValueError, HTTPException) as error:
        raise _unreachable(url, error) from None
    if len(data) > most:
        raise SceneError(f"{url}: is larger than {most / 1e6:.0f} MB, which no metadata are")
    return data


def read_uri(uri: str, most: int) -> bytes | None:
    """Return the content of a URL or an object (`s3://`); None when there is none.

    Raises
    ------
    SceneError
        As in `read_url`.
    """
    if uri.startswith("http"):
        return read_url(uri, most)
    folder, _, name = uri.rpartition("/")
    store = ObjectStore(folder)
    try:
        found = store.version(name)
        if found is not None and found.bytes > most:
            raise SceneError(f"{uri}: is larger than {most / 1e6:.0f} MB, which no metadata are")
        return None if found is None else store.read(name)
    except (ConfigError, OSError) as error:
        raise SceneError(f"{uri}: cannot be read: {one_line(error)}") from error


def needs_signing(code: int) -> str:
    """Return what an answer of a server that refuses a link advises."""
    return "; the link needs signing, or a login" if code in {401, 403} else ""


class RangeReader(io.RawIOBase):
    """The bytes of a remote file, read by ranges."""

    def __init__(self, uri: str) -> None:
        self.uri, self.place = uri, 0
        self.size, _ = version(uri)

    def readable(self) -> bool:
        """Return True."""
        return True

    def seekable(self) -> bool:
        """Return True."""
        return True

    def tell(self) -> int:
        """Return the place of the next byte."""
        return self.place

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Go to a place."""
        start = {io.SEEK_SET: 0, io.SEEK_CUR: self.place, io.SEEK_END: self.size}[whence]
        self.place = max(0, start + offset)
        return self.place

    def readinto(self, buffer: Any) -> int:
        """Read the next bytes."""
        stop = min(self.size, self.place + len(buffer))
        if stop <= self.place:
            return 0
        data = self._range(self.place, stop)
        buffer[: len(data)] = data
        self.place += len(data)
        return len(data)

    def _range(self, start: int, stop: int) -> bytes:
        if not self.uri.startswith("http"):
            folder, _, name = self.uri.rpartition("/")
            return ObjectStore(folder).read_range(name, start, stop)
        try:
            with waiting_for(self.uri), _get(self.uri, f"bytes={start}-{stop - 1}") as answer:
                if answer.status != HTTPStatus.PARTIAL_CONTENT:
                    raise SceneError(f"{self.uri}: its server gives no ranges of bytes; download it first")
                data: bytes = answer.read(stop - start)
                return data
        except (OSError, ValueError, HTTPException) as error:
            raise _unreachable(self.uri, error) from None


_MISSING = {404, 410}
_BUSY = {429, 500, 502, 503, 504}
_WAITS = (0.5, 1.5)
"""Seconds before a server that is busy is asked again."""


def _get(url: str, wanted: str | None = None) -> Any:
    parts = urlsplit(url)
    address = urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))
    headers = {"User-Agent": "geoseg", **({} if wanted is None else {"Range": wanted})}
    request = urllib.request.Request(address, headers=headers)  # noqa: S310 - http and https only
    if parts.username is not None:
        login = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
        # Not to be sent to a host that this one redirects to.
        request.add_unredirected_header("Authorization", f"Basic {base64.b64encode(login.encode()).decode()}")
    for wait in (*_WAITS, None):
        try:
            answer = urllib.request.urlopen(request, timeout=_TIMEOUT)  # noqa: S310
        except urllib.error.HTTPError as error:
            network.add(1, 0)
            if error.code not in _BUSY or wait is None:
                raise
            error.close()
            time.sleep(wait)
        else:
            network.add(1, int(answer.headers.get("Content-Length") or 0))
            return answer
    raise AssertionError("the last try returns or raises")


def _unreachable(url: str, error: Exception) -> SceneError:
    return SceneError(f"{url}: cannot be reached: {getattr(error, 'reason', None) or error}")


def unknown(url: str, why: str) -> tuple[int, str]:
    """Warn and return no version: GDAL may have credentials that this module has not."""
    warnings.warn(
        GeosegWarning(f"{url}: its version could not be asked for ({why}); a change of it will go unnoticed"),
        stacklevel=2,
    )
    return 0, ""
