"""What this process reads over the network, and what GDAL keeps of remote files.

GDAL counts its requests and caches headers and bytes of remote files, but rasterio has no way to either. The
functions of GDAL's C interface are looked up in the library that rasterio has loaded.
"""

import ctypes
import json
import threading
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from rasterio import _env
from rasterio._env import set_gdal_config


@dataclass(frozen=True)
class Traffic:
    """Requests and bytes."""

    requests: int = 0
    bytes: int = 0

    def __add__(self, other: "Traffic") -> "Traffic":
        return Traffic(self.requests + other.requests, self.bytes + other.bytes)

    def __sub__(self, other: "Traffic") -> "Traffic":
        return Traffic(self.requests - other.requests, self.bytes - other.bytes)


_lock = threading.Lock()
_state: dict[str, Traffic] = {"own": Traffic(), "taken": Traffic()}
_versions: dict[str, tuple[int, str]] = {}
"""Version of each remote file that GDAL may have bytes of, by GDAL's path."""


@lru_cache(maxsize=1)
def _gdal() -> Any | None:
    """Return GDAL's library; None where rasterio does not give it away."""
    try:
        library = ctypes.CDLL(_env.__file__)
        library.VSINetworkStatsGetAsSerializedJSON.restype = ctypes.c_void_p
        library.VSINetworkStatsGetAsSerializedJSON.argtypes = [ctypes.c_void_p]
        library.VSIFree.argtypes = [ctypes.c_void_p]
        library.VSIFree.restype = None
        library.VSICurlPartialClearCache.argtypes = [ctypes.c_char_p]
        library.VSICurlPartialClearCache.restype = None
    except (AttributeError, OSError):
        return None
    return library


def can_forget() -> bool:
    """Return whether `forget` works; otherwise GDAL must not cache remote files at all."""
    return _gdal() is not None


def count_requests() -> None:
    """Let GDAL count from now on."""
    set_gdal_config("CPL_VSIL_NETWORK_STATS_ENABLED", "YES")


def add(requests: int, size: int) -> None:
    """Count requests that geoseg made itself, and the bytes that came."""
    with _lock:
        _state["own"] += Traffic(requests, size)


def take() -> Traffic:
    """Return what this process read over the network since the last call."""
    with _lock:
        total = _state["own"] + _counted()
        new, _state["taken"] = total - _state["taken"], total
    return new


def _counted() -> Traffic:
    library = _gdal()
    if library is None:
        return Traffic()
    pointer = library.VSINetworkStatsGetAsSerializedJSON(None)
    if not pointer:
        return Traffic()
    try:
        methods = json.loads(ctypes.string_at(pointer)).get("methods", {})
    finally:
        library.VSIFree(pointer)
    return Traffic(
        sum(m.get("count", 0) for m in methods.values()),
        sum(m.get("downloaded_bytes", 0) for m in methods.values()),
    )


def forget(gdal_path: str) -> None:
    """Let GDAL ask the server again for a remote file, also whether it exists."""
    library = _gdal()
    if library is not None:
        library.VSICurlPartialClearCache(gdal_path.encode())


def forget_other_version(gdal_path: str, version: tuple[int, str]) -> None:
    """Let GDAL forget a remote file that has another version than when it was read before.

    GDAL would mix the bytes of both versions, even when the file was closed in between.
    """
    with _lock:
        known = _versions.setdefault(gdal_path, version)
        _versions[gdal_path] = version
    if known != version:
        forget(gdal_path)
