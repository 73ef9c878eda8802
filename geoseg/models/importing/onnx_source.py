"""Read ONNX files: the graph, what its metadata say, and onnxruntime as the original."""

import shutil
import weakref
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from geoseg.core.errors import BundleError, one_line
from geoseg.core.extras import installed_version, require
from geoseg.core.files import sha256
from geoseg.models.backends.graph import read_onnx
from geoseg.models.backends.onnx_session import OnnxError, open_session, run
from geoseg.models.card import Card
from geoseg.models.graphs import ONNX, ONNX_FILE
from geoseg.models.importing.deepness import facts_of_metadata
from geoseg.models.importing.graph_bundle import write_graph
from geoseg.models.importing.sizes import sizes_of_graph
from geoseg.models.importing.source import Floats, Original, Source
from geoseg.models.onnx_file import OnnxFacts, read_onnx_facts

_MOST_BYTES = 2**31
_OUTPUTS = {"Softmax": "probabilities", "Sigmoid": "probabilities", "Conv": "logits", "Resize": "logits"}
"""What the last operation tells of an answer."""


def read_onnx_source(path: Path) -> Source:
    """Read an ONNX file.

    Raises
    ------
    BundleError
        When it is damaged, asks for files elsewhere, or is no network from tiles to tiles.
    ConfigError
        When a library is needed that is not installed.
    """
    said = read_onnx_facts(path)
    if said.external:
        _check_external(path, said.external)
        require("onnx", "onnx", f"{path.name}: tensors in other files")
    whole = _alone(path) if said.external else path
    model = read_onnx(whole)
    try:
        sizes, bands, channels = sizes_of_graph(model)
    except BundleError as error:
        raise BundleError(f"{path}: {error}") from None
    facts = {**_output(said, channels), **facts_of_metadata(said.metadata, path)}
    outputs = list(said.outputs)
    left = "" if len(outputs) == 1 else f"of its outputs {', '.join(outputs)} only {outputs[0]} is taken"

    def write(card: Card, folder: Path) -> None:
        shutil.copyfile(whole, folder / ONNX_FILE)
        write_graph(ONNX, model, card, folder, bands, channels)

    if whole != path:  # a temporary file, which the source needs as long as it lives
        weakref.finalize(write, shutil.rmtree, whole.parent, ignore_errors=True)
    return Source(
        path=path, kind=f"ONNX, made by {said.producer or 'an unnamed program'}", facts=facts, sizes=sizes,
        bands=bands, channels=channels, write=write, original=_onnxruntime(whole, path), runner=_runner(),
        sha256=sha256(path), notes=(left,) if left else (),
    )  # fmt: skip


def _output(said: OnnxFacts, channels: int) -> dict[str, Any]:
    """Return what the last operation of the graph tells of its answer; nothing where it tells nothing."""
    kind = _OUTPUTS.get(said.made_by[next(iter(said.outputs))])
    if kind == "probabilities" and channels == 1:
        return {"output": kind, "channels": [0]}
    if kind == "logits" and channels == 1:
        return {"output": "sigmoid"}
    return {} if kind is None else {"output": kind}


def _check_external(path: Path, names: list[str]) -> None:
    """Refuse names of other files that do not lie beside the ONNX file."""
    folder = path.parent.resolve()
    for name in names:
        inside = name and not PurePosixPath(name).is_absolute() and ".." not in PurePosixPath(name).parts
        file = (folder / name).resolve() if inside else None
        if file is None or not file.is_relative_to(folder) or not file.is_file():
            raise BundleError(
                f"{path}: keeps tensors in {ascii(name)[1:-1][:80] or 'an unnamed file'!s}, which is no file "
                "beside it"
            )


def _alone(path: Path) -> Path:
    """Return a file with the same graph and all its tensors, beside no other."""
    import tempfile  # noqa: PLC0415

    import onnx  # noqa: PLC0415 (an extra)

    folder = Path(tempfile.mkdtemp(prefix="geoseg-import-"))
    try:
        model = onnx.load(path)
        onnx.save_model(model, folder / ONNX_FILE, save_as_external_data=False)
    except (OSError, ValueError, RuntimeError, onnx.checker.ValidationError) as error:
        shutil.rmtree(folder, ignore_errors=True)
        raise BundleError(f"{path}: its tensors cannot be taken in: {one_line(error)[:160]}") from error
    return folder / ONNX_FILE


def _runner() -> str:
    require("onnxruntime", "onnx", "the proof of an ONNX import")
    return f"onnxruntime {installed_version('onnxruntime')}"


def _onnxruntime(file: Path, path: Path) -> Original:
    require("onnxruntime", "onnx", f"{path.name}: the proof of an ONNX import")
    sessions: list[Any] = []

    def answer(x: Floats) -> Floats:
        try:
            if not sessions:
                sessions.append(open_session(file))
            return np.asarray(run(sessions[0], x)[0], np.float32)
        except OnnxError as error:
            raise BundleError(f"{path}: onnxruntime cannot run it: {str(error)[:160]}") from error

    return answer
