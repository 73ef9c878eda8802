"""The capacity of a cluster that has not started: how many workers, on which device, with how much memory."""

from dataclasses import dataclass
from pathlib import Path

import psutil

from geoseg.config.cluster import Address, Cluster, Kubernetes, Local, Ssh
from geoseg.core.errors import ConfigError
from geoseg.inference.memory import Memory
from geoseg.models.backends.auto import count_gpus, forward_passes, free_device_memory, resolve_device


@dataclass(frozen=True)
class Capacity:
    """The workers of a cluster and what each of them can do."""

    cluster: Cluster
    """The cluster, without `auto`."""
    workers: int
    device: str
    """Device of the workers, without `auto`."""
    passes: int
    """Forward passes that each worker can run at once."""
    memory: int | None
    """Bytes for all workers together; None: the cluster file does not say, and the workers are asked before
    the run."""
    device_memory: int | None = None
    """Free bytes of the GPU; None without one, and for GPUs of other processes."""

    @property
    def origin(self) -> str:
        """Where the figure of the memory comes from, for messages."""
        return "are free" if isinstance(self.cluster, Local) else "is what the cluster file asks for"

    def problem_here(self, memory: Memory) -> str | None:
        """Return one line when this machine has too little memory to make the outputs, else None."""
        needed, free = memory.leading, free_memory()
        if isinstance(self.cluster, Local) or needed <= free:
            return None
        return (
            f"joining polygons takes {needed / 1e9:.2f} GB of memory on this machine, but {free / 1e9:.2f} "
            "GB are free; start the run on a larger one, or leave them out: --set outputs.polygons=[]"
        )


def capacity_of(cluster: Cluster, device: str) -> Capacity:
    """Return the capacity of a cluster.

    Parameters
    ----------
    cluster
        The cluster, not started.
    device
        Device of the pipeline: auto, cpu, cuda or cuda:N.

    Raises
    ------
    ConfigError
        When the cluster does not have the device.
    """
    if isinstance(cluster, Local):
        return _local(cluster, resolve_device(device))
    if device == "auto":
        device = "cuda" if cluster.gpus else "cpu"
    if device != "cpu" and not cluster.gpus:
        raise ConfigError(
            f"inference.device: {device}, but the workers of the cluster have no GPU; if they have, say "
            "gpus: 1 in its file"
        )
    workers, share = _workers(cluster), 1 if isinstance(cluster, Ssh) else max(1, cluster.gpus)
    return Capacity(
        cluster,
        workers,
        device.partition(":")[0],
        passes=cluster.cores if device == "cpu" else 1,
        memory=None if cluster.memory is None else workers * int(cluster.memory) // share,
    )


def _local(cluster: Local, device: str) -> Capacity:
    gpus = max(1, count_gpus()) if device == "cuda" else 1
    workers = gpus if cluster.workers == "auto" else cluster.workers
    if workers > 1 and ":" in device:
        raise ConfigError(
            f"inference.device: {device} is one GPU, but the cluster has {workers} workers; use device: cuda"
        )
    cluster = Local(workers=workers)
    return Capacity(
        cluster,
        workers,
        device,
        forward_passes(device, workers),
        free_memory(),
        free_device_memory(device) if workers == 1 else None,
    )


def _workers(cluster: Cluster) -> int:
    """Return the number of workers that a cluster of other machines will have."""
    if isinstance(cluster, Ssh):
        return len(cluster.hosts) * max(1, cluster.gpus)
    if isinstance(cluster, Address | Kubernetes):
        return cluster.workers
    return 1 if isinstance(cluster, Local) else cluster.jobs * max(1, cluster.gpus)


def free_memory() -> int:
    """Return the free memory in bytes: the machine's, or what the limit of a container (cgroup v2) leaves."""
    free = int(psutil.virtual_memory().available)
    try:
        limit = int(Path("/sys/fs/cgroup/memory.max").read_text())
        used = int(Path("/sys/fs/cgroup/memory.current").read_text())
    except (OSError, ValueError):
        return free
    return max(0, min(free, limit - used))
