"""Preload of workers that a run starts on its own machine: signals are for the process that leads it.

Ctrl-C in a terminal, `timeout` and `kill -- -GROUP` reach every process of a group. A worker that dies of
them cannot finish the blocks in hand. This one ends when its leader ends, however that happens.
"""

import os
from typing import Any


def dask_setup(_: Any) -> None:
    """Leave the leader's process group and terminal."""
    os.setsid()
