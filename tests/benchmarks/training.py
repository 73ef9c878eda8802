"""Samples a second in training, against a bare torch loop over batches that lie in memory.

`python -m tests.benchmarks training [--rounds 3] [--steps 12] [--workers 0]`. The network, loss, chips and
augmentation (but for its texture) of `landcover-s2` on scenes made on the spot. `geoseg train` reads,
augments, trains, averages weights and counts what it reports; the bare loop runs the same network, loss and
optimiser, channels last, over batches that it collected before. The two take turns in every round; the first
two steps do not count.
"""

import argparse
import statistics
import tempfile
import textwrap
import time
import warnings
from pathlib import Path

import torch

from geoseg.training import train
from geoseg.training.prepare import PreparedTraining, prepare
from geoseg.training.task import SegmentationTask
from tests.training.worlds import labelled_scene

BATCH, LEFT_OUT = 16, 2

DOCUMENT = """\
    name: speed
    dataset:
      kind: scenes
      folder: {data}
      scenes:
        - {{scene: s0.tif, labels: s0_labels.tif, part: train}}
        - {{scene: s1.tif, labels: s1_labels.tif, part: train}}
        - {{scene: s2.tif, labels: s2_labels.tif, part: val}}
        - {{scene: s3.tif, labels: s3_labels.tif, part: test}}
    split: {{by: given}}
    legend:
      classes:
        - {{id: 1, slug: water, title: Water, color: "#2b7bba"}}
        - {{id: 2, slug: tree, title: Tree, color: "#1b7837"}}
        - {{id: 3, slug: crop, title: Crop, color: "#f2cf63"}}
      ignore: [0]
    chips: {{size: 128, per_epoch: {draws}, balance: 0.3}}
    augmentation:
      {{scale: [1.0, 3.0], scale_probability: 0.6, brightness: 0.1, low_sun: 0.6, band_gain: 0.08,
       haze: [-0.01, 0.03], noise: 0.006, blur: 0.2}}
    network:
      architecture: Unet
      arguments: {{encoder_name: tu-tf_efficientnet_lite0, decoder_channels: [96, 64, 48, 32, 16]}}
    loss:
      - {{kind: cross-entropy, class_weights: sqrt, label_smoothing: 0.03}}
      - {{kind: dice, weight: 0.5}}
    optimizer: {{kind: adamw, rate: 0.002, weight_decay: 0.02}}
    fit: {{epochs: 1, batch: {batch}, workers: {workers}, average: 0.995, device: cpu}}
    output: {folder}/trained
"""


def rate(times: list[float]) -> float:
    """Return samples a second from when each step began."""
    kept = times[LEFT_OUT:]
    return BATCH * (len(kept) - 1) / (kept[-1] - kept[0])


class Watched(SegmentationTask):
    """The task of `geoseg train`, which notes when its steps begin, and keeps their batches."""

    began: list[float]
    batches: list[dict]
    last: "Watched"

    def training_step(self, batch, number):
        """Note the time, and keep the batch."""
        if number == 0:
            Watched.began, Watched.batches, Watched.last = [], [], self
        Watched.began.append(time.perf_counter())
        Watched.batches.append(batch)
        return super().training_step(batch, number)


def geoseg_rate(prepared: PreparedTraining) -> float:
    """Train an epoch as users do."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        train.train(prepared, overwrite=True)
    return rate(Watched.began)


def bare_rate() -> float:
    """Train over the batches of the last epoch in a loop of six lines."""
    network, loss = Watched.last.network.train(), Watched.last.loss
    optimizer, began = torch.optim.AdamW(network.parameters(), lr=0.002, weight_decay=0.02), []
    for batch in Watched.batches:
        began.append(time.perf_counter())
        optimizer.zero_grad()
        loss(network(batch["image"].contiguous(memory_format=torch.channels_last)), batch["label"]).backward()
        optimizer.step()
    return rate(began)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=12)
    parser.add_argument("--workers", type=int, default=0)
    options = parser.parse_args()
    import geoseg.training.build as module

    module.SegmentationTask = Watched
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        for i in range(4):
            size = (1024, 1024) if i < 2 else (128, 128)
            labelled_scene(folder, f"s{i}", size, seed=i, origin=(5e5 + 20000 * i, 4.5e6), keep=False)
        path = folder / "training.yaml"
        text = DOCUMENT.format(
            data=folder, folder=folder, draws=BATCH * options.steps, batch=BATCH, workers=options.workers
        )
        path.write_text(textwrap.dedent(text))
        prepared = prepare(path)
        print("| round | geoseg, samples/s | bare loop, samples/s |\n| --- | --- | --- |")
        ratios = []
        for number in range(1, options.rounds + 1):
            ours, bare = geoseg_rate(prepared), bare_rate()
            ratios.append(ours / bare)
            print(f"| {number} | {ours:.1f} | {bare:.1f} |", flush=True)
    print(
        f"\ngeoseg / bare: {statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f}), "
        f"{options.workers} loader processes"
    )


if __name__ == "__main__":
    main()
