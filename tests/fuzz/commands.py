"""What must be true of every command, whatever it is given."""

import contextlib
import faulthandler
import os
import resource
import signal
import sys
import tempfile
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path

import psutil
from typer.testing import CliRunner, Result

from geoseg.cli.app import app
from geoseg.cli.messages import LONGEST_LINE
from tests.fuzz.world import World

SECONDS = 60
"""Longest that a command on input this small may take, on a busy machine."""

MEMORY = 1_500_000_000
"""Bytes that a command may take beyond those of the process before it."""

BUGS = ("Traceback (most recent call last)", "internal error", "out of memory", "MemoryError")


class Hang(BaseException):
    """A command takes too long; no `except Exception` catches it."""


def command(world: World, *arguments: object, may_leave: Sequence[str] = ()) -> Result:
    """Run a command of geoseg in this process and in the work folder; check how it ends.

    `may_leave` are the files and folders of the work folder that it may write when it succeeds.

    Raises
    ------
    AssertionError
        When it does not end as it should.
    """
    words = [str(a) for a in arguments]
    before, processes = _files(world.work), _processes()
    with _what_libraries_say() as said:
        try:
            with _limits():
                done = CliRunner().invoke(app, words)
        except Hang:
            raise AssertionError(f"{words}: takes more than {SECONDS} s") from None
    _check_end(words, done)
    assert not said, f"{words}: a library says {said[0][:1000]!r}"
    _check_memory(words)
    left = {f for f in _files(world.work) - before if f.split("/")[0] not in may_leave}
    assert not left, f"{words}: left {sorted(left)[:5]}"
    assert _processes() <= processes, f"{words}: left a process"
    return done


def _check_end(words: Sequence[str], done: Result) -> None:
    said = f"{words}: exit code {done.exit_code}\n{done.stdout[-1500:]}{done.stderr[-3000:]}"
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise AssertionError(said) from done.exception
    assert done.exit_code in (0, 1, 2), said
    assert not any(bug in done.stderr for bug in BUGS), said
    lines = done.stderr.splitlines()
    long = [line for line in lines if len(line) > LONGEST_LINE]
    assert not long, f"a line of {len(long[0])} characters: {said}"
    errors = [line for line in lines if line.startswith(("error: ", "Usage", "Error"))]
    # A table of checks or outcomes on stdout says what failed, too.
    assert done.exit_code == 0 or errors or done.stdout, said
    assert done.exit_code or not errors, said
    assert not any(0x20 > ord(c) != 0x0A or 0x7F <= ord(c) < 0xA0 for c in done.stderr + done.stdout), said


@contextlib.contextmanager
def _what_libraries_say() -> Iterator[list[str]]:
    """Collect what is written to the files 1 and 2 themselves, past Python."""
    said: list[str] = []
    kept = os.dup(1), os.dup(2)
    with tempfile.TemporaryFile(dir="/tmp") as file:
        for number in (1, 2):
            os.dup2(file.fileno(), number)
        try:
            yield said
        finally:
            for number, before in zip((1, 2), kept, strict=True):
                os.dup2(before, number)
                os.close(before)
            file.seek(0)
            if text := file.read().decode(errors="replace"):
                said.append(text)


@contextlib.contextmanager
def _limits() -> Iterator[None]:
    def stop(*_: object) -> None:
        raise Hang

    before = signal.signal(signal.SIGALRM, stop), signal.getsignal(signal.SIGTERM), Path.cwd()
    timer = signal.setitimer(signal.ITIMER_REAL, SECONDS)
    if not _in_pytest():
        # Code that never comes back to Python is not interrupted by the alarm.
        faulthandler.dump_traceback_later(2 * SECONDS, exit=True)
    _forget_peak()
    try:
        with warnings.catch_warnings():
            yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before[0])
        # The time limit of pytest.
        signal.setitimer(signal.ITIMER_REAL, *timer)
        if not _in_pytest():
            faulthandler.cancel_dump_traceback_later()
        signal.signal(signal.SIGTERM, before[1])
        os.chdir(before[2])


def _in_pytest() -> bool:
    return "PYTEST_CURRENT_TEST" in os.environ


def _forget_peak() -> None:
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")
    _before["bytes"] = psutil.Process().memory_info().rss


_before = {"bytes": 0}


def _check_memory(words: Sequence[str]) -> None:
    if sys.platform != "linux":
        return
    status = Path("/proc/self/status").read_text().split("VmHWM:")[1]
    grown = int(status.split()[0]) * 1024 - _before["bytes"]
    assert grown < MEMORY, f"{words}: takes {grown / 1e9:.1f} GB"


def limit_memory(more: int = 6_000_000_000) -> None:
    """Let this process take so many bytes more, and no machine be brought down."""
    used = psutil.Process().memory_info().vms + more
    resource.setrlimit(resource.RLIMIT_AS, (used, used))


def _processes() -> set[int]:
    return {p.pid for p in psutil.Process().children()}


def _files(folder: Path) -> set[str]:
    return {str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_symlink() or not p.is_dir()}


@contextlib.contextmanager
def in_work_folder(world: World) -> Iterator[None]:
    """Make a new work folder and go there; temporary files must be gone at the end."""
    temporary = tempfile.tempdir
    before = Path.cwd()
    with tempfile.TemporaryDirectory(dir=world.folder, ignore_cleanup_errors=True) as folder:
        world.work = Path(folder)
        world.fill()
        (world.folder / "tmp").mkdir(exist_ok=True)
        tempfile.tempdir = str(world.folder / "tmp")
        os.chdir(folder)
        try:
            yield
            # Dask leaves an empty folder.
            left = {f for f in _files(world.folder / "tmp") if not f.endswith(".lock")}
            assert not left, f"temporary files are left: {sorted(left)[:3]}"
        finally:
            os.chdir(before)
            tempfile.tempdir = temporary
