"""The network on a GPU: the bare rate, how much of it a whole run keeps, memory, and classes against a CPU.

`python -m tests.benchmarks gpu [--side 8192] [--tiles 512,1024] [--processes 2] [--rounds 3]`, on a machine
with a GPU; `--device cpu` tries the script itself. For each network, tile size, backend and precision:

- bare: the same batch, which lies on the device, predicted again and again;
- run: blocks into staging, from the scene's file, loading and compiling included, as network pixels a
  second and as a share of bare;
- memory: what torch allocated on the device at most during the run, and what the plan announces;
- changed: pixels of the run's map with another class than a run in fp32 on the CPU, in per mille.

Then several processes on the same device against one, and a device with too little memory for the batch
(`torch.cuda.set_per_process_memory_fraction`), whose map must be that of `inference.batch` as it was halved.
"""

import argparse
import statistics
import tempfile
from pathlib import Path
from time import perf_counter

import numpy as np
import rasterio
import torch
import yaml

from geoseg.inference.plan import Plan
from geoseg.models.backends.load import load_segmenter
from geoseg.runs.prepare import prepare
from geoseg.runs.run import Options, run
from tests.benchmarks.backends import bundles
from tests.benchmarks.forward import batch_of
from tests.benchmarks.peers.compare import CACHE, spread
from tests.benchmarks.peers.scene import pipeline_file, scene_file

WAYS = [("torch", "fp32"), ("torch", "bf16"), ("torch", "fp16"), ("inductor", "fp32"), ("inductor", "bf16")]


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--side", type=int, default=8192)
    parser.add_argument("--tiles", default="512,1024")
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", default="", help="networks whose names contain this")
    options = parser.parse_args()
    device = torch.cuda.get_device_name() if options.device != "cpu" else "the CPU"
    print(f"{device}, torch {torch.__version__}, {options.side} px a side, {options.rounds} rounds\n")
    print(
        "| network | tile | backend | bare, Mpx/s | run, Mpx/s | share (spread) | memory | announced ", end=""
    )
    print("| changed |\n" + "| --- " * 9 + "|")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for network, bundle in bundles(folder).items():
            if options.only not in network:
                continue
            pipeline = _pipeline(folder, bundle, options.side)
            for tile in map(int, options.tiles.split(",")):
                _table(network, pipeline, tile, options, folder)
        last = [f"tiling.tile={tile}", f"inference.device={options.device}", "inference.backend=torch"]
        _processes(pipeline, last, options, folder)
        if options.device != "cpu":
            _too_little(pipeline, last, folder)


def _pipeline(folder: Path, bundle: Path, side: int) -> Path:
    """Return the pipeline of the large scene with another bundle."""
    document = yaml.safe_load(pipeline_file(scene_file(CACHE, side)).read_text())
    path = folder / f"{bundle.name}.yaml"
    path.write_text(yaml.safe_dump({**document, "model": str(bundle.resolve())}))
    return path


def _table(network: str, pipeline: Path, tile: int, options: argparse.Namespace, folder: Path) -> None:
    here = [f"tiling.tile={tile}"]
    reference, _ = _classes(prepare(pipeline, [*here, "inference.device=cpu"], folder / "cpu"))
    for backend, precision in WAYS:
        if options.device == "cpu" and precision == "fp16":
            continue
        settings = [*here, f"inference.device={options.device}", f"inference.backend={backend}"]
        settings.append(f"inference.precision={precision}")
        bare, rates, shares, peak = [], [], [], 0
        for _ in range(options.rounds):
            plan = prepare(pipeline, settings, folder / "run")
            pixels = plan.grid.count * plan.grid.tile_shape[0] * plan.grid.tile_shape[1] / 1e6
            bare.append(_bare(plan))
            if options.device != "cpu":
                torch.cuda.reset_peak_memory_stats()
            classes, seconds = _classes(plan)
            peak = max(peak, torch.cuda.max_memory_allocated()) if options.device != "cpu" else 0
            rates.append(pixels / seconds)
            shares.append(rates[-1] / bare[-1])
        changed = (classes != reference).mean()
        print(
            f"| {network} | {tile} | {backend}, {precision} | {statistics.median(bare):.1f} | "
            f"{statistics.median(rates):.1f} | {spread(shares)} | {peak / 1e9:.2f} GB | "
            f"{plan.memory.device / 1e9:.2f} GB | {1000 * changed:.3f} |",
            flush=True,
        )


def _bare(plan: Plan, seconds: float = 3.0) -> float:
    """Return the network pixels (Mpx) a second of a batch that lies on the device."""
    segmenter = load_segmenter(plan.segmenter)
    batch = [segmenter.arrays.put(a) for a in batch_of(plan)]
    pixels = plan.batch * plan.grid.tile_shape[0] * plan.grid.tile_shape[1]
    for _ in range(2):
        segmenter.predict(*batch, plan.scene.gain, plan.scene.bias)
    _wait()
    start, count = perf_counter(), 0
    while perf_counter() - start < seconds:
        segmenter.predict(*batch, plan.scene.gain, plan.scene.bias)
        _wait()
        count += 1
    return count * pixels / 1e6 / (perf_counter() - start)


def _wait() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def _classes(plan: Plan) -> tuple[np.ndarray, float]:
    """Run; return the class map and the seconds until all blocks were staged."""
    manifest = run(plan, Options(overwrite=True)).record.model_dump(mode="json")
    return _class_map(plan), manifest["seconds"]["predict"]


def _class_map(plan: Plan) -> np.ndarray:
    with rasterio.open(Path(plan.folder) / "classes.tif") as src:
        return src.read(1)


def _processes(pipeline: Path, settings: list[str], options: argparse.Namespace, folder: Path) -> None:
    """Print how several processes share one device, against one process of its own."""
    found: dict[int, list[float]] = {1: [], options.processes: []}
    for _ in range(options.rounds):
        for count, seconds in found.items():
            path = folder / f"{count}.yaml"
            path.write_text(yaml.safe_dump({"kind": "local", "workers": count}))
            plan = prepare(pipeline, [*settings, f"cluster={path}"], folder / "run")
            seconds.append(_classes(plan)[1])
    ratios = [many / one for one, many in zip(*found.values(), strict=True)]
    print(f"\n{options.processes} processes on one device / one: {spread(ratios)} of the time\n")


def _too_little(pipeline: Path, settings: list[str], folder: Path) -> None:
    """Let a batch meet a device with room for less; compare with the batch that it was halved to."""
    settings = [*settings, "tiling.block=3", "inference.batch=9"]
    plan = prepare(pipeline, settings, folder / "run")
    total = torch.cuda.get_device_properties(0).total_memory
    torch.cuda.empty_cache()
    torch.cuda.set_per_process_memory_fraction(plan.memory.device / 3 / total)
    trouble = run(plan, Options(overwrite=True)).record.trouble.model_dump()
    torch.cuda.set_per_process_memory_fraction(1.0)
    batch = min(trouble["smaller_batches"].values())  # fails where nothing was halved
    classes = _class_map(plan)
    smaller = prepare(pipeline, [*settings[:-1], f"inference.batch={batch}"], folder / "run")
    run(smaller, Options(overwrite=True))
    differ = int((classes != _class_map(smaller)).sum())
    print(
        f"a third of the announced memory: batches of {batch}, {differ} classes differ from a run with these"
    )


if __name__ == "__main__":
    main()
