"""The network between client, scheduler and workers: interfaces and TLS."""

from pathlib import Path
from typing import Any

import dask
import psutil

from geoseg.config.cluster import Jobs, Security, Ssh
from geoseg.core.errors import ConfigError


def tls_settings(security: Security | None) -> dict[str, Any]:
    """Return the settings of Dask with which client, scheduler and workers use TLS and refuse all else.

    Raises
    ------
    ConfigError
        When a file is missing.
    """
    if security is None:
        return {}
    files = {key: Path(value).resolve() for key, value in security.model_dump().items()}
    for key, path in files.items():
        if not path.is_file():
            raise ConfigError(f"cluster.security.{key}: {path}: no such file")
    roles = {
        f"distributed.comm.tls.{role}.{key}": str(files[key])
        for role in ("client", "scheduler", "worker")
        for key in ("cert", "key")
    }
    return {
        "distributed.comm.tls.ca-file": str(files["ca"]),
        "distributed.comm.require-encryption": True,
        **roles,
    }


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
