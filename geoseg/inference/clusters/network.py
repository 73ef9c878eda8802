"""The network between client, scheduler and workers: interfaces and TLS."""

import contextlib
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
from distributed import Security

from geoseg.config.cluster import Jobs, Ssh
from geoseg.config.cluster import Security as SecurityFiles
from geoseg.core.errors import ConfigError
from geoseg.core.files import as_output_error

PROTOCOL = "tls://"
"""Of every cluster with sockets that geoseg starts."""


def tls_settings(security: SecurityFiles | None) -> dict[str, Any]:
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


@contextlib.contextmanager
def certificate_files(shared: Path) -> Iterator[SecurityFiles]:
    """Make certificates for one run; yield files that only this user can read, which go when the block ends.

    Parameters
    ----------
    shared
        A folder that this machine and those of the workers see; it is made if need be, and goes again when
        nothing came into it.

    Raises
    ------
    OutputError
        When it cannot be written.
    """
    given = Security.temporary().get_tls_config_for_role("worker")
    with contextlib.ExitStack() as stack:
        with as_output_error(shared):
            if not shared.exists():
                shared.mkdir(parents=True)
                stack.callback(_remove_empty, shared)
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix=".geoseg-", dir=shared)))
            files = {"ca": "ca_file", "cert": "cert", "key": "key"}
            for name, key in files.items():
                write_private(folder / f"{name}.pem", given[key])
        yield SecurityFiles(**{name: str((folder / f"{name}.pem").absolute()) for name in files})


def _remove_empty(folder: Path) -> None:
    with contextlib.suppress(OSError):
        folder.rmdir()


def write_private(path: Path, text: str) -> None:
    """Write a new file that only this user can read."""
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(text)


def security_of(cluster: Ssh | Jobs) -> Security:
    """Return the certificates of a cluster that geoseg starts: those of its file, else new ones of this run.

    Schedulers and workers run the code that they are sent, so none of them listens without TLS.
    """
    # Those of the file are in Dask's configuration, see `tls_settings`.
    return Security.temporary() if cluster.security is None else Security()


def scheduler_options(cluster: Ssh | Jobs, dashboard: str, security: Security) -> dict[str, Any]:
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
    return {
        "interface": interface, "port": 0, "protocol": PROTOCOL, "dashboard_address": dashboard,
        "security": security,
    }  # fmt: skip
