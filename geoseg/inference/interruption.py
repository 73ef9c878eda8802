"""A wish to end: the first one lets the blocks in hand be finished."""

import contextlib
from collections.abc import Iterator


class Interruption:
    """What signals and the driver share."""

    def __init__(self) -> None:
        self.asked = False
        """Whether to end as soon as the blocks in hand are staged."""
        self.heard = False
        """Whether somebody who heeds it was asked."""
        self._heeded = 0

    @contextlib.contextmanager
    def heeded(self) -> Iterator[None]:
        """Mark work that looks at `asked` and ends tidily by itself."""
        self._heeded += 1
        try:
            yield
        finally:
            self._heeded -= 1

    def ask(self) -> bool:
        """Ask to end; return whether somebody will heed it who has not been asked before."""
        first = bool(self._heeded) and not self.asked
        self.asked = True
        self.heard = self.heard or first
        return first
