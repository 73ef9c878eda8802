"""Preload of `dask worker`: each worker of a job takes one of the job's GPUs."""

import os
from typing import Any


def dask_setup(worker: Any) -> None:
    """Show this process only the GPU of the worker's number, which Dask appends to its name: `job-3`."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",")
    number = int(str(worker.name).rpartition("-")[2])
    os.environ["CUDA_VISIBLE_DEVICES"] = visible[number % len(visible)]
