"""Preload of `dask worker`: of the GPUs that a job has, each of its workers keeps one."""

import os
from typing import Any


def dask_setup(worker: Any) -> None:
    """Leave this process the GPU of the worker's number; Dask appends it to the name: `job-3`."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",")
    number = int(str(worker.name).rpartition("-")[2])
    os.environ["CUDA_VISIBLE_DEVICES"] = visible[number % len(visible)]
