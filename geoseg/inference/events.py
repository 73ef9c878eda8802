"""What happens to blocks, as facts that leave the workers while they work.

Every fact is a flat mapping of plain values with `time` (seconds since 1970, by the clock of whoever says it)
and `event`. Those of the tasks, with `scene`, `block` and `worker`:

- `begun`: a worker took a block up. A block that is begun twice was done twice.
- `unreadable`: a try to read it failed, with `try` and `why`.
- `predicted`, `settled`: it is predicted, or staged, with `spans`, a list of [what, start, seconds]. What is
  one of `read`, `wait` (for a place on the device), `forward`, `sum`, and of `settle`, `write`.

The driver adds `worker` (its address and `state`, `joined` or `left`) and `waiting` (no worker is there),
the run `dashboard` (the `address` of Dask's).
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, TypeAlias

from distributed import get_worker

Fact: TypeAlias = dict[str, Any]
"""One event."""

Spans: TypeAlias = list[tuple[str, float, float]]
"""What was done, when it began (seconds since 1970) and how long it took (seconds)."""


class Stopwatch:
    """Collects spans; several threads may use one."""

    def __init__(self) -> None:
        self.spans: Spans = []

    @contextmanager
    def time(self, what: str) -> Iterator[None]:
        """Measure what stands in the block."""
        began, start = time.time(), time.perf_counter()
        try:
            yield
        finally:
            self.add(what, began, time.perf_counter() - start)

    def add(self, what: str, began: float, seconds: float) -> None:
        """Add a span that was measured elsewhere."""
        self.spans.append((what, round(began, 6), round(seconds, 6)))

    def total(self, what: str) -> float:
        """Return the seconds spent on something, all threads together."""
        return sum(seconds for name, _, seconds in self.spans if name == what)


def report(topic: str, event: str, **facts: Any) -> None:
    """Tell whoever drives this run; says nothing where no Dask worker runs the task, or nobody listens."""
    try:
        worker = get_worker()
    except ValueError:
        return
    if topic:
        worker.log_event(
            topic, {"time": round(time.time(), 4), "event": event, "worker": worker.address, **facts}
        )
