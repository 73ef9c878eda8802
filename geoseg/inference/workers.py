"""Which workers are there: they come late, die, freeze and are cut off while a run goes on."""

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
"""Dask resource that stands for a place in a worker's pipeline, on a GPU or a CPU."""

_EVERY = 1.0
"""Seconds between two looks, at least."""

_SELDOM = 5.0
"""Seconds between two looks, at most."""


class WorkerMonitor:
    """The workers of a cluster that can take blocks.

    Raises
    ------
    PlanError
        When there are workers, and none of them has the resource.
    """

    def __init__(self, client: Client) -> None:
        self.client = client
        self.address = client.scheduler.address
        limit = dask.config.get("distributed.scheduler.no-workers-timeout")
        self.limit = float("inf") if limit is None else float(parse_timedelta(limit))
        """Seconds without any worker after which the run stops."""
        self.able: set[str] = set()
        self.next = self.seen = time.monotonic()
        self.said = False
        workers = self._workers()
        self.able = _able(workers)
        if workers and not self.able:
            raise PlanError(
                f"no worker of the cluster offers the resource {RESOURCE}; "
                f"start workers with --resources {RESOURCE}={SLOTS}"
            )

    @property
    def count(self) -> int:
        """Number of workers that can take blocks."""
        return len(self.able)

    def poll(self) -> Iterator[Fact]:
        """Count the workers again, if it is time; yield who came and who went.

        Raises
        ------
        ClusterError
            When the scheduler is gone, or no worker came for too long.
        """
        if self.client.status != "running":
            raise self.gone()
        now = time.monotonic()
        if now < self.next:
            return
        able = _able(self._workers())
        # Counting takes the longer the more there are; it shall not fill the driver's time.
        self.next = time.monotonic() + min(max(_EVERY, 20 * (time.monotonic() - now)), _SELDOM)
        for state, addresses in (("joined", able - self.able), ("left", self.able - able)):
            for address in sorted(addresses):
                yield _fact("worker", worker=address, state=state)
        self.able = able
        if able:
            self.seen, self.said = time.monotonic(), False
        elif not self.said:
            self.said = True
            yield _fact("waiting", why="no worker is there", at_most_seconds=self.limit)
        if time.monotonic() - self.seen > self.limit:
            raise self._without_workers()

    def gone(self) -> ClusterError:
        """Return what to say when tasks were lost with their scheduler."""
        if self.client.status == "running" and not self.able:
            return self._without_workers()
        return ClusterError(
            f"the scheduler at {self.address} is gone; finished blocks are kept: start it again, or another "
            "cluster, and run the same command"
        )

    def _without_workers(self) -> ClusterError:
        return ClusterError(
            f"no worker of the cluster at {self.address} is left, nor did one come within {self.limit:.0f} "
            "s; finished blocks are kept: start workers and run the same command"
        )

    def _workers(self) -> dict[str, Any]:
        if self.client.status != "running":
            raise self.gone()
        try:
            return dict(self.client.scheduler_info(n_workers=-1)["workers"])
        except (OSError, TimeoutError, ValueError) as error:
            raise self.gone() from error


def dashboard(client: Client) -> Fact:
    """Return the fact that says where Dask's dashboard is."""
    link = str(client.dashboard_link)
    if client.scheduler.address.startswith("inproc"):
        # Dask names the machine, but a scheduler in this process listens to it alone.
        link = f"http://127.0.0.1:{client.scheduler_info()['services']['dashboard']}/status"
    return _fact("dashboard", address=link)


def _able(workers: dict[str, Any]) -> set[str]:
    return {address for address, w in workers.items() if w.get("resources", {}).get(RESOURCE)}


def _fact(event: str, **facts: Any) -> Fact:
    return {"time": round(time.time(), 4), "event": event, **facts}
