"""Commands in processes of their own, without the seconds that an interpreter spends on its imports.

`start` and `run` do what `subprocess.Popen` and `subprocess.run` do with `python -m MODULE ARGUMENTS`. The
process is forked from one that has done the imports already, see `tests.zygote`. It is a process like any
other: it has its own session, folder, environment and output, can be signalled and killed, and ends with an
exit code of its own. What tests how a process starts, or what memory it takes, starts a new interpreter.

What trains is forked from another process, which has imported `TRAINING` as well: torch and its company take
eight seconds, and a run must do without them. Networks are converted to OpenVINO in such a process itself.
"""

import atexit
import functools
import json
import os
import select
import signal
import socket
import subprocess
import sys
import tempfile
import textwrap
from collections.abc import Mapping
from pathlib import Path
from typing import BinaryIO

ROOT = Path(__file__).parent.parent

TRAINING = "geoseg.training.train"
"""The module that imports all that a training needs; to be given as `imported`."""

ONCE = ("timeit", "-n", "1", "-r", "1")
"""The module of the standard library that runs some code, once."""

_READ_ONCE = ("MALLOC_", "NUMBA_", "OPENBLAS_", "PYTHON")
"""Beginnings of variables that an interpreter, or a library that is imported, reads when it starts."""

_HARMLESS = {"PYTHONPATH", "PYTHONHASHSEED"}
"""Those that may differ: Dask sets a hash seed for the rest of a process that computes in others."""


class Zygote:
    """The process that forks others; it ends with this one."""

    def __init__(self, *imported: str) -> None:
        self.requests, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.environment = dict(os.environ)
        with theirs:
            command = [sys.executable, "-m", "tests.zygote", str(theirs.fileno()), *imported]
            self.process = subprocess.Popen(
                command,
                cwd=ROOT,
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                start_new_session=True,
            )

    def close(self) -> None:
        """End the process, which waits for requests."""
        self.requests.close()
        self.process.wait(10)

    def fork(self, request: Mapping[str, object], *files: int) -> socket.socket:
        """Ask for a process with these files as its output; return what tells its number and its end."""
        ours, theirs = socket.socketpair()
        with theirs:
            socket.send_fds(self.requests, [json.dumps(request).encode()], [*files, theirs.fileno()])
        return ours


@functools.cache
def zygote(imported: str = "") -> Zygote:
    """Start the process that forks others and has imported this module as well, once."""
    made = Zygote(*filter(None, [imported]))
    atexit.register(made.close)
    return made


class Process:
    """A command that runs: what tests use of `subprocess.Popen`."""

    stdin = stdout = stderr = None

    def __init__(
        self,
        command: list[str],
        cwd: Path,
        env: Mapping[str, str],
        output: BinaryIO | None = None,
        imported: str = "",
    ) -> None:
        self.args = command
        self.returncode: int | None = None
        self._files = [] if output else [tempfile.TemporaryFile("w+") for _ in range(2)]  # noqa: SIM115
        self._said = ["", ""]
        request = {"module": command[2], "arguments": command[3:], "cwd": str(cwd), "env": dict(env)}
        out, err = (f.fileno() for f in ([output] * 2 if output else self._files))
        self._answers = zygote(imported).fork(request, out, err)
        self.pid = self._answer()

    def _answer(self) -> int:
        answer = self._answers.recv(4, socket.MSG_WAITALL)
        assert len(answer) == 4, "tests.zygote has died"
        return int.from_bytes(answer, "little", signed=True)

    def poll(self) -> int | None:
        """Return the exit code, -N after signal N, or None while the process runs."""
        if self.returncode is None and select.select([self._answers], [], [], 0)[0]:
            self.wait()
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """Wait for the end; return the exit code."""
        if self.returncode is None:
            if not select.select([self._answers], [], [], timeout)[0]:
                raise subprocess.TimeoutExpired(self.args, timeout or 0)
            self.returncode = self._answer()
            for i, file in enumerate(self._files):
                file.seek(0)
                self._said[i] = file.read()
                file.close()
            self._answers.close()
        return self.returncode

    def communicate(self, timeout: float | None = None) -> tuple[str, str]:
        """Wait for the end; return what was written to stdout and stderr."""
        self.wait(timeout)
        return self._said[0], self._said[1]

    def send_signal(self, number: int) -> None:
        """Send a signal, unless the process has ended."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        """Kill the process, unless it has ended."""
        self.send_signal(signal.SIGKILL)

    def __enter__(self) -> "Process":
        return self

    def __exit__(self, *_: object) -> None:
        self.wait()


def start(
    module: str,
    *arguments: object,
    cwd: Path = ROOT,
    env: Mapping[str, str] | None = None,
    output: BinaryIO | None = None,
    imported: str = "",
) -> Process | subprocess.Popen[str]:
    """Start `python -m MODULE ARGUMENTS`, which finds this repository whatever its folder is.

    Where `env` has a variable that only a new interpreter would read, one is started. `output` takes what is
    written to stdout and stderr; without it, `communicate` returns that. `imported` is a module that the
    process has imported besides those of a run.
    """
    command = [sys.executable, "-m", module, *map(str, arguments)]
    environment = {**(os.environ if env is None else env)}
    # Elsewhere libraries of the system are not made for being forked.
    if sys.platform == "linux" and _read_once(environment) == _read_once(zygote(imported).environment):
        return Process(command, cwd, environment, output, imported)
    return subprocess.Popen(
        command, cwd=cwd, env={**environment, "PYTHONPATH": str(ROOT)}, text=True, start_new_session=True,
        stdout=output or subprocess.PIPE, stderr=output or subprocess.PIPE,
    )  # fmt: skip


def _read_once(environment: Mapping[str, str]) -> dict[str, str]:
    return {k: v for k, v in environment.items() if k.startswith(_READ_ONCE) and k not in _HARMLESS}


def run(
    module: str,
    *arguments: object,
    cwd: Path = ROOT,
    env: Mapping[str, str] | None = None,
    timeout: float = 300,
    imported: str = "",
) -> subprocess.CompletedProcess[str]:
    """Run `python -m MODULE ARGUMENTS` to its end, or kill it after `timeout` seconds; see `start`."""
    process = start(module, *arguments, cwd=cwd, env=env, imported=imported)
    try:
        out, err = process.communicate(timeout=timeout)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
        raise
    return subprocess.CompletedProcess(process.args, process.wait(), out, err)


def run_code(code: str, *arguments: object, imported: str = "") -> subprocess.CompletedProcess[str]:
    """Run `python -c CODE ARGUMENTS`, for what would spoil the process of the tests; see `run`."""
    return run("tests.snippet", textwrap.dedent(code), *arguments, imported=imported)
