"""The results of tasks on a local worker: fringes beyond a limit go to its disk."""

from collections.abc import Iterator, MutableMapping
from pathlib import Path
from typing import Any

from distributed.spill import SpillBuffer

from geoseg.inference.driver import PARTS

KEPT_BYTES = 64_000_000
"""Bytes of fringes that stay in memory."""


class Results(MutableMapping[Any, Any]):
    """The results of a worker by the key of their task.

    The fringes of a line of blocks wait for the next line, so their number grows with the width of the scene:
    the least recently used go to disk, or stay in memory where the disk is full. All other results are small
    or soon used.

    Parameters
    ----------
    worker_local_directory
        The worker's scratch folder.
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
