"""`geoseg.segment` against `geoseg run`: seconds, peak memory, and the nodes of the graph.

`python -m tests.benchmarks notebook [--real] [--sides 4096,16384]`: square scenes, class map and confidence,
with a network that costs nothing or, with `--real`, with `landcover-s2` on a repeated part of the sample
scene. Each way runs in a process of its own: `run` writes a run folder; `to_zarr` writes what `segment`
returns for a scene whose files the blocks read; `chunks` is the same for arrays that another library opened;
`compute` leaves all in memory. Memory is the high-water mark of the process.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import geoseg
from geoseg.runs.record import peak_bytes
from tests.benchmarks.peers.compare import CACHE, SMALL
from tests.benchmarks.peers.scene import BUNDLE, scene_file
from tests.conftest import BAND_NAMES, ROOT, make_bundle, reflectance, write_pipeline, write_raster
from tests.inference.free import Untracked, install
from tests.make_scenes import repeat

WAYS = ("run", "to_zarr", "chunks", "compute")
GRAPHS = (2048, 4096, 8192, 16384, 32768)


@dataclass(frozen=True)
class Work:
    """What is mapped."""

    folder: Path
    scene: Path
    bundle: Path
    real: bool


def main() -> None:
    if sys.argv[1:2] == ["child"]:
        child(*sys.argv[2:])
        return
    parser = argparse.ArgumentParser(description="segment against run")
    parser.add_argument("--real", action="store_true")
    parser.add_argument("--sides", default="4096,16384")
    parser.add_argument("--ways", default=",".join(WAYS))
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        small = folder / "small.tif"
        if options.real:
            shutil.copy(scene_file(CACHE, SMALL), small)
            bundle = BUNDLE
        else:
            tile = {"size": 1024, "min": 256, "max": 1024, "overlap": 128, "divisor": 32}
            bundle = make_bundle(folder / "bundle", tile=tile).folder
            write_raster(small, reflectance(2048, 2048), names=BAND_NAMES, tiled=True)
        print("| side | way | wall s | CPU s | peak MB |\n| --- | --- | --- | --- | --- |")
        for side in map(int, options.sides.split(",")):
            work = Work(folder, repeat(small, side, scale=0.0001), bundle, options.real)
            for way in options.ways.split(","):
                print(f"| {side} | {way} | {measure(work, way)} |", flush=True)
        print("\n| side | blocks | nodes | nodes a block | s to build |" + "\n" + "| --- " * 5 + "|")
        for side in GRAPHS:
            print(f"| {side} | {graph(repeat(small, side, scale=0.0001), bundle)} |", flush=True)


def measure(work: Work, way: str) -> str:
    """Run one way in a process of its own; return wall and CPU seconds and its peak memory."""
    output = work.folder / "output"
    if way == "run":
        pipeline = write_pipeline(work.folder, work.scene, work.bundle)
        program = "geoseg" if work.real else "tests.inference.free"
        command = ["-m", program, "run", str(pipeline), "--quiet", "--output", str(output)]
        command += ["--json", "--set", "outputs.polygons=[]"]
    else:
        real = "real" if work.real else "free"
        given = (way, work.scene, work.bundle, output, real)
        command = ["-m", "tests.benchmarks.notebook", "child", *map(str, given)]
    before, start = os.times(), time.perf_counter()
    done = subprocess.run([sys.executable, *command], cwd=ROOT, capture_output=True, text=True, check=False)
    wall, after = time.perf_counter() - start, os.times()
    if done.returncode:
        raise SystemExit(f"{way}: {done.stderr[-500:]}")
    shutil.rmtree(output, ignore_errors=True)
    cpu = after.children_user + after.children_system - before.children_user - before.children_system
    peak = json.loads(done.stdout)["memory_bytes"]["peak_of_this_process"]
    return f"{wall:.1f} | {cpu:.1f} | {peak / 1e6:.0f}"


def child(way: str, scene: str, bundle: str, output: str, network: str) -> None:
    """Map the scene in this process, in one way."""
    if network == "free":
        install(Untracked())
    data = geoseg.open_scene(scene)
    if way == "chunks":
        # A changed Dataset is one of any library: its chunks are read, and not the files.
        data = data.map(
            lambda band: band.copy(data=band.data.map_blocks(lambda block: block)), keep_attrs=True
        )
    found = geoseg.segment(data, bundle, checks="off")
    if way == "compute":
        found.compute()
    else:
        found.to_zarr(output, zarr_format=2)
    print(json.dumps({"memory_bytes": {"peak_of_this_process": peak_bytes()}}))


def graph(scene: Path, bundle: Path) -> str:
    """Return blocks and nodes of the graph of a scene, and how long building it takes."""
    data = geoseg.open_scene(scene)
    start = time.perf_counter()
    found = geoseg.segment(data, bundle, checks="off")
    built = time.perf_counter() - start
    nodes = dict(found.__dask_graph__())
    blocks = found["class"].data.npartitions
    return f"{blocks} | {len(nodes)} | {len(nodes) / blocks:.2f} | {built:.2f}"


if __name__ == "__main__":
    main()
