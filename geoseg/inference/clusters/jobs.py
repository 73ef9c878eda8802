"""Workers as jobs of a batch system: SLURM, PBS, LSF."""

import getpass
import logging
import shlex
from typing import Any

from distributed import SpecCluster

from geoseg.config.cluster import Jobs, Lsf, Pbs, Slurm
from geoseg.core.extras import require
from geoseg.inference.clusters.network import PROTOCOL, scheduler_options, security_of
from geoseg.inference.clusters.worker import ARGUMENTS, ENVIRONMENT


def start_jobs(cluster: Jobs, dashboard: str) -> SpecCluster:
    """Start the scheduler in this process; `Watchdog` submits the jobs and replaces lost ones.

    Raises
    ------
    ConfigError
        When dask-jobqueue is not installed, or this machine has no such network interface.
    """
    require("dask_jobqueue", "cluster", "cluster")
    import dask_jobqueue  # noqa: PLC0415

    kind = {"slurm": "SLURMCluster", "pbs": "PBSCluster", "lsf": "LSFCluster"}[cluster.kind]
    security = security_of(cluster)
    return getattr(dask_jobqueue, kind)(
        scheduler_options=scheduler_options(cluster, dashboard, security),
        protocol=PROTOCOL,
        security=security,
        silence_logs=logging.CRITICAL,
        **job_options(cluster),
    )


def job_options(cluster: Jobs) -> dict[str, Any]:
    """Return the arguments of a cluster of dask-jobqueue, without those of TLS."""
    gpus, extra = cluster.gpus, list(cluster.job_extra)
    environment = {**ENVIRONMENT, **cluster.env}
    prologue = [f"export {key}={shlex.quote(value)}" for key, value in environment.items()]
    arguments = list(ARGUMENTS)
    if gpus > 1:
        arguments += ["--preload", "geoseg.inference.clusters.preload_gpu"]
    margin = min(cluster.margin, seconds(cluster) // 4)
    # Workers retire before the wall time and hand their results to the others, so not all at one moment.
    arguments += ["--lifetime", f"{seconds(cluster) - margin}s", "--lifetime-stagger", f"{margin // 3}s"]
    options: dict[str, Any] = {
        "job_name": "geoseg",
        "cores": cluster.cores,
        "memory": f"{int(cluster.memory)}B",
        "processes": max(1, gpus),
        "walltime": cluster.walltime,
        "queue": cluster.queue,
        "interface": cluster.interface,
        "python": cluster.python,
        "local_directory": cluster.local_directory,
        "log_directory": cluster.log_directory,
        "worker_extra_args": arguments,
        "job_script_prologue": [*prologue, *cluster.prologue],
    }
    if isinstance(cluster, Lsf):
        options |= {"project": cluster.account, "use_stdin": True}
        extra = [f'-gpu "num={gpus}"', *extra] if gpus else extra
    else:
        options["account"] = cluster.account
    if isinstance(cluster, Slurm) and gpus:
        extra = [f"--gres=gpu:{gpus}", *extra]
    if isinstance(cluster, Pbs):
        parts = ["select=1", f"ncpus={cluster.cores}", f"mem={-(-int(cluster.memory) // 2**20)}MB"]
        options["resource_spec"] = ":".join([*parts, *([f"ngpus={gpus}"] if gpus else [])])
    return {**options, "job_extra_directives": extra}


def seconds(cluster: Jobs) -> int:
    """Return the wall time in seconds."""
    days, _, clock = cluster.walltime.rpartition("-")
    total = 0
    for part in clock.split(":"):
        total = total * 60 + int(part)
    return int(days or 0) * 86400 + total * (60 if isinstance(cluster, Lsf) else 1)


def listing(cluster: Jobs) -> list[str]:
    """Return the command that lists the ids of this user's jobs that have not ended."""
    user = getpass.getuser()
    return {
        "slurm": ["squeue", "--noheader", "--format=%A", f"--user={user}"],
        "pbs": ["qselect", "-u", user],
        "lsf": ["bjobs", "-noheader", "-o", "jobid"],
    }[cluster.kind]
