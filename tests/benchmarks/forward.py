"""How much of a run is the bare forward pass: the sample run against its tiles alone, in turn.

`python -m tests.benchmarks forward`
"""

import statistics
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from time import perf_counter

import numpy as np
import torch

from geoseg.pipeline import prepare, run

PIPELINE = Path("pipelines/landcover.yaml")
ROUNDS = 5


def main() -> None:
    prepared = prepare(PIPELINE)
    plan = prepared.plan
    network = plan.bundle.network().to(memory_format=torch.channels_last)
    x = torch.randn(1, len(plan.bundle.card.bands), *plan.grid.tile_shape)
    x = x.contiguous(memory_format=torch.channels_last)

    def forward(_: int) -> None:
        with torch.inference_mode():
            network(x)

    bare, whole, predict = [], [], []
    for _ in range(ROUNDS):
        with ThreadPoolExecutor(plan.passes, initializer=torch.set_num_threads, initargs=(1,)) as pool:
            start = perf_counter()
            list(pool.map(forward, range(plan.grid.count)))
            bare.append(perf_counter() - start)
        with tempfile.TemporaryDirectory() as folder:
            manifest = run(prepare(PIPELINE, output=Path(folder))).manifest
        whole.append(manifest["seconds"]["total"])
        predict.append(manifest["seconds"]["predict"])
    rows = {"bare forward passes": bare, "blocks into staging": predict, "whole run": whole}
    for name, seconds in rows.items():
        ratio = np.array(seconds) / np.array(bare)
        print(
            f"{name:>20}: {statistics.median(seconds):6.2f} s, ratio to bare {np.median(ratio):.2f} "
            f"({ratio.min():.2f} to {ratio.max():.2f})"
        )
    tiles = f"{plan.grid.count} tiles of {plan.grid.tile_shape}"
    print(f"{'':>20}  {tiles}, {plan.passes} at once, {ROUNDS} rounds in turn")


if __name__ == "__main__":
    main()
