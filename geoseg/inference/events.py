"""Events of blocks, which workers send to the driver while they work.

Every event is a flat mapping of plain values with `time` (seconds since 1970, by the clock of the sender) and
`event`. Tasks send these, with `scene`, `block` and `worker`:

- `begun`: a worker started to predict a block. A block that begins twice is predicted twice.
- `unreadable`: an attempt to read the block failed, with its number `try` and the reason `why`.
- `predicted`, `settled`: the block is predicted, or staged, with `spans`, a list of [step, start, seconds].
  Steps are `read`, `wait` (for a free forward pass), `forward`, `sum`; of settling, `settle` and `write`.

The driver adds `worker` (an address, and `state`, `joined` or `left`) and `waiting` (there is no worker); the
run adds `dashboard` (the `address` of Dask's dashboard).
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, TypeAlias

from distributed import get_worker

Fact: TypeAlias = dict[str, Any]
"""One event."""

Spans: TypeAlias = list[tuple[str, float, float]]
"""Step, its start (seconds since 1970) and its duration (seconds)."""


class Stopwatch:
    """Collects spans; several threads may share a stopwatch."""

    def __init__(self) -> None:
        self.spans: Spans = []

    @contextmanager
    def time(self, what: str) -> Iterator[None]:
        """Measure the body of the `with` statement."""
        began, start = time.time(), time.perf_counter()
        try:
            yield
        finally:
            self.add(what, began, time.perf_counter() - start)

    def add(self, what: str, began: float, seconds: float) -> None:
        """Add a span that was measured elsewhere."""
        self.spans.append((what, round(began, 6), round(seconds, 6)))

    def total(self, what: str) -> float:
        """Return the seconds spent on a step, summed over all threads."""
        return sum(seconds for name, _, seconds in self.spans if name == what)


def report(topic: str, event: str, **facts: Any) -> None:
    """Send an event to the driver; does nothing outside a Dask worker, or without a topic."""
    try:
        worker = get_worker()
    except ValueError:
        return
    if topic:
        worker.log_event(
            topic, {"time": round(time.time(), 4), "event": event, "worker": worker.address, **facts}
        )
