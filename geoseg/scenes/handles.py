"""The open raster files of a process, kept for the next window."""

import os
import threading
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from geoseg.scenes.gdal import open_raster, prepare_gdal
from geoseg.scenes.versions import forget_older

if TYPE_CHECKING:
    from geoseg.scenes.sources import SourceFile

MOST_HANDLES = 64
"""Files that a process holds open, those in use among them; more only while more are in use at once."""


class _Handles:
    """The open files of this process, each used by one thread at a time, as GDAL requires.

    The handle that was used last is used next: GDAL caches decoded internal tiles by handle, and neighbouring
    windows share some, whatever thread reads them.
    """

    def __init__(self) -> None:
        self.idle: OrderedDict[SourceFile, list[Any]] = OrderedDict()
        self.lent = 0
        self.lock = threading.Lock()

    @contextmanager
    def borrow(self, source: "SourceFile") -> Iterator[Any]:
        """Yield a handle; after an error it is closed, since its state may be broken."""
        with self.lock:
            kept = self.idle.pop(source, [])
            handle = kept.pop() if kept else None
            if kept:
                self.idle[source] = kept
            self.lent += 1
            extra = self._extra()
        if extra is not None:
            extra.close()
        # Options of GDAL may be those of one thread, and another thread opened the file.
        try:
            prepare_gdal(source.place)
            if handle is None:
                handle = _open(source)
            yield handle
        except BaseException:
            with self.lock:
                self.lent -= 1
            if handle is not None:
                handle.close()
            raise
        with self.lock:
            self.lent -= 1
            self.idle.setdefault(source, []).append(handle)
            self.idle.move_to_end(source)

    def _extra(self) -> Any:
        """Return the idle handle that was used longest ago when too many are open, else None."""
        if not self.idle or self.lent + sum(map(len, self.idle.values())) <= MOST_HANDLES:
            return None
        source, kept = next(iter(self.idle.items()))
        handle = kept.pop(0)
        if not kept:
            del self.idle[source]
        return handle


def _open(source: "SourceFile") -> Any:
    for version in source.parts:
        forget_older(version.path, version)
    forget_older(source.place, source.version)
    return open_raster(source.place, **({} if source.level is None else {"overview_level": source.level}))


_handles = _Handles()
_inherited: list[_Handles] = []


@contextmanager
def borrow(source: "SourceFile") -> Iterator[Any]:
    """Yield an open handle of a file, for one thread."""
    with _handles.borrow(source) as handle:
        yield handle


def _forget_handles() -> None:
    """Let a forked process, such as a worker that loads training data, open its own handles.

    Parent and child share the offset in an open file: each would read at the position of the other. The
    handles of the parent stay open and unused: closing them takes locks of GDAL that may never be released.
    """
    global _handles  # noqa: PLW0603
    _inherited.append(_handles)
    _handles = _Handles()


os.register_at_fork(after_in_child=_forget_handles)
