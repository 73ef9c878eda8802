"""Whole runs that find objects: memory and time on square scenes, with a network that costs nothing.

`python -m tests.benchmarks objects [--side 8192] [--rows 4096:10000,8192:10000,8192:100000] [--network]`

The scene has crowns, houses, halls of up to two thirds of it (none among 100 000 objects, which are small)
and panels on roofs; the network reads them from pixels in which they are numbered, so a run must give every
mask and class back. All outputs are made: numbers, classes, scores, polygons, COCO results, page. Memory is
that of the process and of all it starts. `--network` runs a small Mask R-CNN of random weights on 2048 px
instead.
"""

import argparse
import hashlib
import json
import sys
import tempfile
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from types import SimpleNamespace

import numpy as np

from tests.benchmarks.peers.measure import measured
from tests.conftest import BAND_NAMES, write_pipeline, write_raster
from tests.inference.exact import coded
from tests.objects import GSD, ORIGIN, TrueObject, object_bundle, object_scene, place_objects, write_scene
from tests.vector.objects.test_paint import decoded

ROWS = "4096:10000,8192:10000,8192:100000"
TILE = {"size": 512, "min": 256, "max": 1024, "overlap": 64, "divisor": 32}
HEAD = [
    "side",
    "objects",
    "found",
    "exact",
    "announced",
    "measured",
    "CPU s",
    "wall s",
    "predict",
    "passes",
    "outputs",
]


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--side", type=int, help="only rows of this side")
    parser.add_argument("--rows", default=ROWS, help="side:objects, ...")
    parser.add_argument("--network", action="store_true", help="a small Mask R-CNN on 2048 px")
    options = parser.parse_args()
    print(f"| {' | '.join(HEAD)} |\n|{' --- |' * len(HEAD)}")
    for row in ["2048:600"] if options.network else options.rows.split(","):
        side, count = map(int, row.split(":"))
        if options.side in (None, side):
            with tempfile.TemporaryDirectory() as name:
                print(f"| {' | '.join(line(Path(name), side, count, real=options.network))} |")
            sys.stdout.flush()


def line(folder: Path, side: int, count: int, *, real: bool) -> list[str]:
    """Run a scene with about so many objects; return what is told of it."""
    small = count > 20_000
    kinds = {"halls": 0 if small else 2, "houses": 0 if small else count // 3, "panels": count // 100}
    kinds["trees"] = count - sum(kinds.values())
    if real:
        scene = object_scene(side, side, **kinds)
        write_scene(folder / "scene.tif", scene)
        objects = scene.objects
    else:
        # Row by row, so that two objects of one number lie far from each other.
        placed = place_objects(side, side, np.random.default_rng(0), **kinds)
        objects = tuple(sorted(placed, key=lambda one: one.row))
        values = coded(SimpleNamespace(shape=(side, side), objects=objects))
        write_raster(
            folder / "scene.tif", values, names=BAND_NAMES, nodata=0, gsd=GSD, origin=ORIGIN, tiled=True
        )
        del values
    most = 2 * max(100, count * TILE["size"] ** 2 // side**2)
    detection = {"score_threshold": 0.2, "per_tile": most, "object_px": {"median": 16, "p99": 22}}
    object_bundle(folder / "bundle", detection=detection, tile=TILE)
    pipeline = write_pipeline(folder, folder / "scene.tif", folder / "bundle", "checks: {statistics: off}")
    program = "geoseg" if real else "tests.inference.exact"
    command = [sys.executable, "-m", program, "run", str(pipeline), "--quiet", "--set", "outputs.coco=true"]
    cost = measured(command, folder / "log.txt")
    record = json.loads((folder / "out" / "run.json").read_text())
    results = json.loads((folder / "out" / "objects.coco.json").read_text())
    exact = "" if real else ("yes" if of_results(results, side) == of_truth(objects, side) else "NO")
    seconds, memory = record["seconds"], record["memory_bytes"]
    return [
        str(side), str(len(objects)), str(record["objects"]["count"]), exact,
        f"{memory['announced_per_worker'] / 1e6:.0f} MB", f"{cost.peak * 1e3:.0f} MB",
        f"{cost.cpu:.1f}", f"{cost.wall:.1f}", f"{seconds['predict']:.1f}",
        f"{seconds['tasks']['forward']:.1f}", f"{seconds['outputs']:.1f}",
    ]  # fmt: skip


def of_truth(objects: Iterable[TrueObject], side: int) -> Counter[tuple[int, str]]:
    """Return class and mask of each object, the mask as a hash of its pixels down the columns."""
    found = Counter[tuple[int, str]]()
    for one in objects:
        col, row = np.nonzero(one.mask.T)
        found[one.kind + 1, _hash((one.col + col) * side + one.row + row)] += 1
    return found


def of_results(results: list[dict], side: int) -> Counter[tuple[int, str]]:
    """Return the same of COCO results."""
    found = Counter[tuple[int, str]]()
    for one in results:
        ends = np.cumsum(decoded(one["segmentation"]["counts"]))
        starts, stops = ends[:-1:2], ends[1::2]
        found[
            one["category_id"],
            _hash(np.concatenate([np.arange(*s) for s in zip(starts, stops, strict=False)])),
        ] += 1
    return found


def _hash(pixels: np.ndarray) -> str:
    return hashlib.sha256(pixels.astype(np.int64).tobytes()).hexdigest()


if __name__ == "__main__":
    main()
