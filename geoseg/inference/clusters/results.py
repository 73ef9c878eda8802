"""The results that a local worker keeps: fringes that wait long go to its disk."""

from collections.abc import Iterator, MutableMapping
from pathlib import Path
from typing import Any

from distributed.spill import SpillBuffer

from geoseg.inference.driver import PARTS

KEPT_BYTES = 64_000_000
"""Fringes that stay in memory."""


class Results(MutableMapping[Any, Any]):
    """Results by the key of their task.

    A line of fringes waits for the next line of blocks, as long as the scene is wide: those used least
    recently go to disk, or stay where there is no room. Everything else is small or soon done with.

    Parameters
    ----------
    worker_local_directory
        The worker's own folder.
    """

    def __init__(self, worker_local_directory: str) -> None:
        self._fringes = SpillBuffer(str(Path(worker_local_directory) / "fringes"), target=KEPT_BYTES)
        self._others: dict[Any, Any] = {}

    def _place(self, key: Any) -> MutableMapping[Any, Any]:
        return self._fringes if str(key).partition("-")[0] in PARTS else self._others

    def __getitem__(self, key: Any) -> Any:
        return self._place(key)[key]

    def __setitem__(self, key: Any, value: Any) -> None:
        self._place(key)[key] = value

    def __delitem__(self, key: Any) -> None:
        del self._place(key)[key]

    def __iter__(self) -> Iterator[Any]:
        yield from self._fringes
        yield from self._others

    def __len__(self) -> int:
        return len(self._fringes) + len(self._others)
