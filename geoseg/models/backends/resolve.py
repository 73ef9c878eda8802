"""What `auto` means on this machine for device, backend and precision."""

import os
import sys
from pathlib import Path

from geoseg.core.errors import BundleError, ConfigError
from geoseg.models.backends.openvino_model import converted, has_bfloat16, installed
from geoseg.models.backends.spec import LIBRARIES
from geoseg.models.bundle import Bundle

_GPU_FILES = (Path("/dev/nvidiactl"), Path("/dev/dxg"), Path("/dev/kfd"))
"""Drivers that torch can use under Linux: NVIDIA's, that of WSL, AMD's."""


def resolve_device(device: str) -> str:
    """Return the device that `auto` means here.

    Raises
    ------
    ConfigError
        When the device asked for is not there.
    """
    if device == "cpu":
        return device
    count = count_gpus()
    if device == "auto":
        return "cuda" if count else "cpu"
    if int(device.partition(":")[2] or 0) >= count:
        raise ConfigError(f"inference.device: {device} is not available here ({count} GPUs); use device: cpu")
    return device


def count_gpus() -> int:
    """Return how many GPUs torch can use here."""
    # torch takes seconds to import: not to learn that there is no driver.
    if sys.platform == "linux" and not any(f.exists() for f in _GPU_FILES):
        return 0
    import torch  # noqa: PLC0415

    return torch.cuda.device_count()


def free_device_memory(device: str) -> int | None:
    """Return the bytes of a GPU that this process can use; None for a CPU, or where the GPU does not say."""
    if device == "cpu":
        return None
    import torch  # noqa: PLC0415

    try:
        free: int = torch.cuda.mem_get_info(torch.device(device))[0]
    except RuntimeError:
        return None  # full, or another process has it for itself: the run will say so
    # What torch keeps of an earlier scene's tensors is free, too.
    return free + torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)


def resolve_precision(precision: str, device: str) -> str:
    """Return the precision that `auto` means: fp32, the only one that keeps the classes as trained.

    bfloat16 changes about one class in a hundred of the shipped model (docs/benchmarks.md).

    Raises
    ------
    ConfigError
        For fp16 on a CPU, which has no fast half-precision convolutions.
    """
    if precision == "fp16" and device == "cpu":
        raise ConfigError("inference.precision: fp16 needs a GPU; use fp32 or bf16 on a CPU")
    return "fp32" if precision == "auto" else precision


def resolve_backend(backend: str, bundle: Bundle, device: str, precision: str) -> str:
    """Return the backend that `auto` means: OpenVINO on a CPU where it can run the network, else torch.

    In bf16, OpenVINO runs on processors that have it.

    Raises
    ------
    ConfigError
        When OpenVINO is asked for and cannot do what the rest of the pipeline asks for.
    BundleError
        When OpenVINO is asked for and cannot run the network.
    """
    if LIBRARIES.get(backend) == "torch":
        return backend
    fits = device == "cpu" and precision in {"fp32", "bf16"}
    if backend == "openvino":
        if not fits:
            raise ConfigError(
                f"inference.backend: openvino runs on cpu in fp32 or bf16, not on {device} in {precision}; "
                "use torch"
            )
        if not installed():
            raise ConfigError(
                "inference.backend: openvino is not installed; pip install openvino, or use torch"
            )
        if precision == "bf16" and not has_bfloat16():
            raise ConfigError("inference.precision: this processor has no bfloat16; use fp32")
        converted(bundle)
        return backend
    if not fits or not installed() or (precision == "bf16" and not has_bfloat16()):
        return "torch"
    try:
        converted(bundle)
    except BundleError:
        return "torch"
    return "openvino"


def forward_passes(device: str, workers: int) -> int:
    """Return how many forward passes each of several workers on this machine runs at once."""
    return max(1, len(os.sched_getaffinity(0)) // workers) if device == "cpu" else 1
