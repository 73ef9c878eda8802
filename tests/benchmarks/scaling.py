"""One and two workers with a compute thread each: the same large scene, from the file to its outputs.

`python -m tests.benchmarks scaling [--side 8192] [--rounds 1]`. A scheduler and `geoseg worker` are processes
of their own, started as docs/clusters.md says; wall seconds are those of `run.json`. The two follow each other
in every round.
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
from tests.benchmarks.peers.scene import pipeline_file, scene_file
from tests.conftest import ROOT

CACHE = Path.home() / ".cache" / "geoseg-peers"


@contextmanager
def process(*arguments: str):
    """Start a module of this Python; it ends with the block."""
    environment = {**os.environ, **ENVIRONMENT, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    started = subprocess.Popen(
        [sys.executable, "-m", *arguments],
        cwd=ROOT, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        yield started
    finally:
        started.terminate()
        started.wait(30)


def seconds(pipeline: Path, workers: int, folder: Path) -> dict[str, float]:
    """Run the scene on so many workers; return the seconds of the manifest."""
    with ExitStack() as stack:
        scheduler = stack.enter_context(
            process("distributed.cli.dask_scheduler", "--host", "127.0.0.1", "--port", "0", "--no-dashboard")
        )
        found = None
        while found is None:
            found = re.search(r"Scheduler at: +(tcp://\S+)", scheduler.stderr.readline())
        for _ in range(workers):
            stack.enter_context(process("geoseg", "worker", found[1]))
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
    options = parser.parse_args()
    CACHE.mkdir(parents=True, exist_ok=True)
    pipeline = pipeline_file(scene_file(CACHE, options.side))
    ratios = []
    print("| round | workers | predict s | outputs s | total s |\n| --- | --- | --- | --- | --- |")
    with tempfile.TemporaryDirectory() as temporary:
        for number in range(1, options.rounds + 1):
            found = {n: seconds(pipeline, n, Path(temporary)) for n in (1, 2)}
            for n, s in found.items():
                row = f"{s['predict']:.1f} | {s['outputs']:.1f} | {s['total']:.1f}"
                print(f"| {number} | {n} | {row} |", flush=True)
            ratios.append(found[2]["total"] / found[1]["total"])
    print(
        f"\ntwo workers / one: {statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f}), "
        f"{options.side} px a side"
    )


if __name__ == "__main__":
    main()
