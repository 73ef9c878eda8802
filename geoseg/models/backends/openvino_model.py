"""Convert the network of a bundle to OpenVINO, once on each machine; the cache folder keeps it."""

import contextlib
import json
import os
import subprocess
import sys
import tempfile
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geoseg.core.cache import cache_folder
from geoseg.core.errors import BundleError, one_line
from geoseg.core.files import read_json, sha256
from geoseg.core.notices import ignore_warnings
from geoseg.core.process import configure_process
from geoseg.models.backends.graph import import_openvino, is_installed, read_graph
from geoseg.models.backends.openvino_upsampling import fuse_upsampling
from geoseg.models.bundle import Bundle, open_bundle
from geoseg.models.feeding import probabilities

TOLERANCE = 1e-3
"""Largest difference of a probability from that of torch, on the inputs that check a conversion."""

FP32 = {"INFERENCE_PRECISION_HINT": "f32"}
"""Hint for float32; without it, OpenVINO uses bfloat16 where the processor has it."""

BF16 = {"INFERENCE_PRECISION_HINT": "bf16"}
"""Hint for bfloat16; on a processor without it, OpenVINO silently uses float32, see `has_bfloat16`."""

_MODEL, _REFUSAL = "model.xml", "refused.txt"

_RECORD = "kept.json"
"""Name of the file with the hashes of the others."""


def has_bfloat16() -> bool:
    """Return whether this processor computes in bfloat16."""
    return "BF16" in import_openvino().Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")


def load_model(bundle: Bundle) -> Any:
    """Return the network of a bundle as an `openvino.Model`: (N, B, rows, cols) to logits, for any size.

    The first call on a machine converts the network and compares it with torch, which takes seconds; later
    calls read the files that it kept. Files that are not as they were kept are made again.

    Raises
    ------
    BundleError
        When OpenVINO cannot run the network, or gives other probabilities than torch. The refusal is kept in
        the cache, too.
    """
    if bundle.is_graph:
        return read_graph(bundle)
    if bundle.code is not None:
        # A conversion is kept by the hash of the bundle, which does not cover the code.
        raise _refused(bundle, "it is Python code")
    kept = _place_of(bundle)
    if _is_as_kept(kept):
        return _read(bundle, kept)
    try:
        kept.parent.mkdir(parents=True, exist_ok=True)
        parent = kept.parent if os.access(kept.parent, os.W_OK) else None
    except OSError:
        parent = None  # the next run converts again
    with tempfile.TemporaryDirectory(dir=parent, ignore_cleanup_errors=True) as temporary:
        folder = Path(temporary) / kept.name
        folder.mkdir()
        # In a process of its own: torch and the trace need more memory than the plan announces.
        places = f"{str(bundle.folder.resolve())!r}, {str(folder)!r}"
        code = f"from {__name__} import convert_bundle; convert_bundle({places})"
        process = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)  # noqa: S603
        if process.returncode:
            raise _refused(bundle, (process.stderr.strip().splitlines() or ["its process was killed"])[-1])
        if parent is None or not _keep(folder, kept, Path(temporary)):
            return _read(bundle, folder)
    return _read(bundle, kept)


def is_kept(bundle: Bundle) -> bool:
    """Return whether a bundle needs no conversion: it is a graph or code, or was converted here before."""
    if bundle.is_graph or bundle.code is not None:
        return True
    return is_installed() and (_place_of(bundle) / _RECORD).exists()


def _place_of(bundle: Bundle) -> Path:
    return cache_folder() / "openvino" / f"{bundle.sha256[:32]}-{version('openvino')}"


def _is_as_kept(folder: Path) -> bool:
    """Return whether a folder holds the files that a conversion left there, with the same bytes."""
    hashes = read_json(folder / _RECORD) or {}
    try:
        complete = _MODEL in hashes or _REFUSAL in hashes
        return complete and all(sha256(folder / Path(name).name) == h for name, h in hashes.items())
    except OSError:
        return False


def _keep(folder: Path, kept: Path, aside: Path) -> bool:
    """Give a folder its place in the cache, instead of a damaged one; return whether a good one is there.

    Another process may do the same: whichever comes first stays, because both hold the same network.
    """
    with contextlib.suppress(OSError):
        hashes = {f.name: sha256(f) for f in folder.iterdir()}
        (folder / _RECORD).write_text(json.dumps(hashes), encoding="utf-8")
        if kept.exists() and not _is_as_kept(kept):
            kept.rename(aside / "damaged")
        folder.rename(kept)
    return _is_as_kept(kept)


def _read(bundle: Bundle, folder: Path) -> Any:
    if (folder / _REFUSAL).exists():
        raise _refused(bundle, (folder / _REFUSAL).read_text(encoding="utf-8"))
    return import_openvino().Core().read_model(folder / _MODEL)


def _refused(bundle: Bundle, reason: str) -> BundleError:
    return BundleError(
        f"{bundle.folder}: OpenVINO cannot run this network ({reason}); use --set inference.backend=torch"
    )


def convert_bundle(bundle: str, folder: str) -> None:
    """Convert the network of a bundle into a folder, or write the reason there why that is not possible."""
    configure_process()
    ov = import_openvino()
    try:
        model = _convert(ov, open_bundle(bundle))
    except (RuntimeError, ValueError) as error:
        (Path(folder) / _REFUSAL).write_text(one_line(error)[:200], encoding="utf-8")
    else:
        ov.save_model(model, Path(folder) / _MODEL, compress_to_fp16=False)


def _convert(ov: Any, bundle: Bundle) -> Any:
    """Return the network of a bundle, traced, converted and compared.

    Raises
    ------
    RuntimeError, ValueError
        When the conversion fails, or the probabilities differ from those of torch.
    """
    import torch  # noqa: PLC0415

    network, tile = bundle.network(), bundle.card.tile
    # A trace may contain the size of its example as constants: other sizes are compared as well.
    sides = [min(tile.min + k * tile.divisor, tile.max) for k in range(3)]
    shapes = (sides[0], sides[0]), (sides[1], sides[2]), (tile.size, tile.size)
    inputs = [_noise(1, len(bundle.card.bands), *shape) for shape in shapes]
    with torch.inference_mode(), ignore_warnings():  # tracing warns about constants
        example = torch.from_numpy(inputs[0])
        traced = torch.jit.trace(network, example, check_trace=False, strict=False)  # type: ignore[no-untyped-call]
        model = ov.convert_model(traced, example_input=example)
        expected = [probabilities(bundle.card, network(torch.from_numpy(x))).numpy() for x in inputs]
    for x, known in zip(inputs, expected, strict=True):
        logits = ov.Core().compile_model(with_shape(model, x.shape), "CPU", FP32)({0: x})[0]
        found = probabilities(bundle.card, torch.from_numpy(logits)).numpy()
        if found.shape != known.shape or not np.abs(found - known).max() <= TOLERANCE:
            raise ValueError(f"it gives other probabilities than torch for an input of {x.shape}")
    return model


def with_shape(model: Any, shape: tuple[int, ...]) -> Any:
    """Return a copy of a model for inputs (N, B, rows, cols) of one shape, as a run compiles it.

    Nodes that depend only on the size become constants, and upsamplings are fused with their convolutions.
    """
    fixed = model.clone()
    fixed.reshape(list(shape))
    fuse_upsampling(fixed)
    return fixed


def _noise(*shape: int) -> NDArray[np.float32]:
    return np.random.default_rng(0).normal(size=shape).astype(np.float32)
