"""Where the tasks run: a Dask cluster for each kind."""

import contextlib
import logging
import os
from collections.abc import Iterator
from pathlib import Path

import dask
from distributed import Client, LocalCluster

from geoseg.config.loader import load
from geoseg.config.pipeline import Cluster
from geoseg.core.errors import ConfigError, did_you_mean
from geoseg.inference.driver import RESOURCE
from geoseg.inference.plan import SLOTS
from geoseg.vector.schedule import Workers

CLUSTERS = Path("configs/clusters")

_SETTINGS = {
    "distributed.scheduler.allowed-failures": 10,
    "distributed.scheduler.no-workers-timeout": "120s",
    "distributed.admin.large-graph-warning-threshold": "100MB",
    # Memory is announced by the plan; Dask's own limits would pause a worker that keeps to it.
    "distributed.worker.memory.target": False,
    "distributed.worker.memory.spill": False,
    "distributed.worker.memory.pause": False,
}


def resolve_cluster(cluster: str | Cluster) -> Cluster:
    """Return the cluster that a pipeline asks for.

    Raises
    ------
    ConfigError
        When there is no such cluster.
    """
    if isinstance(cluster, Cluster):
        return cluster
    path = Path(cluster) if cluster.endswith((".yaml", ".yml")) else CLUSTERS / f"{cluster}.yaml"
    if path.exists():
        return load(path, Cluster)
    if cluster == "local":
        return Cluster()
    known = ["local", *(p.stem for p in CLUSTERS.glob("*.yaml"))]
    raise ConfigError(
        f"cluster: {cluster!r} is neither a file nor one of {CLUSTERS}{did_you_mean(cluster, known)}"
    )


@contextlib.contextmanager
def _same_environment() -> Iterator[None]:
    """Undo what Dask writes into this process's environment when it starts worker processes.

    `OMP_NUM_THREADS=1` among it: programs started later would compute with one thread, and so to other bits.
    """
    before = dict(os.environ)
    try:
        yield
    finally:
        for name in os.environ.keys() - before.keys():
            del os.environ[name]
        os.environ.update(before)


@contextlib.contextmanager
def connect(cluster: Cluster) -> Iterator[Client]:
    """Start the cluster and yield a client; everything ends with the block.

    One worker lives in this process: no sockets, no copies. More are processes on the loopback interface.
    """
    alone = cluster.workers == 1
    # In one process a worker cannot be lost, only busy.
    lifetime = {"distributed.scheduler.worker-ttl": None if alone else "60s"}
    with (
        _same_environment(),
        dask.config.set({**_SETTINGS, **lifetime}),
        LocalCluster(
            n_workers=cluster.workers,
            processes=not alone,
            host=None if alone else "127.0.0.1",
            # Two slots to read and compute, one more thread to settle.
            threads_per_worker=SLOTS + 1,
            resources={RESOURCE: SLOTS},
            memory_limit=0,
            # None would still open port 8787 to the world, and warn where another run has it.
            dashboard_address="127.0.0.1:0",
            silence_logs=logging.CRITICAL,
        ) as local,
        Client(local) as client,
    ):
        yield client


def workers_of(client: Client) -> Workers:
    """Return the cluster as those who trace polygons: two blocks ahead for each thread."""
    threads = sum(client.nthreads().values())
    return Workers(client.get_executor(pure=False), 2 * threads)
