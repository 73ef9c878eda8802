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

IDLE_HANDLES = 64


class _Handles:
    """The open files of this process, each used by one thread at a time, as GDAL requires.

    The handle that was used last is used next: GDAL caches decoded internal tiles by handle, and neighbouring
    windows share some, whatever thread reads them.
    """

    def __init__(self) -> None:
        self.idle: OrderedDict[SourceFile, list[Any]] = OrderedDict()
        self.lock = threading.Lock()

    @contextmanager
    def borrow(self, source: "SourceFile") -> Iterator[Any]:
        """Yield a handle; after an error it is closed, since its state may be broken."""
        with self.lock:
            kept = self.idle.pop(source, [])
            handle = kept.pop() if kept else None
            if kept:
                self.idle[source] = kept
        # Options of GDAL may be those of one thread, and another thread opened the file.
        prepare_gdal(source.place)
        if handle is None:
            for version in source.parts:
                forget_older(version.path, version)
            forget_older(source.place, source.version)
            handle = open_raster(
                source.place, **({} if source.level is None else {"overview_level": source.level})
            )
        try:
            yield handle
        except BaseException:
            handle.close()
            raise
        with self.lock:
            self.idle.setdefault(source, []).append(handle)
            self.idle.move_to_end(source)
            extra = self._oldest() if sum(map(len, self.idle.values())) > IDLE_HANDLES else None
        if extra is not None:
            extra.close()

    def _oldest(self) -> Any:
        source, kept = next(iter(self.idle.items()))
        handle = kept.pop(0)
        if not kept:
            del self.idle[source]
        return handle


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
