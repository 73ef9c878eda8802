"""Backends on the CPU: one thread, the same tiles in turn, CPU seconds and ratios to eager torch.

`python -m tests.benchmarks backends`. Networks have the sizes of real ones and weights of a start; the
shipped bundle is the exception. All see the middle of the sample scene. `TILES="512"` takes one size. ONNX
Runtime takes part where it is installed (`pip install onnx onnxruntime`) and the network can be exported,
torch.compile where there is a C++ compiler, bfloat16 where the processor has it.
"""

import io
import os
import shutil
import statistics
import tempfile
import warnings
from contextlib import redirect_stdout, suppress
from importlib.util import find_spec
from pathlib import Path
from time import process_time

import numpy as np
import torch

from geoseg.core.geometry import Window
from geoseg.models.backends.openvino_model import has_bfloat16
from geoseg.models.backends.openvino_segmenter import OpenVinoSegmenter
from geoseg.models.backends.spec import Segmenter, SegmenterSpec
from geoseg.models.backends.torch_segmenter import TorchSegmenter
from geoseg.models.bundle import Bundle, open_bundle, save_bundle
from geoseg.models.card import Card
from geoseg.models.networks.architectures import build
from geoseg.runs.prepare import prepare
from geoseg.scenes.scene import Scene

PIPELINE = Path("pipelines/landcover.yaml")
SHIPPED = Path("configs/models/landcover-s2")
NETWORKS = {
    "U-Net / ResNet-34": {"_model_class": "Unet", "encoder_name": "resnet34"},
    "PSPNet / ResNet-34": {"_model_class": "PSPNet", "encoder_name": "resnet34"},
}
ROUNDS = 5


def bundles(folder: Path) -> dict[str, Path]:
    """Return bundle folders by name: the shipped one, and some with its card and other networks."""
    card = open_bundle(SHIPPED).card.model_dump()
    made = {"U-Net / lite0 (landcover-s2)": SHIPPED}
    for i, (name, config) in enumerate(NETWORKS.items()):
        torch.manual_seed(0)
        network = build({**config, "in_channels": len(card["bands"]), "classes": len(card["classes"])})
        made[name] = save_bundle(network, Card.model_validate(card), folder / str(i)).folder
    return made


def main() -> None:
    torch.set_num_threads(1)
    sides = [int(s) for s in os.environ.get("TILES", "512 1024").split()]
    print("| network | tile | backend | s | ratio to eager (spread) | classes changed |")
    print("|---|---|---|---|---|---|")
    scene = prepare(PIPELINE).scene
    with tempfile.TemporaryDirectory() as temporary:
        for name, folder in bundles(Path(temporary)).items():
            for side in sides:
                for row in measured(folder, side, scene):
                    print(f"| {name} | {side} | {' | '.join(row)} |", flush=True)


class OnnxSegmenter(TorchSegmenter):
    """ONNX Runtime in the place of torch's network; torch normalises."""

    def __init__(self, bundle: Bundle, spec: SegmenterSpec, side: int) -> None:
        import onnxruntime

        super().__init__(bundle, spec)
        x, file = torch.zeros(1, len(bundle.card.bands), side, side), io.BytesIO()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            torch.onnx.export(bundle.network(), (x,), file, dynamo=False, opset_version=17)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        session = onnxruntime.InferenceSession(file.getvalue(), options, providers=["CPUExecutionProvider"])
        name = session.get_inputs()[0].name
        self.network = lambda x: torch.from_numpy(session.run(None, {name: x.contiguous().numpy()})[0])


def runners_of(bundle: Bundle, side: int) -> dict[str, Segmenter]:
    """Return what is compared, eager torch first."""

    def spec(backend: str, precision: str = "fp32") -> SegmenterSpec:
        return SegmenterSpec(bundle.folder, bundle.sha256, "cpu", backend, precision, "none", 1)

    network = bundle.network()
    eager = TorchSegmenter(bundle, spec("torch"))
    eager.network = lambda x: network(x.contiguous())
    channels_last = TorchSegmenter(bundle, spec("torch"))
    channels_last.network = bundle.network().to(memory_format=torch.channels_last)
    runners: dict[str, Segmenter] = {
        "torch, eager": eager,
        "torch, channels_last": channels_last,
        "torch, folded, channels_last": TorchSegmenter(bundle, spec("torch")),
    }
    if shutil.which("g++"):
        runners["inductor (torch.compile)"] = TorchSegmenter(bundle, spec("inductor"))
    if find_spec("onnxruntime") and find_spec("onnx"):
        # PSPNet fails at sizes that its pools do not divide, and torch prints the whole network.
        with suppress(torch.onnx.errors.OnnxExporterError), redirect_stdout(io.StringIO()):
            runners["ONNX Runtime"] = OnnxSegmenter(bundle, spec("torch"), side)
    runners["OpenVINO"] = OpenVinoSegmenter(bundle, spec("openvino"))
    if has_bfloat16():
        runners["torch, folded, channels_last, bf16"] = TorchSegmenter(bundle, spec("torch", "bf16"))
        runners["OpenVINO, bf16"] = OpenVinoSegmenter(bundle, spec("openvino", "bf16"))
    return runners


def measured(folder: Path, side: int, scene: Scene) -> list[list[str]]:
    """Return the rows of one network, on the middle of the scene."""
    runners = runners_of(open_bundle(folder), side)
    top, left = ((n - side) // 2 for n in scene.shape)
    pixels = scene.read(Window.of(top, left, side, side))
    values, valid, gain, bias = pixels.values[None], pixels.valid[None], scene.gain, scene.bias
    first = {k: r.predict(values, valid, gain, bias).argmax(axis=1) for k, r in runners.items()}
    seconds: dict[str, list[float]] = {k: [] for k in runners}
    for _ in range(ROUNDS):
        for k, runner in runners.items():
            start = process_time()
            runner.predict(values, valid, gain, bias)
            seconds[k].append(process_time() - start)
    rows = []
    for k, mine in seconds.items():
        ratio = np.array(seconds["torch, eager"]) / np.array(mine)
        changed = (first[k] != first["torch, eager"]).mean()
        rows.append([
            k, f"{statistics.median(mine):.3f}",
            f"{np.median(ratio):.2f} ({ratio.min():.2f} to {ratio.max():.2f})", f"{changed:.4%}",
        ])  # fmt: skip
    return rows


if __name__ == "__main__":
    main()
