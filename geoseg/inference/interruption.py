"""A request to end a run early; the first one lets the blocks under way be finished."""

import contextlib
from collections.abc import Iterator


class Interruption:
    """A request to end that signal handlers make and the driver obeys."""

    def __init__(self) -> None:
        self.requested = False
        """Whether the run shall end as soon as the blocks under way are staged."""
        self.accepted = False
        """Whether a request came while `graceful` work was running, which obeys it."""
        self._graceful = 0

    @contextlib.contextmanager
    def graceful(self) -> Iterator[None]:
        """Mark work that polls `requested` and ends tidily by itself."""
        self._graceful += 1
        try:
            yield
        finally:
            self._graceful -= 1

    def request(self) -> bool:
        """Request the end; return whether this is the first request and graceful work will obey it."""
        first = bool(self._graceful) and not self.requested
        self.requested = True
        self.accepted = self.accepted or first
        return first
