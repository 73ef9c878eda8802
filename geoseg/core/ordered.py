"""Tasks that several workers share, and whose results are returned in order."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor, Future
from dataclasses import dataclass
from itertools import chain
from typing import TypeVar

T = TypeVar("T")


@dataclass(frozen=True)
class Workers:
    """An executor and how far it may work ahead."""

    executor: Executor
    """Threads (the tasks release the interpreter's lock), or `Client.get_executor()` of Dask."""
    ahead: int
    """Tasks that may start before their result is needed."""

    def in_order(self, tasks: Iterable[Callable[[], T]]) -> Iterator[T]:
        """Yield the results of tasks in their order; at most `ahead` tasks run or wait at a time."""
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
