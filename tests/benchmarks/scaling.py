"""One and two workers with a compute thread each: the same large scene, from the file to its outputs.

`python -m tests.benchmarks scaling [--side 8192] [--rounds 1] [--bound]`. A scheduler and `geoseg worker` are
processes of their own, started as docs/clusters.md says; wall seconds are those of `run.json`. The two
follow each other in every round. A worker has more threads than the one that computes: alone on two cores
it reads and adds on the other one. `--bound` gives each worker a core of its own and no more, as a batch
system does with a job of one core.
"""

import argparse
import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
from contextlib import ExitStack, contextmanager
from pathlib import Path

from geoseg.inference.clusters.worker import ENVIRONMENT
from tests.benchmarks.peers.compare import CACHE
from tests.benchmarks.peers.scene import pipeline_file, scene_file
from tests.conftest import ROOT


@contextmanager
def process(*arguments: str, core: int | None = None):
    """Start a module of this Python, on one core or on all; it ends with the block."""
    environment = {**os.environ, **ENVIRONMENT, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    started = subprocess.Popen(
        [sys.executable, "-m", *arguments],
        cwd=ROOT, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    if core is not None:
        os.sched_setaffinity(started.pid, {core})
    try:
        yield started
    finally:
        started.terminate()
        started.wait(30)


def seconds(pipeline: Path, workers: int, folder: Path, *, bound: bool = False) -> dict[str, float]:
    """Run the scene on so many workers; return the seconds of the manifest."""
    cores = sorted(os.sched_getaffinity(0))
    with ExitStack() as stack:
        scheduler = stack.enter_context(
            process("distributed.cli.dask_scheduler", "--host", "127.0.0.1", "--port", "0", "--no-dashboard")
        )
        found = None
        while found is None:
            found = re.search(r"Scheduler at: +(tcp://\S+)", scheduler.stderr.readline())
        for number in range(workers):
            core = cores[-1 - number] if bound else None
            stack.enter_context(process("geoseg", "worker", found[1], core=core))
        cluster = folder / f"{workers}.yaml"
        cluster.write_text(f"kind: address\naddress: {found[1]}\nworkers: {workers}\ncores: 1\nwait: 120\n")
        command = ["run", str(pipeline), "--cluster", str(cluster), "--output", str(folder / str(workers))]
        subprocess.run(
            [sys.executable, "-m", "geoseg", *command, "--overwrite", "--quiet"],
            cwd=ROOT, check=True, stdout=subprocess.DEVNULL,
        )  # fmt: skip
    return json.loads((folder / str(workers) / "run.json").read_text())["seconds"]


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--side", type=int, default=8192)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--bound", action="store_true")
    options = parser.parse_args()
    CACHE.mkdir(parents=True, exist_ok=True)
    pipeline = pipeline_file(scene_file(CACHE, options.side))
    ratios = []
    print("| round | workers | predict s | outputs s | total s |\n| --- | --- | --- | --- | --- |")
    with tempfile.TemporaryDirectory() as temporary:
        for number in range(1, options.rounds + 1):
            found = {n: seconds(pipeline, n, Path(temporary), bound=options.bound) for n in (1, 2)}
            for n, s in found.items():
                row = f"{s['predict']:.1f} | {s['outputs']:.1f} | {s['total']:.1f}"
                print(f"| {number} | {n} | {row} |", flush=True)
            ratios.append(found[2]["total"] / found[1]["total"])
    print(
        f"\ntwo workers / one: {statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f}), "
        f"{options.side} px a side{', a core for each worker' * options.bound}"
    )


if __name__ == "__main__":
    main()
