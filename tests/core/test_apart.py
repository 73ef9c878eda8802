"""Calls in processes of their own; the functions are of this module, or of the standard library."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from geoseg.core.apart import call_apart
from geoseg.core.errors import OutputError, SceneError
from tests.conftest import ROOT


def write_number(path):
    Path(path).write_text(str(os.getpid()))


def refuse():
    raise SceneError("a.tif: is of no use")


def die():
    os.kill(os.getpid(), signal.SIGKILL)


def write_and_wait(path):
    write_number(path)
    time.sleep(60)


def test_it_is_another_process(tmp_path):
    call_apart(write_number, tmp_path / "n")
    assert int((tmp_path / "n").read_text()) != os.getpid()


def test_an_error_is_raised_here():
    with pytest.raises(SceneError, match=r"^a\.tif: is of no use$"):
        call_apart(refuse)


def test_a_process_that_is_killed_is_one_line():
    with pytest.raises(OutputError, match=r"^die: its process ended: exit code -9; "):
        call_apart(die)


@pytest.mark.skipif(sys.platform != "linux", reason="Linux alone ends a process with the one that started it")
def test_it_ends_with_the_process_that_asked(tmp_path):
    path = tmp_path / "n"
    code = f"import tests.core.test_apart as t; t.call_apart(t.write_and_wait, {str(path)!r})"
    with subprocess.Popen([sys.executable, "-c", code], cwd=ROOT) as asking:
        until = time.monotonic() + 60
        while not (path.exists() and path.read_text()) and time.monotonic() < until:
            time.sleep(0.05)
        number = int(path.read_text())
        asking.kill()
    until = time.monotonic() + 10
    while Path(f"/proc/{number}").exists() and "Z" not in Path(f"/proc/{number}/stat").read_text().split()[2]:
        assert time.monotonic() < until, "it still runs"
        time.sleep(0.05)
