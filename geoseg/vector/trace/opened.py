"""The rasters that a process has open while polygons are made, each used by one thread at a time.

GDAL keeps the decoded tiles that neighbouring blocks share as long as a file is open. Worker threads outlive
the maps that they read, so no thread owns a handle: handles are few, and closed when their file is gone.
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import rasterio

_IDLE = 32
"""Handles that are kept open while no thread uses them."""

_Version = tuple[str, int, int, int]
"""Path, file number, size, and time of the last change in ns: a file written again is another one."""


class OpenRasters:
    """Open rasters of this process. The handle that was used last is used next."""

    def __init__(self) -> None:
        self._idle: list[tuple[_Version, Any]] = []
        self._lock = threading.Lock()

    @contextmanager
    def borrow(self, path: Path) -> Iterator[Any]:
        """Yield an open raster, which no other thread has.

        Raises
        ------
        RasterioError
            When the file cannot be opened.
        """
        version = _version(path)
        handle = self._take(version) if version else None
        if handle is None:
            self._close([e for e in self._idle_ones() if _version(Path(e[0][0])) != e[0]])
            handle = rasterio.open(path)
        try:
            yield handle
        except BaseException:
            handle.close()
            raise
        self._give_back(version, handle)

    def close(self) -> None:
        """Close the rasters that no thread uses."""
        self._close(self._idle_ones())

    def _take(self, version: _Version) -> Any | None:
        with self._lock:
            for i in reversed(range(len(self._idle))):
                if self._idle[i][0] == version:
                    return self._idle.pop(i)[1]
        return None

    def _give_back(self, version: _Version | None, handle: Any) -> None:
        if version is None:
            handle.close()
            return
        with self._lock:
            self._idle.append((version, handle))
            oldest = self._idle.pop(0)[1] if len(self._idle) > _IDLE else None
        if oldest is not None:
            oldest.close()

    def _idle_ones(self) -> list[tuple[_Version, Any]]:
        with self._lock:
            return list(self._idle)

    def _close(self, entries: list[tuple[_Version, Any]]) -> None:
        for entry in entries:
            with self._lock:
                mine = entry in self._idle
                if mine:
                    self._idle.remove(entry)
            if mine:
                entry[1].close()


def _version(path: Path) -> _Version | None:
    try:
        stat = path.stat()
    except OSError:
        return None
    return str(path), stat.st_ino, stat.st_size, stat.st_mtime_ns


OPEN_RASTERS = OpenRasters()
"""Those of this process."""
