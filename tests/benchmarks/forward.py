"""How much of a run is the bare forward pass: a run against its tiles alone, in turn.

`python -m tests.benchmarks forward [--side 8192] [--rounds 5]`: the sample scene with all outputs or, with a
side, a larger scene made of it (`tests/benchmarks/peers/scene.py`) with its class map.
"""

import argparse
import statistics
import tempfile
from pathlib import Path
from time import perf_counter

import numpy as np

from geoseg.inference.plan import Plan
from geoseg.models.backends.load import device_pool, load_segmenter
from geoseg.runs.prepare import prepare
from geoseg.runs.run import run
from tests.benchmarks.peers.compare import CACHE
from tests.benchmarks.peers.scene import pipeline_file, scene_file

PIPELINE = Path("pipelines/landcover.yaml")


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--side", type=int)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    pipeline = pipeline_file(scene_file(CACHE, options.side)) if options.side else PIPELINE
    plan = prepare(pipeline)
    spec = plan.segmenter
    segmenter = load_segmenter(spec)
    values, valid = batch_of(plan)

    def forward(_: int) -> None:
        segmenter.predict(values, valid, plan.scene.gain, plan.scene.bias)

    list(device_pool(spec).map(forward, range(plan.passes)))  # each thread compiles or warms up
    bare, whole, predict = [], [], []
    for _ in range(options.rounds):
        start = perf_counter()
        list(device_pool(spec).map(forward, range(-(-plan.grid.count // plan.batch))))
        bare.append(perf_counter() - start)
        with tempfile.TemporaryDirectory() as folder:
            manifest = run(prepare(pipeline, output=Path(folder))).record.model_dump(mode="json")
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
    print(f"{'':>20}  {tiles} in {plan.backend}, {plan.passes} at once, {options.rounds} rounds in turn")


def batch_of(plan: Plan) -> tuple[np.ndarray, np.ndarray]:
    """Return values and validity of a batch of noise."""
    shape = plan.batch, len(plan.scene.bands), *plan.grid.tile_shape
    values = np.random.default_rng(0).integers(0, 4000, shape).astype(plan.scene.dtype)
    return values, np.ones((plan.batch, *plan.grid.tile_shape), dtype=bool)


if __name__ == "__main__":
    main()
