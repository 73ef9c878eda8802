"""Read the graph of a bundle with OpenVINO: ONNX, or OpenVINO's own form."""

import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from geoseg.core.errors import BundleError, one_line
from geoseg.models.bundle import Bundle
from geoseg.models.graphs import ONNX
from geoseg.models.onnx_file import check_alone

GRAPH, CONSTANTS = "graph", "constants"
"""Names of the two byte strings in the safetensors file of a graph in OpenVINO's form."""


def is_installed() -> bool:
    """Return whether OpenVINO is installed, without importing it."""
    return find_spec("openvino") is not None


def import_openvino() -> Any:
    """Import OpenVINO without its module that sends usage statistics."""
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]
    import openvino as library  # noqa: PLC0415

    return library


def read_graph(bundle: Bundle) -> Any:
    """Return the graph of a bundle as an `openvino.Model` with one input (N, B, rows, cols) and one answer.

    Raises
    ------
    BundleError
        When OpenVINO cannot read it, or the file asks for other files.
    """
    if not is_installed():
        raise BundleError(
            f"{bundle.folder}: a {bundle.architecture} is run by OpenVINO; pip install openvino"
        )
    path = bundle.weights_path
    if bundle.config["_model_class"] == ONNX:
        return read_onnx(path)
    try:
        return unpack(path)
    except (OSError, KeyError, RuntimeError, ValueError, TypeError) as error:
        raise BundleError(f"{path}: OpenVINO cannot read it: {one_line(error)[:160]}") from error


def read_onnx(path: Path) -> Any:
    """Return an ONNX file as an `openvino.Model`, its first output alone.

    Raises
    ------
    BundleError
        When OpenVINO cannot read it, or the file asks for other files.
    """
    check_alone(path)
    try:
        return single(import_openvino().Core().read_model(path))
    except (RuntimeError, ValueError) as error:
        raise BundleError(f"{path}: OpenVINO cannot read it: {one_line(error)[:160]}") from error


def single(model: Any) -> Any:
    """Return a model with its first output alone.

    Raises
    ------
    ValueError
        When it has not exactly one input.
    """
    if len(model.inputs) != 1:
        raise ValueError(f"it has {len(model.inputs)} inputs; geoseg feeds one")
    if len(model.outputs) == 1:
        return model
    return import_openvino().Model([model.get_results()[0]], model.get_parameters())


def pack(model: Any, path: Path) -> None:
    """Write an `openvino.Model` as one safetensors file, which holds its graph and its constants as bytes."""
    import tempfile  # noqa: PLC0415

    from safetensors.numpy import save_file  # noqa: PLC0415

    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "model.xml"
        import_openvino().save_model(model, file, compress_to_fp16=False)
        parts = {GRAPH: file, CONSTANTS: file.with_suffix(".bin")}
        save_file({name: np.fromfile(part, np.uint8) for name, part in parts.items()}, path)


def unpack(path: Path) -> Any:
    """Return the `openvino.Model` in a file that `pack` wrote."""
    from safetensors.numpy import load_file  # noqa: PLC0415

    parts = load_file(path)
    constants = import_openvino().Tensor(parts[CONSTANTS])
    return single(import_openvino().Core().read_model(parts[GRAPH].tobytes(), constants))
