"""Convert a bundle's network to OpenVINO, once for each machine: models are kept in the user's cache."""

import contextlib
import sys
import tempfile
import warnings
from collections.abc import Callable
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geoseg.core.cache import cache_folder
from geoseg.core.errors import BundleError, one_line
from geoseg.models.bundle import Bundle

TOLERANCE = 1e-3
"""How far a probability may be from torch's on the inputs that a conversion is tried with."""

FP32 = {"INFERENCE_PRECISION_HINT": "f32"}
"""Without it, OpenVINO takes bfloat16 where the processor has it."""

_MODEL, _REFUSAL = "model.xml", "refused.txt"


def installed() -> bool:
    """Return whether OpenVINO is there; it is not imported."""
    return find_spec("openvino") is not None


def openvino() -> Any:
    """Import OpenVINO without the part of it that sends usage statistics."""
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]
    import openvino as library  # noqa: PLC0415

    return library


def converted(bundle: Bundle) -> Any:
    """Return a bundle's network as an `openvino.Model`: (N, B, rows, cols) to logits, any N, rows and cols.

    The first call on a machine converts and compares with torch, which takes seconds; later ones read a file.

    Raises
    ------
    BundleError
        When OpenVINO cannot run the network, or gives other probabilities than torch; that is kept, too.
    """
    ov = openvino()
    kept = cache_folder() / "openvino" / f"{bundle.sha256[:32]}-{version('openvino')}"
    if (kept / _REFUSAL).exists():
        raise _refused(bundle, (kept / _REFUSAL).read_text(encoding="utf-8"))
    if (kept / _MODEL).exists():
        return ov.Core().read_model(kept / _MODEL)
    try:
        model = _convert(ov, bundle)
    except (RuntimeError, ValueError) as error:
        reason = one_line(error)[:200]
        _keep(kept, lambda folder: (folder / _REFUSAL).write_text(reason, encoding="utf-8"))
        raise _refused(bundle, reason) from error
    _keep(kept, lambda folder: ov.save_model(model, folder / _MODEL, compress_to_fp16=False))
    return model


def _refused(bundle: Bundle, reason: str) -> BundleError:
    return BundleError(
        f"{bundle.folder}: OpenVINO cannot run this network ({reason}); use --set inference.backend=torch"
    )


def _keep(folder: Path, write: Callable[[Path], Any]) -> None:
    """Make a folder of the cache, complete or not at all; where it cannot be made, nothing is kept."""
    # Another process may have made it meanwhile: then the rename fails, and theirs is as good.
    with contextlib.suppress(OSError):
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder.parent, ignore_cleanup_errors=True) as temporary:
            write(Path(temporary))
            Path(temporary).rename(folder)


def _convert(ov: Any, bundle: Bundle) -> Any:
    """Trace and convert.

    Raises
    ------
    RuntimeError, ValueError
        When that fails, or when probabilities of the two differ.
    """
    import torch  # noqa: PLC0415

    network, tile = bundle.network(), bundle.card.tile
    # A trace may have kept the size of its example as constants: other sizes are tried as well.
    sides = [min(tile.min + k * tile.divisor, tile.max) for k in range(3)]
    shapes = (sides[0], sides[0]), (sides[1], sides[2]), (tile.size, tile.size)
    inputs = [_noise(1, len(bundle.card.bands), *shape) for shape in shapes]
    with torch.inference_mode(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # tracing warns of constants
        example = torch.from_numpy(inputs[0])
        traced = torch.jit.trace(network, example, check_trace=False, strict=False)  # type: ignore[no-untyped-call]
        model = ov.convert_model(traced, example_input=example)
        expected = [torch.softmax(network(torch.from_numpy(x)), dim=1).numpy() for x in inputs]
    for x, probabilities in zip(inputs, expected, strict=True):
        fixed = model.clone()
        fixed.reshape(
            list(x.shape)
        )  # as a run does; parts that depend on the size alone are computed at once
        logits = ov.Core().compile_model(fixed, "CPU", FP32)({0: x})[0]
        found = torch.softmax(torch.from_numpy(logits), dim=1).numpy()
        if found.shape != probabilities.shape or not np.abs(found - probabilities).max() <= TOLERANCE:
            raise ValueError(f"it gives other probabilities than torch for an input of {x.shape}")
    return model


def _noise(*shape: int) -> NDArray[np.float32]:
    return np.random.default_rng(0).normal(size=shape).astype(np.float32)
