"""Replace lost workers: jobs that were killed or reached their wall time, machines that went down."""

import asyncio
import re
from collections.abc import Callable
from pathlib import Path
from time import monotonic
from typing import Any

from distributed import SpecCluster
from distributed.core import Status

from geoseg.core.errors import ClusterError, one_line

PERIOD = 2.0
"""Seconds between two checks of the workers."""

EARLY = 60.0
"""Seconds; a worker that ends sooner has failed."""

FAILURES = 3
"""Jobs that may end before the first worker has joined; then something is wrong with all of them."""


class Watchdog:
    """Starts the workers that a cluster lacks.

    Dask forgets a worker some seconds after its connection broke, but does not replace it, and it does not
    notice a job that ended before its worker joined.
    """

    def __init__(
        self,
        cluster: SpecCluster,
        wanted: int,
        listing: list[str] | None,
        logs: Path,
        tell: Callable[[str], None],
    ) -> None:
        """Watch a cluster.

        Parameters
        ----------
        cluster
            The cluster, its scheduler running.
        wanted
            Number of jobs, or of workers where there are no jobs.
        listing
            Command that lists the ids of jobs that have not ended; None where there are no jobs.
        logs
            Folder with the output of the jobs.
        tell
            Called with a line whenever workers are replaced.
        """
        self.cluster = cluster
        self.wanted = wanted
        self.listing = listing
        self.logs = logs
        self.tell = tell
        self.problem: ClusterError | None = None
        """Why no worker joins, once that is clear."""
        self._opened: dict[Any, float] = {}
        self._failures = 0
        self._rest_until = 0.0
        self._came = False
        self._stopping: asyncio.Event | None = None
        self._watching: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Start all workers and watch them from now on.

        Raises
        ------
        ClusterError
            When they cannot be started.
        """
        self.cluster.sync(self._start)

    def stop(self) -> None:
        """Stop watching, after a check under way: no job is submitted that nobody would cancel."""
        self.cluster.sync(self._stop)

    async def _start(self) -> None:
        await self._check()
        self._stopping = asyncio.Event()
        self._watching = asyncio.create_task(self._watch(self._stopping))

    async def _stop(self) -> None:
        if self._stopping is not None and self._watching is not None:
            self._stopping.set()
            await self._watching

    async def _watch(self, stopping: asyncio.Event) -> None:
        while not stopping.is_set():
            try:
                await asyncio.wait_for(stopping.wait(), PERIOD)
            except TimeoutError:
                try:
                    await self._check()
                except ClusterError as error:
                    # A batch system or a machine may not answer for a while.
                    self._fail(1)
                    self.tell(f"cluster: {error}; trying again")

    async def _check(self) -> None:
        """Forget workers whose job has ended, and start the missing ones."""
        cluster = self.cluster
        if self.listing is not None:
            await self._forget_ended()
        missing = [n for n in cluster.worker_spec if n not in cluster.workers]
        again = [n for n in missing if n in self._opened]
        if again:
            early = sum(monotonic() - self._opened.pop(n) < EARLY for n in again)
            self._failures = self._failures + early if early else 0
            self._fail(0)
            self.tell(f"cluster: {len(again)} of {self.wanted} workers were lost and are replaced")
        self._came = self._came or bool(cluster.scheduler_info["workers"])
        if self.problem is not None or monotonic() < self._rest_until:
            return
        while len(cluster.worker_spec) < self.wanted:
            cluster.worker_spec.update(cluster.new_worker_spec())
        try:
            await cluster
        except (ClusterError, RuntimeError, OSError) as error:
            await self._forget([n for n, w in cluster.workers.items() if w.status != Status.running])
            raise error if isinstance(error, ClusterError) else ClusterError(_why(error)) from error
        for name in cluster.workers:
            self._opened.setdefault(name, monotonic())

    async def _forget_ended(self) -> None:
        """Forget jobs that the batch system lists no more and that have no worker in the cluster."""
        before = dict(self.cluster.workers)
        process = await asyncio.create_subprocess_exec(
            *(self.listing or ()), stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL
        )
        out, _ = await process.communicate()
        if process.returncode:
            return  # the batch system does not answer; the next check asks again
        alive = set(re.findall(r"^\s*(\d+)", out.decode(), re.MULTILINE))
        here = {str(w["name"]) for w in self.cluster.scheduler_info["workers"].values()}
        ended = [
            name
            for name, job in before.items()
            if self.cluster.workers.get(name) is job
            and job.job_id not in alive
            and not any(h == str(name) or h.startswith(f"{name}-") for h in here)
        ]
        if ended and not here and not self._came:
            self._fail(len(ended))
            if self._failures >= min(FAILURES, 2 * self.wanted):
                self.problem = ClusterError(self._last_output(before[ended[-1]].job_id))
        await self._forget(ended)

    async def _forget(self, names: list[Any]) -> None:
        for name in names:
            worker = self.cluster.workers.pop(name, None)
            if worker is not None:
                await worker.close()
                worker.status = Status.closed

    def _fail(self, times: int) -> None:
        """Count failures; after more than one, wait twice as long each time, up to five minutes."""
        self._failures += times
        if self._failures > 1:
            self._rest_until = monotonic() + min(300.0, 2.0**self._failures)

    def _last_output(self, job: str) -> str:
        """Return how many jobs ended early, with the last line that one of them wrote."""
        files = [p for p in self.logs.glob(f"*{job}*") if p.is_file() and p.stat().st_size]
        lines = [n for p in files for n in p.read_text(errors="replace").splitlines() if n.strip()]
        last = f"; the last line of {files[-1]}: {lines[-1].strip()}" if lines else f"; look into {self.logs}"
        return f"{self._failures} jobs ended before their worker came{last}"


def _why(error: Exception) -> str:
    """Return the error output of a command of the batch system."""
    command, output = (re.search(rf"{part}:\n(.*)\n", str(error)) for part in ("Command", "stderr"))
    if command is None or output is None:
        return one_line(error)
    return f"{command[1].split()[0]}: {output[1].strip()}"
