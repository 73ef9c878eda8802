"""The device, backend and precision that `auto` means on this machine."""

import os
import sys
from pathlib import Path

from geoseg.core.errors import BundleError, ConfigError
from geoseg.core.extras import require
from geoseg.models.backends.graph import is_installed
from geoseg.models.backends.onnx_session import has_cuda
from geoseg.models.backends.openvino_model import has_bfloat16, load_model
from geoseg.models.backends.spec import LIBRARIES
from geoseg.models.bundle import Bundle

_GPU_FILES = (Path("/dev/nvidiactl"), Path("/dev/dxg"), Path("/dev/kfd"))
"""Device files of drivers that torch can use under Linux: NVIDIA's, that of WSL, AMD's."""


def device_for(bundle: Bundle, device: str) -> str:
    """Return the device to look for: a graph runs on a CPU where nothing here runs it on a GPU.

    Raises
    ------
    ConfigError
        When a graph is to run on a GPU, and nothing here runs it there.
    """
    if not bundle.is_graph or device == "cpu":
        return device
    if bundle.is_onnx and has_cuda():
        return device
    if device == "auto":
        return "cpu"
    why = (
        "which onnxruntime runs on a GPU only with: python -m pip install 'geoseg[onnx-gpu]', after pip "
        "uninstall onnxruntime"
        if bundle.is_onnx
        else "which OpenVINO runs on a CPU only"
    )
    raise ConfigError(
        f"inference.device: {bundle.card.name} is an {bundle.architecture}, {why}; or use --set "
        "inference.device=cpu"
    )


def resolve_device(device: str) -> str:
    """Return the device that `auto` means here.

    Raises
    ------
    ConfigError
        When this machine does not have the device.
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
    """Return the number of GPUs that torch can use on this machine."""
    # Importing torch takes seconds, which is not needed where there is no driver.
    if sys.platform == "linux" and not any(f.exists() for f in _GPU_FILES):
        return 0
    import torch  # noqa: PLC0415

    return torch.cuda.device_count()


def free_device_memory(device: str) -> int | None:
    """Return the free memory of a GPU in bytes; None for a CPU, or where the driver does not tell it."""
    if device == "cpu":
        return None
    import torch  # noqa: PLC0415

    try:
        free: int = torch.cuda.mem_get_info(torch.device(device))[0]
    except RuntimeError:
        return None  # full, or used by one other process exclusively: the run will fail with that error
    # Memory that torch keeps from tensors of an earlier scene is free, too.
    return free + torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)


def resolve_precision(precision: str, device: str) -> str:
    """Return the precision from which a run starts: fp32 for `auto` and `mixed`.

    Only fp32 keeps all classes as trained; see `geoseg.inference.precision` for mixtures.

    Raises
    ------
    ConfigError
        For fp16 on a CPU, which has no fast half-precision convolutions.
    """
    if precision == "fp16" and device == "cpu":
        raise ConfigError("inference.precision: fp16 needs a GPU; use fp32 or bf16 on a CPU")
    return "fp32" if precision in {"auto", "mixed"} else precision


def resolve_backend(backend: str, bundle: Bundle, device: str, precision: str) -> str:
    """Return the backend that `auto` means: OpenVINO on a CPU where it can run the network, else torch.

    In bf16, OpenVINO runs on processors that have it. On a GPU, onnxruntime runs an ONNX graph.

    Raises
    ------
    ConfigError
        When the pipeline asks for a backend on a device, in a precision or for a network that it does not
        run.
    BundleError
        When the pipeline asks for OpenVINO, which cannot run the network.
    """
    if bundle.card.task == "instances":
        if backend not in ("auto", "torch"):
            raise ConfigError(
                f"inference.backend: {bundle.card.name} finds objects, which only torch runs; use "
                "--set inference.backend=auto"
            )
        return "torch"
    return _backend_for_classes(backend, bundle, device, precision)


def _backend_for_classes(backend: str, bundle: Bundle, device: str, precision: str) -> str:
    library = LIBRARIES.get(backend, "")
    if not {"torch": not bundle.is_graph, "onnxruntime": bundle.is_onnx}.get(library, True):
        raise ConfigError(
            f"inference.backend: {bundle.card.name} is an {bundle.architecture}, which {backend} cannot run; "
            "use --set inference.backend=auto"
        )
    chosen = _automatic(bundle, device, precision) if backend == "auto" else backend
    if chosen == "onnxruntime":
        _check_onnxruntime(bundle, device, precision)
    elif chosen == "openvino" and (backend == "openvino" or bundle.is_graph):
        _check_openvino(bundle, device, precision)
    return chosen


def _automatic(bundle: Bundle, device: str, precision: str) -> str:
    if bundle.is_graph:
        return "onnxruntime" if bundle.is_onnx and (device != "cpu" or not is_installed()) else "openvino"
    if not _openvino_fits(device, precision) or not is_installed():
        return "torch"
    if precision == "bf16" and not has_bfloat16():
        return "torch"
    try:
        load_model(bundle)
    except BundleError:
        return "torch"
    return "openvino"


def _openvino_fits(device: str, precision: str) -> bool:
    return device == "cpu" and precision in {"fp32", "bf16"}


def _check_openvino(bundle: Bundle, device: str, precision: str) -> None:
    if not _openvino_fits(device, precision):
        raise ConfigError(
            f"inference.backend: openvino runs on cpu in fp32 or bf16, not on {device} in {precision}; "
            "use torch"
        )
    if not is_installed():
        raise ConfigError("inference.backend: openvino is not installed; pip install openvino, or use torch")
    if precision == "bf16" and not has_bfloat16():
        raise ConfigError("inference.precision: this processor has no bfloat16; use fp32")
    load_model(bundle)


def _check_onnxruntime(bundle: Bundle, device: str, precision: str) -> None:
    require("onnxruntime", "onnx" if device == "cpu" else "onnx-gpu", "inference.backend")
    device_for(bundle, device)
    if precision != "fp32":
        raise ConfigError(
            f"inference.precision: onnxruntime runs {bundle.card.name} in the precision of its graph, not in "
            f"{precision}; use fp32"
        )


def forward_passes(device: str, workers: int) -> int:
    """Return the number of forward passes that each of several workers on this machine runs at once."""
    return max(1, len(os.sched_getaffinity(0)) // workers) if device == "cpu" else 1
