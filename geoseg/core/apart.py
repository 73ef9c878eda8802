"""A call in a process of its own.

For libraries that hold Python's lock for minutes: meanwhile no signal is handled, no progress shown and no
worker answered.
"""

import contextlib
import ctypes
import os
import pickle
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from geoseg.core.errors import GeosegError, OutputError

_CODE = "from geoseg.core.apart import _serve; _serve()"
_PR_SET_PDEATHSIG = 1


def call_apart(function: Callable[..., None], *arguments: object) -> None:
    """Call a function of a module in a new process, which ends with this one.

    Parameters
    ----------
    function
        A function of a module.
    arguments
        Its arguments, which can be pickled.

    Raises
    ------
    GeosegError
        What the function raises.
    OutputError
        When the process was killed, or ended otherwise without an answer.
    """
    # The same modules, wherever this process found them.
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(p or str(Path.cwd()) for p in sys.path)}
    done = subprocess.run(  # noqa: S603
        [sys.executable, "-c", _CODE], input=pickle.dumps((function, arguments)), env=env,
        capture_output=True, check=False,
        # Ctrl-C is for this process, which decides what becomes of the other.
        start_new_session=True,
    )  # fmt: skip
    if done.returncode:
        said = (
            done.stderr.decode(errors="replace").strip().splitlines() or [f"exit code {done.returncode}"]
        )[-1]
        raise OutputError(f"{function.__name__}: its process ended: {said}; is there enough memory?")
    error = pickle.loads(done.stdout)  # noqa: S301 (of the process that was started above)
    if error is not None:
        raise error


def _serve() -> None:
    """Call the function that stdin names; write the error that it raises to stdout."""
    if sys.platform == "linux":
        with contextlib.suppress(OSError, AttributeError):
            ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    function, arguments = pickle.load(sys.stdin.buffer)  # noqa: S301 (of the process that started this one)
    error: GeosegError | None = None
    try:
        function(*arguments)
    except GeosegError as found:
        error = found
    sys.stdout.buffer.write(pickle.dumps(error))
