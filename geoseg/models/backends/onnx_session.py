"""Sessions of onnxruntime: one way to open an ONNX file and to run it, on a CPU or on a GPU of NVIDIA."""

import platform
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from geoseg.core.errors import PlanError, one_line

CPU, CUDA = "CPUExecutionProvider", "CUDAExecutionProvider"

_ON_GPU = {
    # The same kernels in every run, and no rounding of TF32.
    "cudnn_conv_algo_search": "DEFAULT",
    "use_tf32": "0",
    "arena_extend_strategy": "kSameAsRequested",
}


class OnnxError(RuntimeError):
    """An error of onnxruntime, in one line."""


def has_cuda() -> bool:
    """Return whether the onnxruntime here was built for GPUs of NVIDIA, whether or not there is one."""
    if find_spec("onnxruntime") is None:
        return False
    import onnxruntime  # noqa: PLC0415 (an extra, slow to import)

    return CUDA in onnxruntime.get_available_providers()


def open_session(model: Path | bytes, device: str = "cpu", threads: int | None = None) -> Any:
    """Return an `onnxruntime.InferenceSession`.

    Parameters
    ----------
    model
        An ONNX file, or its bytes.
    device
        `cpu`, `cuda` or `cuda:N`.
    threads
        Threads of a pass on a CPU; None: as many as there are cores.

    Raises
    ------
    OnnxError
        When onnxruntime cannot read it.
    PlanError
        When it is to run on a GPU, and does not start there.
    """
    import onnxruntime  # noqa: PLC0415 (an extra, slow to import)

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.use_deterministic_compute = True
    if threads is not None:
        options.intra_op_num_threads = options.inter_op_num_threads = threads
    providers: list[Any] = [CPU]
    if device != "cpu":
        number = device.partition(":")[2] or "0"
        providers = [(CUDA, {**_ON_GPU, "device_id": number}), CPU]
    try:
        session = onnxruntime.InferenceSession(model, options, providers=providers)
    except failures() as error:
        raise OnnxError(one_line(error)) from error
    # Where CUDA does not start, onnxruntime goes on with the CPU and says so in its log alone.
    if device != "cpu" and CUDA not in session.get_providers():
        raise PlanError(
            f"onnxruntime cannot start on {device} of {platform.node()}: it needs the CUDA and cuDNN that it "
            "was built for; see its log, or use --set inference.device=cpu"
        )
    return session


def run(session: Any, inputs: Any) -> list[Any]:
    """Return all outputs of a session for the array that its one input takes.

    Raises
    ------
    OnnxError
        When onnxruntime cannot run it.
    """
    try:
        return list(session.run(None, {session.get_inputs()[0].name: inputs}))
    except failures() as error:
        raise OnnxError(one_line(error)) from error


@cache
def failures() -> tuple[type[Exception], ...]:
    """Return the errors that onnxruntime raises, which have no class in common but `Exception`."""
    from onnxruntime.capi import onnxruntime_pybind11_state as state  # noqa: PLC0415 (an extra)

    own = [e for e in vars(state).values() if isinstance(e, type) and issubclass(e, Exception)]
    return (RuntimeError, ValueError, *own)
