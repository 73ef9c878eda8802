"""Start a cluster, or connect to a running one, and yield a client."""

import asyncio
import contextlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from time import monotonic, sleep
from typing import Any

import dask
from distributed import Client, SpecCluster
from distributed.utils import LoopRunner

from geoseg.config.cluster import Address, Cluster, Jobs, Kubernetes, Local, Ssh
from geoseg.core.errors import ClusterError, ConfigError, one_line
from geoseg.core.ordered import Workers
from geoseg.inference.clusters.jobs import listing, start_jobs
from geoseg.inference.clusters.kubernetes import start_kubernetes
from geoseg.inference.clusters.local import start_local
from geoseg.inference.clusters.network import certificate_files, tls_settings
from geoseg.inference.clusters.ssh import start_ssh
from geoseg.inference.clusters.watchdog import Watchdog
from geoseg.inference.clusters.worker import CALM
from geoseg.inference.plan import SLOTS
from geoseg.inference.workers import RESOURCE
from geoseg.scenes.gdal import limited_gdal

DASHBOARD = "127.0.0.1:0"
"""Address of the scheduler's web pages: on this machine only, on any free port."""

_LAST_MESSAGES = 0.03
"""Seconds; Dask sends messages 10 ms apart at most."""

_SETTINGS = {
    **CALM,
    "distributed.scheduler.allowed-failures": 10,
    "distributed.admin.large-graph-warning-threshold": "100MB",
    # Time until a lost worker is replaced.
    "distributed.deploy.lost-worker-timeout": "5s",
    # The plan announces the memory of a worker; Dask's own limits would pause one that keeps to the plan.
    "distributed.worker.memory.target": False,
    "distributed.worker.memory.spill": False,
    "distributed.worker.memory.pause": False,
}

Tell = Callable[[str], None]


@contextlib.contextmanager
def connect(cluster: Cluster, tell: Tell = lambda _: None, dashboard: str = DASHBOARD) -> Iterator[Client]:
    """Start the cluster and yield a client; scheduler and workers that were started end with the block.

    A single local worker is threads of this process: no sockets, no copies. Several are processes that listen
    on the loopback interface. All other kinds listen where the cluster file says, see docs/clusters.md.

    Parameters
    ----------
    cluster
        The cluster, without `auto`.
    tell
        Called with a line when workers are waited for or replaced.
    dashboard
        Address of the scheduler's web pages.

    Raises
    ------
    ClusterError
        When the scheduler does not answer, or too few workers come in time.
    ConfigError
        When the cluster file asks for something that cannot be.
    """
    with contextlib.ExitStack() as stack:
        if isinstance(cluster, Jobs) and cluster.security is None:
            # Jobs read certificates from files; where their output goes, both sides see a folder.
            files = stack.enter_context(certificate_files(Path(cluster.log_directory)))
            cluster = cluster.model_copy(update={"security": files})
        yield stack.enter_context(_connected(cluster, tell, dashboard))


@contextlib.contextmanager
def _connected(cluster: Cluster, tell: Tell, dashboard: str) -> Iterator[Client]:
    security = None if isinstance(cluster, Local) else cluster.security
    settings = {**_SETTINGS, **_timeouts(cluster), **tls_settings(security)}
    with _same_environment(), limited_gdal(), dask.config.set(settings):
        if isinstance(cluster, Address):
            with _client(cluster) as client:
                _wait(client, cluster, None, tell)
                yield client
            return
        with (
            _started(cluster, dashboard) as started,
            _watched(started, cluster, tell) as watchdog,
            Client(started) as client,
        ):
            _wait(client, cluster, watchdog, tell)
            yield client


def workers_of(client: Client) -> Workers:
    """Return the cluster as workers that trace polygons, two blocks ahead for each thread."""
    threads = sum(client.nthreads().values())
    return Workers(client.get_executor(pure=False), 2 * threads)


def _timeouts(cluster: Cluster) -> dict[str, Any]:
    """Return the settings for how long Dask waits for a silent worker, and for a first one."""
    # A worker in this process may be busy, but is never lost.
    alone = isinstance(cluster, Local) and cluster.workers in (1, "auto")
    # A job may wait in its queue for days.
    queued = isinstance(cluster, Jobs)
    return {
        "distributed.scheduler.worker-ttl": None if alone else "60s",
        "distributed.scheduler.no-workers-timeout": None if queued else "120s",
    }


