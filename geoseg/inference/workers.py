"""The worker monitor: workers join late, die, freeze or lose the network while a run goes on."""

import time
from collections.abc import Iterator
from typing import Any

import dask
from dask.utils import parse_timedelta
from distributed import Client

from geoseg.core.errors import ClusterError, PlanError
from geoseg.inference.events import Fact
from geoseg.inference.plan import SLOTS

RESOURCE = "GPU"
"""Dask resource that every worker offers, on a GPU or a CPU: one unit for each block it handles at once."""

_POLL_MIN = 1.0
"""Least seconds between two polls of the scheduler."""

_POLL_MAX = 5.0
"""Most seconds between two polls of the scheduler."""


class WorkerMonitor:
    """Keeps track of the workers that can take blocks.

    Parameters
    ----------
    client
        A client of the cluster.

    Raises
    ------
    PlanError
        When the cluster has workers, but none offers the resource.
    ClusterError
        When the scheduler is gone.
    """

    def __init__(self, client: Client) -> None:
        self.client = client
        self.address = client.scheduler.address
        timeout = dask.config.get("distributed.scheduler.no-workers-timeout")
        self.timeout = float("inf") if timeout is None else float(parse_timedelta(timeout))
        """Seconds without any worker after which the run stops."""
        self.addresses: set[str] = set()
        self.next_poll = self.last_seen = time.monotonic()
        self.warned = False
        workers = self._workers()
        self.addresses = _usable(workers)
        if workers and not self.addresses:
            raise PlanError(
                f"no worker of the cluster offers the resource {RESOURCE}; "
                f"start workers with --resources {RESOURCE}={SLOTS}"
            )

    @property
    def count(self) -> int:
        """Number of workers that can take blocks."""
        return len(self.addresses)

    def poll(self) -> Iterator[Fact]:
        """Poll the scheduler when it is time; yield an event for each worker that joined or left.

        Raises
        ------
        ClusterError
            When the scheduler is gone, or there was no worker for longer than the timeout.
        """
        if self.client.status != "running":
            raise self.lost_cluster()
        now = time.monotonic()
        if now < self.next_poll:
            return
        usable = _usable(self._workers())
        # A poll takes longer with more workers. A pause of 20 times that leaves 95 % of the driver's time.
        self.next_poll = time.monotonic() + min(max(_POLL_MIN, 20 * (time.monotonic() - now)), _POLL_MAX)
        for state, addresses in (("joined", usable - self.addresses), ("left", self.addresses - usable)):
            for address in sorted(addresses):
                yield _fact("worker", worker=address, state=state)
        self.addresses = usable
        if usable:
            self.last_seen, self.warned = time.monotonic(), False
        elif not self.warned:
            self.warned = True
            yield _fact("waiting", why="no worker is there", at_most_seconds=self.timeout)
        if time.monotonic() - self.last_seen > self.timeout:
            raise self._without_workers()

    def lost_cluster(self) -> ClusterError:
        """Return the error for tasks that were lost with their scheduler or with the last worker."""
        if self.client.status == "running" and not self.addresses:
            return self._without_workers()
        return ClusterError(
            f"the scheduler at {self.address} is gone; finished blocks are kept: start it again, or another "
            "cluster, and run the same command"
        )

    def _without_workers(self) -> ClusterError:
        return ClusterError(
            f"no worker of the cluster at {self.address} is left, nor did one come within {self.timeout:.0f} "
            "s; finished blocks are kept: start workers and run the same command"
        )

    def _workers(self) -> dict[str, Any]:
        if self.client.status != "running":
            raise self.lost_cluster()
        try:
            return dict(self.client.scheduler_info(n_workers=-1)["workers"])
        except (OSError, TimeoutError, ValueError) as error:
            raise self.lost_cluster() from error


def dashboard(client: Client) -> Fact:
    """Return the event with the address of Dask's dashboard."""
    link = str(client.dashboard_link)
    if client.scheduler.address.startswith("inproc"):
        # Dask's link names the host, but a scheduler in this process listens on the loopback only.
        link = f"http://127.0.0.1:{client.scheduler_info()['services']['dashboard']}/status"
    return _fact("dashboard", address=link)


def _usable(workers: dict[str, Any]) -> set[str]:
    return {address for address, w in workers.items() if w.get("resources", {}).get(RESOURCE)}


def _fact(event: str, **facts: Any) -> Fact:
    return {"time": round(time.time(), 4), "event": event, **facts}
