"""Workers on other machines, started with ssh."""

import asyncio
import logging
import shlex
import sys
from typing import Any

from distributed import Scheduler, SpecCluster
from distributed.deploy.spec import ProcessInterface

from geoseg.config.cluster import Ssh
from geoseg.core.errors import ClusterError, one_line
from geoseg.core.extras import require
from geoseg.inference.clusters import tls_worker
from geoseg.inference.clusters.local import one_gpu_each
from geoseg.inference.clusters.network import scheduler_options, security_of
from geoseg.inference.clusters.worker import ENVIRONMENT, MODULE, command

JOINED = "Registered to"
"""Part of the line that a worker logs once it has joined its scheduler."""


class SshWorker(ProcessInterface):  # type: ignore[misc]
    """One `dask worker` on another machine; it ends when it loses the connection to its scheduler."""

    def __init__(
        self,
        scheduler: str,
        name: int,
        host: str,
        cluster: Ssh,
        environment: dict[str, str],
        certificates: str | None,
    ) -> None:
        super().__init__(scheduler=scheduler, name=name)
        more = ["--name", str(name)]
        if cluster.local_directory is not None:
            more += ["--local-directory", cluster.local_directory]
        module = MODULE if certificates is None else tls_worker.__name__
        program = command(
            cluster.python or sys.executable, scheduler, ("--interface", cluster.interface), more, module
        )
        self.certificates = certificates
        variables = [f"{key}={value}" for key, value in {**ENVIRONMENT, **cluster.env, **environment}.items()]
        self.host = host
        self.line = shlex.join(["env", *variables, *program])
        self.access = _access(cluster)
        self.connection: Any = None
        self.reading: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Start the worker and wait until it has joined.

        Raises
        ------
        ClusterError
            When the machine cannot be reached, or the worker ends at once.
        """
        import asyncssh  # noqa: PLC0415

        try:
            self.connection = await asyncssh.connect(self.host, **self.access)
            process = await self.connection.create_process(self.line, stderr=asyncssh.STDOUT)
            if self.certificates is not None:
                process.stdin.write(self.certificates)
                process.stdin.write_eof()
        except (OSError, asyncssh.Error) as error:
            raise ClusterError(
                f"{self.host}: no worker can be started with ssh: {one_line(error)}; try: ssh {self.host} "
                "true"
            ) from error
        last = ""
        async for line in process.stdout:
            if JOINED in line:
                break
            last = line.strip() or last
        else:
            raise ClusterError(f"{self.host}: the worker ended at once: {last}")
        # Its later output is read and dropped: a full pipe would stop the worker.
        self.reading = asyncio.create_task(process.stdout.read())
        await super().start()

    async def close(self) -> None:
        """Close the connection, which ends the worker."""
        if self.connection is not None:
            self.connection.close()
        if self.reading is not None:
            self.reading.cancel()
        await super().close()


def start_ssh(cluster: Ssh, dashboard: str) -> SpecCluster:
    """Start the scheduler in this process and the workers on the hosts.

    Raises
    ------
    ConfigError
        When asyncssh is not installed, or this machine has no such network interface.
    """
    require("asyncssh", "cluster", "cluster")
    gpus = [str(i) for i in range(cluster.gpus)]
    each = one_gpu_each(max(1, cluster.gpus), gpus)
    places = [(host, environment) for host in cluster.hosts for environment in each]
    security = security_of(cluster)
    certificates = None if cluster.security is not None else tls_worker.packed(security)
    workers = {
        number: {
            "cls": SshWorker,
            "options": {
                "host": host,
                "cluster": cluster,
                "environment": environment,
                "certificates": certificates,
            },
        }
        for number, (host, environment) in enumerate(places)
    }
    scheduler = {"cls": Scheduler, "options": scheduler_options(cluster, dashboard, security)}
    return SpecCluster(workers, scheduler, security=security, silence_logs=logging.CRITICAL)


def _access(cluster: Ssh) -> dict[str, Any]:
    """Return the arguments of `asyncssh.connect`; those that the file does not set are as for ssh."""
    arguments = {
        "username": cluster.username,
        "port": cluster.port,
        "client_keys": cluster.private_key,
        "known_hosts": cluster.known_hosts,
    }
    return {key: value for key, value in arguments.items() if value is not None}