@contextlib.contextmanager
def _same_environment() -> Iterator[None]:
    """Restore this process's environment, into which Dask writes when it starts worker processes.

    It writes `OMP_NUM_THREADS=1`, for example: programs started later would compute with one thread, and sums
    would differ in their last bits.
    """
    before = dict(os.environ)
    try:
        yield
    finally:
        for name in os.environ.keys() - before.keys():
            del os.environ[name]
        os.environ.update(before)


@contextlib.contextmanager
def _started(cluster: Cluster, dashboard: str) -> Iterator[Any]:
    try:
        if isinstance(cluster, Local):
            started = start_local(cluster, dashboard)
        elif isinstance(cluster, Ssh):
            started = start_ssh(cluster, dashboard)
        elif isinstance(cluster, Kubernetes):
            started = start_kubernetes(cluster)
        elif isinstance(cluster, Jobs):
            started = start_jobs(cluster, dashboard)
        else:
            raise ConfigError(f"cluster: kind {cluster.kind} is not started, but connected to")
    except RuntimeError as error:
        raise ClusterError(f"the cluster cannot be started: {one_line(error)}") from error
    with _last_messages(started), started:
        yield started


@contextlib.contextmanager
def _last_messages(owner: Any) -> Iterator[None]:
    """Keep the event loop of a cluster or client a moment longer, until it has sent its last messages.

    Dask's queues of messages wait with a time-out between two of them. A loop that ends just when one is over
    leaves it to nobody, and asyncio complains on stderr of an exception that was never retrieved.
    """
    loop = LoopRunner(loop=owner.loop)
    loop.start()
    try:
        yield
    finally:
        loop.run_sync(asyncio.sleep, _LAST_MESSAGES)
        loop.stop()


@contextlib.contextmanager
def _watched(started: SpecCluster, cluster: Cluster, tell: Tell) -> Iterator[Watchdog | None]:
    """Start the workers on hosts or as jobs, and replace lost ones until the block ends."""
    if isinstance(cluster, Ssh):
        watchdog = Watchdog(started, len(started.worker_spec), None, Path(), tell)
    elif isinstance(cluster, Jobs):
        watchdog = Watchdog(started, cluster.jobs, listing(cluster), Path(cluster.log_directory), tell)
    else:
        yield None
        return
    watchdog.start()
    try:
        yield watchdog
    finally:
        watchdog.stop()


@contextlib.contextmanager
def _client(cluster: Address) -> Iterator[Client]:
    """Connect to a running scheduler."""
    if cluster.address.startswith("tls://") and not dask.config.get("distributed.comm.tls.ca-file"):
        raise ConfigError(
            f"cluster: {cluster.address} asks for certificates; name them in a cluster file (security: ca, "
            "cert, key), see docs/clusters.md"
        )
    try:
        client = Client(cluster.address, timeout=max(1, cluster.wait))
    except (OSError, TimeoutError) as error:
        raise ClusterError(
            f"{cluster.address}: no scheduler answers within {cluster.wait} s ({one_line(error)}); check the "
            "address, and whether it wants tcp:// or tls://"
        ) from error
    with _last_messages(client), client:
        yield client


def _wait(client: Client, cluster: Cluster, watchdog: Watchdog | None, tell: Tell) -> None:
    """Wait until work can begin: for the first job, host or pod, or for all workers of a running scheduler.

    Raises
    ------
    ClusterError
        When too few workers come in time, or none offers the resource that blocks need.
    """
    if isinstance(cluster, Local):
        return
    wanted = cluster.workers if isinstance(cluster, Address) else 1
    limit = None if isinstance(cluster, Jobs) else cluster.wait
    start, told = monotonic(), False
    while True:
        workers = client.scheduler_info(n_workers=-1)["workers"].values()
        able = sum(1 for w in workers if w.get("resources", {}).get(RESOURCE))
        if able >= wanted:
            return
        if workers and not able:
            raise ClusterError(
                f"no worker of the cluster offers the resource {RESOURCE}; start workers with: geoseg worker "
                f"ADDRESS, or dask worker ADDRESS --nthreads {SLOTS + 1} --resources {RESOURCE}={SLOTS} "
                "--memory-limit 0"
            )
        if watchdog is not None and watchdog.problem is not None:
            raise watchdog.problem
        if limit is not None and monotonic() - start > limit:
            raise ClusterError(
                f"{able} of {wanted} workers came within {limit} s; start more with: geoseg worker "
                f"{client.scheduler.address}"
            )
        if not told and monotonic() - start > 1:
            tell(f"waiting for workers ({cluster.kind})")
            told = True
        sleep(0.1)
