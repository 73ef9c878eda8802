"""Read networks as programs: SavedModels of TensorFlow, TorchScript, exported programs of torch.

OpenVINO converts them once, and the bundle holds the converted graph. A SavedModel is data, which OpenVINO
reads itself. The two forms of torch can run code while they are loaded: only with trust.
"""

import tempfile
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from geoseg.core.errors import BundleError, one_line
from geoseg.core.files import sha256
from geoseg.core.notices import ignore_warnings
from geoseg.models.backends.graph import import_openvino, pack, single, unpack
from geoseg.models.card import Card
from geoseg.models.graphs import OPENVINO, WEIGHTS
from geoseg.models.importing.graph_bundle import write_graph
from geoseg.models.importing.sizes import sizes_of_graph
from geoseg.models.importing.source import Floats, Original, Source

_TRIED = (256, 224, 512, 128)
"""Sides of the tile that a program of torch is traced with, until one works."""


def read_saved_model(folder: Path) -> Source:
    """Read a SavedModel of TensorFlow: (N, rows, cols, bands) to (N, rows, cols, channels).

    Raises
    ------
    BundleError
        When OpenVINO cannot read it.
    """
    ov = import_openvino()
    from openvino import PartialShape  # noqa: PLC0415 (slow to import)
    from openvino import opset13 as op  # noqa: PLC0415
    from openvino.frontend import FrontEndManager  # noqa: PLC0415
    from openvino.frontend.tensorflow import ConversionExtension  # noqa: PLC0415

    try:
        reader = FrontEndManager().load_by_framework("tf")
        reader.add_extension(ConversionExtension("ScaleAndTranslate", _resize))
        model = single(reader.convert(reader.load(str(folder))))
        shape = _shape(model)
        x = op.parameter(PartialShape([shape[0], shape[3], shape[1], shape[2]]), ov.Type.f32)
        (entry,) = model.get_parameters()
        turned = op.transpose(x, op.constant(np.array([0, 2, 3, 1])))
        for target in entry.output(0).get_target_inputs():
            target.replace_source_output(turned.output(0))
        answer = op.transpose(model.get_results()[0].input_value(0), op.constant(np.array([0, 3, 1, 2])))
        model = ov.Model([answer], [x])
    except (RuntimeError, ValueError, AttributeError) as error:
        raise BundleError(
            f"{folder}: OpenVINO cannot read this SavedModel: {one_line(error)[-160:]}"
        ) from error
    return _source(folder, "SavedModel of TensorFlow", model, None, "")


def _shape(model: Any) -> list[Any]:
    shape = list(model.input(0).get_partial_shape())
    if len(shape) != 4:
        raise ValueError(f"its input is {shape}; (N, rows, cols, bands) is needed")
    return shape


def _resize(node: Any) -> list[Any]:
    """Return the nodes of ScaleAndTranslate with a triangle kernel: a bilinear resize that averages.

    TensorFlow's resize with antialias is made of it; it is the bilinear resize of Pillow.

    Raises
    ------
    ValueError
        When it has another kernel.
    """
    from openvino import opset13 as op  # noqa: PLC0415 (slow to import)

    kernel = node.get_attribute("kernel_type")
    if kernel != "triangle":
        raise ValueError(f"ScaleAndTranslate with kernel {kernel} is not known")
    image = op.transpose(node.get_input(0), op.constant(np.array([0, 3, 1, 2])))
    size = op.convert(node.get_input(1), "i32")
    half = {"coordinate_transformation_mode": "half_pixel", "axes": [2, 3]}
    resized = op.interpolate(image, size, "bilinear_pillow", "sizes", **half)
    return [op.transpose(resized, op.constant(np.array([0, 2, 3, 1]))).output(0)]


def read_torch_program(path: Path, form: str, *, trust: bool) -> Source:
    """Read a TorchScript file, or an exported program (`.pt2`) of torch.

    Raises
    ------
    BundleError
        When it is not trusted, cannot be loaded, or OpenVINO cannot convert it.
    """
    if not trust:
        raise BundleError(
            f"{path}: is {form}, which can run code while it is loaded; give --trust if you trust who made "
            "it, or export it to ONNX in its own environment"
        )
    import torch  # noqa: PLC0415

    with ignore_warnings():
        try:
            network: Any
            if form == TORCHSCRIPT:
                network = torch.jit.load(path, map_location="cpu").eval()  # type: ignore[no-untyped-call]
                model = _converted(network, path)
            else:
                network, model = _exported(torch.export.load(path))
        except BundleError:
            raise
        except Exception as error:  # whatever the code in the file raises
            raise BundleError(f"{path}: cannot be loaded as {form}: {one_line(error)[:160]}") from error

    def original(x: Floats) -> Floats:
        with torch.inference_mode(), ignore_warnings():
            answer: Floats = _tensor(network(torch.from_numpy(x))).numpy()
        return answer

    return _source(path, form, model, original, f"torch {version('torch')}")


TORCHSCRIPT, EXPORTED = "TorchScript", "an exported program of torch"


def _exported(program: Any) -> tuple[Any, Any]:
    """Return what runs an exported program, and the graph that OpenVINO makes of it, for the same sizes."""
    import torch  # noqa: PLC0415

    (name, *_) = program.graph_signature.user_inputs
    node = next(n for n in program.graph.nodes if n.name == name)
    batch, bands, *sides = (n if isinstance(n, int) else -1 for n in node.meta["val"].shape)
    model = single(import_openvino().convert_model(program))
    model.reshape([-1, bands, *sides])
    whole = program.module()

    def run(x: Any) -> Any:
        if batch == -1:
            return whole(x)
        # It takes batches of one size only: the last one is filled up.
        parts = [torch.cat([p, p[:1].expand(batch - len(p), *p.shape[1:])]) for p in x.split(batch)]
        return torch.cat([_tensor(whole(p)) for p in parts])[: len(x)]

    return run, model


def _converted(network: Any, path: Path) -> Any:
    import torch  # noqa: PLC0415

    stem = next((p for p in network.parameters() if p.ndim == 4), None)
    if stem is None:
        raise BundleError(f"{path}: has no convolution, so its bands are not known")
    for side in _TRIED:
        example = torch.zeros(1, stem.shape[1], side, side)
        try:
            with torch.inference_mode():
                _tensor(network(example))
        except RuntimeError:
            continue
        model = single(import_openvino().convert_model(network, example_input=example))
        model.reshape([-1, stem.shape[1], -1, -1])
        return model
    raise BundleError(f"{path}: takes no tile of {', '.join(map(str, _TRIED))} px with {stem.shape[1]} bands")


def _tensor(answer: Any) -> Any:
    """Return the tensor of an answer: networks of torchvision give a mapping with `out`."""
    if isinstance(answer, dict):
        return answer.get("out", next(iter(answer.values())))
    return answer[0] if isinstance(answer, list | tuple) else answer


def _source(path: Path, kind: str, model: Any, original: Original | None, runner: str) -> Source:
    # Through its file: what runs later is what is looked at now.
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / WEIGHTS
        pack(model, file)
        packed = file.read_bytes()
        model = unpack(file)
    try:
        sizes, bands, channels = sizes_of_graph(model)
    except BundleError as error:
        raise BundleError(f"{path}: {error}") from None

    def write(card: Card, folder: Path) -> None:
        (folder / WEIGHTS).write_bytes(packed)
        write_graph(OPENVINO, model, card, folder, bands, channels)

    return Source(
        path=path, kind=kind, facts={}, sizes=sizes, bands=bands, channels=channels, write=write,
        original=original, runner=runner, sha256=sha256(path) if path.is_file() else "",
    )  # fmt: skip
