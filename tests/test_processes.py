"""Processes that are forked do what new ones do."""

import os
import signal
import subprocess
import sys

import pytest

from tests import processes
from tests.conftest import ROOT


@pytest.mark.parametrize("arguments", [["inspect", "landcover-s2", "--json"], ["run", "nowhere.yaml"]])
def test_a_forked_command_says_and_returns_what_a_new_interpreter_does(arguments):
    command = [sys.executable, "-m", "geoseg", *arguments]
    new = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    forked = processes.run("geoseg", *arguments)
    assert (forked.returncode, forked.stdout, forked.stderr) == (new.returncode, new.stdout, new.stderr)


def test_a_forked_process_is_one_of_its_own(tmp_path):
    code = "import os; print(os.getcwd(), os.getsid(0), os.environ['GEOSEG_TEST'])"
    env = {**os.environ, "GEOSEG_TEST": "here", "OMP_NUM_THREADS": "1"}
    with (tmp_path / "log").open("wb") as log:
        process = processes.start(*processes.ONCE, code, cwd=tmp_path, env=env, output=log)
    assert isinstance(process, processes.Process)
    assert process.wait() == 0
    assert (tmp_path / "log").read_text().startswith(f"{tmp_path} {process.pid} here\n")
    assert os.getsid(0) != process.pid


def test_a_forked_process_can_be_killed_and_waited_for():
    process = processes.start(*processes.ONCE, "import time; time.sleep(60)")
    with pytest.raises(subprocess.TimeoutExpired):
        process.wait(0.01)
    assert process.poll() is None
    process.kill()
    assert process.wait() == -signal.SIGKILL
    with pytest.raises(ProcessLookupError):
        os.kill(process.pid, 0)
