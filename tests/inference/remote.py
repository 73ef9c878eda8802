"""A scheduler and workers as processes of their own, and `geoseg` that uses them.

Run as a program it is `geoseg` on the scheduler that `GEOSEG_SCHEDULER` names:
`python -m tests.inference.remote run ...`.
"""

import contextlib
import os
import re
import subprocess
import sys
import time
from pathlib import Path

from tests import processes
from tests.conftest import ROOT

WORKER = ("--resources", "GPU=2", "--nthreads", "3", "--no-nanny", "--no-dashboard", "--memory-limit", "0")
SETTINGS = {
    "DASK_DISTRIBUTED__SCHEDULER__WORKER_TTL": "5s",
    "DASK_DISTRIBUTED__SCHEDULER__ALLOWED_FAILURES": "10",
    "DASK_DISTRIBUTED__COMM__TIMEOUTS__CONNECT": "30s",
    # Dask takes no less than 11 s.
    "DASK_DISTRIBUTED__COMM__TIMEOUTS__TCP": "12s",
}


class Cluster:
    """A scheduler, and workers that are started, frozen and killed by hand.

    Parameters
    ----------
    folder
        Where they log.
    prefixes
        A command before each process (`ip netns exec NAME`): that of the scheduler, and of workers by name.
    slow
        Seconds that the network of a worker sleeps for each batch.
    """

    def __init__(self, folder: Path, host="127.0.0.1", prefixes=None, slow=0.02) -> None:
        self.folder, self.host, self.prefixes = folder, host, prefixes or {}
        self.processes: dict[str, subprocess.Popen | processes.Process] = {}
        self.env = {**os.environ, **SETTINGS, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
        self.env["GEOSEG_SLOW"] = str(slow)
        self.start(
            "scheduler", "distributed.cli.dask_scheduler", "--host", host, "--port", "0", "--no-dashboard"
        )
        self.address = self._said("scheduler", r"Scheduler at: +(tcp://\S+)")

    def start(self, name, module, *arguments):
        prefix = self.prefixes.get(name, ())
        with (self.folder / f"{name}.log").open("wb") as log:
            if prefix:
                command = [*prefix, sys.executable, "-m", module, *arguments]
                process = subprocess.Popen(command, cwd=self.folder, env=self.env, stdout=log, stderr=log)
            else:
                process = processes.start(module, *arguments, cwd=self.folder, env=self.env, output=log)
        self.processes[name] = process

    def work(self, *names):
        """Start workers and wait until they are there."""
        self.begin(*names)
        for name in names:
            self._said(name, r"(Registered to)")

    def begin(self, *names):
        """Start workers."""
        for name in names:
            self.start(name, "tests.runs.worker", self.address, "--name", name, *WORKER)

    def _said(self, name, pattern, limit=90):
        end = time.monotonic() + limit
        while True:
            text = (self.folder / f"{name}.log").read_text()
            if found := re.search(pattern, text):
                return found[1]
            assert self.processes[name].poll() is None, text
            assert time.monotonic() < end, text
            time.sleep(0.05)

    def signal(self, name, number):
        self.processes[name].send_signal(number)

    def kill(self, name):
        process = self.processes.pop(name)
        process.kill()
        process.wait()

    def close(self):
        for name in [n for n in self.processes if n != "scheduler"] + ["scheduler"]:
            if name in self.processes:
                self.kill(name)


@contextlib.contextmanager
def cluster(folder, *workers, **options):
    """Yield a cluster with these workers."""
    folder.mkdir(parents=True, exist_ok=True)
    started = Cluster(folder, **options)
    try:
        started.work(*workers)
        yield started
    finally:
        started.close()


if __name__ == "__main__":
    from geoseg.cli.app import main

    sys.argv += ["--cluster", os.environ["GEOSEG_SCHEDULER"]]
    main()
