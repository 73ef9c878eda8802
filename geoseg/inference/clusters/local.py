"""Workers on this machine: one in this process, or several processes on the loopback interface.

The loopback interface is open to everybody on the machine, and a scheduler runs the code that it is sent. So
scheduler and workers of several processes use TLS, with a certificate of the run alone.
"""

import logging
import os

from distributed import LocalCluster, Nanny, Scheduler, Security, SpecCluster

from geoseg.config.cluster import Local
from geoseg.inference.clusters.network import PROTOCOL
from geoseg.inference.clusters.results import Results
from geoseg.inference.clusters.worker import RESOURCES, THREADS
from geoseg.models.backends.auto import count_gpus

LOOPBACK = "127.0.0.1"

PRELOAD = "geoseg.inference.clusters.preload_session"


def start_local(cluster: Local, dashboard: str) -> SpecCluster:
    """Start the workers.

    Parameters
    ----------
    cluster
        The cluster, without `auto`.
    dashboard
        Address of the scheduler's web pages.
    """
    # A dashboard address of None would still open port 8787 on all interfaces, and warn when it is taken.
    if cluster.workers == "auto" or cluster.workers < 2:
        return LocalCluster(
            n_workers=1,
            processes=False,
            threads_per_worker=THREADS,
            resources=RESOURCES,
            memory_limit=0,
            data=Results,
            dashboard_address=dashboard,
            silence_logs=logging.CRITICAL,
        )
    # In memory, and handed to the worker processes through the pipe that starts them.
    security = Security.temporary()
    options = {
        "protocol": PROTOCOL,
        "security": security,
        "nthreads": THREADS,
        "resources": RESOURCES,
        "memory_limit": 0,
        "data": Results,
        "host": LOOPBACK,
        "silence_logs": logging.CRITICAL,
        "preload": [PRELOAD],
    }
    workers = {
        number: {"cls": Nanny, "options": {**options, "env": environment}}
        for number, environment in enumerate(one_gpu_each(cluster.workers, visible_gpus()))
    }
    options = {
        "host": LOOPBACK, "port": 0, "dashboard_address": dashboard, "protocol": PROTOCOL,
        "security": security,
    }  # fmt: skip
    scheduler = {"cls": Scheduler, "options": options}
    return SpecCluster(workers, scheduler, security=security, silence_logs=logging.CRITICAL)


def visible_gpus() -> list[str]:
    """Return the GPUs of this process as CUDA_VISIBLE_DEVICES names them."""
    named = os.environ.get("CUDA_VISIBLE_DEVICES")
    return [str(i) for i in range(count_gpus())] if named is None else named.split(",")


def one_gpu_each(workers: int, gpus: list[str]) -> list[dict[str, str]]:
    """Return the variables that give each worker its GPU; of few GPUs, some serve several workers."""
    return [{"CUDA_VISIBLE_DEVICES": gpus[i % len(gpus)]} if gpus else {} for i in range(workers)]
