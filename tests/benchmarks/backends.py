"""Backends on the CPU: one thread, the same tiles in turn, CPU seconds and ratios to eager torch.

`python -m tests.benchmarks backends`. Networks have the sizes of real ones and weights of a start; the
shipped bundle is the exception. `TILES="512"` takes one size.
"""

import os
import statistics
import tempfile
from pathlib import Path
from time import process_time

import numpy as np
import torch

from geoseg.models.architectures import build
from geoseg.models.bundle import open_bundle, save_bundle
from geoseg.models.card import Card
from geoseg.models.openvino_segmenter import OpenVinoSegmenter
from geoseg.models.segmenter import SegmenterSpec
from geoseg.models.torch_segmenter import TorchSegmenter

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
    with tempfile.TemporaryDirectory() as temporary:
        for name, folder in bundles(Path(temporary)).items():
            for side in sides:
                for row in measured(folder, side):
                    print(f"| {name} | {side} | {' | '.join(row)} |", flush=True)


def measured(folder: Path, side: int) -> list[list[str]]:
    bundle = open_bundle(folder)
    bands = len(bundle.card.bands)
    values = np.random.default_rng(0).integers(0, 4000, (1, bands, side, side)).astype(np.uint16)
    valid = np.ones((1, side, side), dtype=bool)
    gain, bias = np.full(bands, 1e-4, np.float32), np.zeros(bands, np.float32)

    def spec(backend: str) -> SegmenterSpec:
        return SegmenterSpec(folder, bundle.sha256, "cpu", backend, "fp32", "none", 1)

    network = bundle.network()
    eager = TorchSegmenter(bundle, spec("torch"))
    eager.network = lambda x: network(x.contiguous())
    channels_last = TorchSegmenter(bundle, spec("torch"))
    channels_last.network = bundle.network().to(memory_format=torch.channels_last)
    runners = {
        "torch, eager": eager,
        "torch, channels_last": channels_last,
        "torch, folded, channels_last": TorchSegmenter(bundle, spec("torch")),
        "OpenVINO": OpenVinoSegmenter(bundle, spec("openvino")),
    }
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
