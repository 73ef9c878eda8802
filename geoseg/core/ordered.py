"""Work that several workers share and that comes back in its order."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor, Future
from dataclasses import dataclass
from itertools import chain
from typing import TypeVar

T = TypeVar("T")


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
