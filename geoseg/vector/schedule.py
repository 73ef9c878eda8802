"""In which blocks a map is worked on, and how many at a time."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor, Future
from dataclasses import dataclass
from itertools import chain
from typing import TypeVar

from rasterio.windows import Window

T = TypeVar("T")

BLOCK = 1024
"""Rows and columns of a block. Where blocks lie makes no difference to a polygon; it decides in which order
they come and at which vertex a ring begins. So it is fixed, and files are the same byte by byte."""


def windows_of(shape: tuple[int, int], block: int) -> list[Window]:
    """Return the blocks of a map, row by row; the last ones may be smaller.

    Parameters
    ----------
    shape
        Rows and columns of the map.
    block
        Rows and columns of a block.
    """
    rows, cols = shape
    return [
        Window(col, row, min(block, cols - col), min(block, rows - row))
        for row in range(0, rows, block)
        for col in range(0, cols, block)
    ]


@dataclass(frozen=True)
class Workers:
    """Where blocks are worked on."""

    executor: Executor
    """Threads (the work releases the interpreter's lock), or Dask's `Client.get_executor()`."""
    ahead: int
    """Blocks that are begun before they are needed."""

    def in_order(self, tasks: Iterable[Callable[[], T]]) -> Iterator[T]:
        """Yield what the tasks return, in their order; only a bounded number is under way or waits."""
        waiting: deque[Future[T]] = deque()
        try:
            for task in chain(tasks, [None]):
                if task is not None:
                    waiting.append(self.executor.submit(task))
                while waiting and (task is None or len(waiting) > self.ahead):
                    yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()
