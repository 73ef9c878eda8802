"""Preload of worker processes on the machine of the run: signals reach the process of the run only.

Ctrl-C in a terminal, `timeout` and `kill -- -GROUP` reach every process of a group. A worker that they kill
cannot finish its blocks. In a session of its own it goes on, and ends when the process of the run ends. What
its event loop says then is of no use: the run has taken the results, and stderr is the run's.
"""

import logging
import os
from typing import Any


def dask_setup(_: Any) -> None:
    """Leave the process group and the terminal of the run."""
    os.setsid()
    logging.getLogger("asyncio").setLevel(logging.CRITICAL)
