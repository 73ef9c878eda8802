"""The scheduler that lives in the process of the run."""

from typing import Any

import dask
import psutil

from geoseg.config.cluster import Jobs, Ssh
from geoseg.core.errors import ConfigError


def protocol() -> str:
    """Return the protocol that Dask's configuration asks for."""
    return "tls://" if dask.config.get("distributed.comm.require-encryption") else "tcp://"


def scheduler_options(cluster: Ssh | Jobs, dashboard: str) -> dict[str, Any]:
    """Return the arguments of `distributed.Scheduler`; it listens on one interface only.

    Raises
    ------
    ConfigError
        When there is no such interface here.
    """
    interface = cluster.scheduler_interface or cluster.interface
    known = sorted(psutil.net_if_addrs())
    if interface not in known:
        raise ConfigError(
            f"cluster: this machine has no network interface {interface!r}, only {', '.join(known)}; say "
            "scheduler_interface"
        )
    return {"interface": interface, "port": 0, "protocol": protocol(), "dashboard_address": dashboard}
