"""Scenes that are read over a network: their URIs and versions."""

import base64
import re
import time
import urllib.error
import urllib.request
import warnings
from functools import lru_cache
from http.client import HTTPException
from urllib.parse import unquote, urlsplit, urlunsplit

from geoseg.core.errors import ConfigError, GeosegWarning, SceneError
from geoseg.core.notices import waiting_for
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
        raise SceneError(f"{store.at(name)}: no such object")
    return found.bytes, found.tag


def _of_url(url: str) -> tuple[int, str]:
    """Request the first byte: URLs that are signed for GET refuse HEAD."""
    parts = urlsplit(url)
    address = urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))
    headers = {"Range": "bytes=0-0", "User-Agent": "geoseg"}
    request = urllib.request.Request(address, headers=headers)  # noqa: S310 - http and https only
    if parts.username is not None:
        login = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
        # Not to be sent to a host that this one redirects to.
        request.add_unredirected_header("Authorization", f"Basic {base64.b64encode(login.encode()).decode()}")
    try:
        with urllib.request.urlopen(request, timeout=_TIMEOUT) as answer:  # noqa: S310
            received = answer.headers
    except urllib.error.HTTPError as error:
        error.close()
        if error.code in {404, 410}:
            raise SceneError(f"{url}: no such file (HTTP {error.code})") from None
        return unknown(url, f"HTTP {error.code}")
    except (OSError, ValueError, HTTPException) as error:
        why = getattr(error, "reason", None) or error
        raise SceneError(f"{url}: cannot be reached: {why}") from None
    total = re.search(r"/(\d+)$", received.get("Content-Range", ""))
    size = int(total[1] if total else received.get("Content-Length") or 0)
    tag = received.get("ETag") or received.get("Last-Modified") or ""
    return (size, tag) if tag or size else unknown(url, "it tells neither size nor ETag")


def unknown(url: str, why: str) -> tuple[int, str]:
    """Warn and return no version: GDAL may have credentials that this module has not."""
    warnings.warn(
        GeosegWarning(f"{url}: its version could not be asked for ({why}); a change of it will go unnoticed"),
        stacklevel=2,
    )
    return 0, ""
