"""Threads, resources and settings of a worker, the same wherever it runs, and the command that starts one."""

import os
import sys
from collections.abc import Sequence
from typing import Any, NoReturn

import dask

from geoseg.config.cluster import Address, Cluster
from geoseg.core.errors import ConfigError
from geoseg.core.process import ARENAS
from geoseg.inference.clusters.network import tls_settings
from geoseg.inference.plan import SLOTS
from geoseg.inference.workers import RESOURCE

THREADS = SLOTS + 1
"""Threads of a worker: one for each slot, which reads and computes, and one that settles blocks."""

RESOURCES = {RESOURCE: SLOTS}

ARGUMENTS = (
    "--nthreads", str(THREADS), "--resources", f"{RESOURCE}={SLOTS}",
    # The plan announces the memory of a worker; Dask's own limit would pause or kill one that keeps to it.
    "--memory-limit", "0",
    # Without a dashboard a worker still serves metrics, on all interfaces unless it is told otherwise.
    "--no-dashboard", "--dashboard-address", "127.0.0.1:0",
)  # fmt: skip
"""Arguments of every `dask worker`."""

MODULE = "distributed.cli.dask_worker"

CALM: dict[str, Any] = {
    # Dask would sample every thread each 10 ms and wake up each 20 ms, on cores that compute.
    "distributed.worker.profile.enabled": False,
    "distributed.admin.tick.interval": "1s",
}
"""Settings of Dask in a worker that leave its cores to the network."""

ENVIRONMENT = {
    **{f"DASK_{key.replace('.', '__').upper()}": str(value) for key, value in CALM.items()},
    "MALLOC_ARENA_MAX": str(ARENAS),
}
"""Variables for workers on other machines: `CALM`, and the arenas of malloc."""


def command(
    python: str, address: str, listen: Sequence[str], more: Sequence[str] = (), module: str = MODULE
) -> list[str]:
    """Return the command of one worker.

    Parameters
    ----------
    python
        The interpreter.
    address
        Address of the scheduler.
    listen
        `--interface NAME` or `--host ADDRESS`.
    more
        Further arguments of `dask worker`.
    module
        The module that is run.
    """
    files = {
        "--tls-ca-file": dask.config.get("distributed.comm.tls.ca-file"),
        "--tls-cert": dask.config.get("distributed.comm.tls.worker.cert"),
        "--tls-key": dask.config.get("distributed.comm.tls.worker.key"),
    }
    tls = [part for flag, file in files.items() if file for part in (flag, str(file))]
    return [python, "-m", module, address, *ARGUMENTS, *listen, *tls, *more]


def become_worker(cluster: Cluster, interface: str | None) -> NoReturn:
    """Turn this process into a worker of a running scheduler.

    Parameters
    ----------
    cluster
        A cluster of kind address.
    interface
        Network interface to listen on; None: the loopback interface, when the scheduler is there.

    Raises
    ------
    ConfigError
        When the cluster has no address, or `interface` is needed and None.
    """
    if not isinstance(cluster, Address):
        raise ConfigError(f"a worker joins a cluster of kind address, not {cluster.kind}; name its address")
    at_home = cluster.address.split("://")[1].startswith(("127.", "localhost:", "[::1]"))
    if interface is None and not at_home:
        raise ConfigError(
            "--interface: say on which network the worker shall listen, like --interface eth0; the scheduler "
            f"is at {cluster.address}"
        )
    listen = ("--host", "127.0.0.1") if interface is None else ("--interface", interface)
    with dask.config.set(tls_settings(cluster.security)):
        program = command(sys.executable, cluster.address, listen)
        os.execve(sys.executable, program, {**ENVIRONMENT, **os.environ})  # noqa: S606
