"""The same network on the same scene: geoseg and its peers, each as its documentation has it.

`python -m tests.benchmarks peers [--side 8192] [--only geoseg,monai,...] [--rounds 3]`. A round runs every
tool once, from the file to a GeoTIFF of classes on disk, each in its own process; ratios are taken within
rounds. Before them each tool maps a small scene, so that no round pays for compiling or for a cold disk.
`NAME@TILE:OVERLAP` gives a peer other tiles (`monai@1024:192`); `--channels-last` gives the peers' networks
the memory layout that is faster on CPUs, which their documentation does not mention.
"""

import argparse
import json
import os
import platform
import statistics
import sys
import tempfile
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path

import numpy as np
import psutil
import rasterio
import torch
from numpy.typing import NDArray

import geoseg
from geoseg.runs.prepare import prepare
from tests.benchmarks.peers.environments import ADAPTERS, PEERS, NotInstalledError, python_of
from tests.benchmarks.peers.measure import Cost, FailedError, measured
from tests.benchmarks.peers.scene import BUNDLE, pipeline_file, scene_file, whole_image

CACHE = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "geoseg-peers"
DEFAULT = "geoseg,monai,monai@1024:192,terratorch,geo-inference,torchgeo,geoai"
SMALL = 1024
"""Pixels a side of the scene that warms up; more than half a patch of every peer."""
BORDER, INSIDE = 64, 256
"""Pixels from the scene's border: up to here counts as the border, from here on as the inside, where what
lies beyond the border hardly matters."""
NEAR = 8
"""Pixels on either side of a line where tiles begin, end or meet half way that count as its seam."""
FREE = (
    "from geoseg.cli.app import main; from tests.inference.free import Untracked, install; "
    "install(Untracked(6)); main()"
)


@dataclass(frozen=True)
class Bench:
    """What all tools of a comparison share."""

    cache: Path
    free: bool = False
    channels_last: bool = False

    def run(self, tool: str, side: int, folder: Path) -> tuple[Cost, Path, dict]:
        """Run a tool on a scene; return what it took, its map, and its note."""
        scene = scene_file(self.cache, side)
        if tool == "geoseg":
            return self._run_geoseg(scene, folder)
        name, _, tiling = tool.partition("@")
        tile, _, overlap = tiling.partition(":")
        output, note = folder / "classes.tif", folder / "note.json"
        command = [str(python_of(name, self.cache)), "-W", "ignore", str(ADAPTERS / PEERS[name].script)]
        command += [str(scene), str(output), "--bundle", str(BUNDLE), "--note", str(note)]
        command += ["--work", str(self.cache)]
        command += ["--tile", tile, "--overlap", overlap] if tiling else []
        command += ["--free", "--cog"] if self.free else []
        command += ["--channels-last"] if self.channels_last else []
        cost = measured(command, folder / "log.txt")
        found = json.loads(note.read_text())
        lines = {axis: lines_of(found.pop(axis), found["tile"], side) for axis in ("rows", "cols")}
        ratio = found.pop("network_pixels") / side**2
        assert found["torch"] == torch.__version__, f"{tool}: torch {found['torch']}"
        return cost, output, {**found, **lines, "network_pixels_per_pixel": ratio}

    def _run_geoseg(self, scene: Path, folder: Path) -> tuple[Cost, Path, dict]:
        pipeline, made = pipeline_file(scene), folder / "run"
        program = ["-c", FREE] if self.free else ["-m", "geoseg"]
        command = [sys.executable, *program, "run", str(pipeline), "--output", str(made), "--quiet"]
        cost = measured(command, folder / "log.txt")
        plan = prepare(pipeline, output=made)
        return cost, made / "classes.tif", {
            "package": "geoseg",
            "version": geoseg.__version__,
            "setting": f"default: {plan.grid.tile_shape[0]} px, overlap {plan.grid.rows.overlap}",
            "rows": list(plan.grid.rows.seams),
            "cols": list(plan.grid.cols.seams),
            "network_pixels_per_pixel": plan.grid.network_pixels_per_pixel,
        }  # fmt: skip


def lines_of(starts: list[int], tile: int, length: int) -> list[int]:
    """Return the lines inside a scene where tiles begin, end or meet half way: pixel i - 1 | pixel i."""
    meet = [(before + tile + after) // 2 for before, after in pairwise(starts)]
    lines = {*starts, *(s + tile for s in starts), *meet}
    return sorted(line for line in lines if 0 < line < length)


def differences(classes: NDArray[np.uint8], whole: NDArray[np.uint8], note: dict) -> dict[str, float]:
    """Return the share of pixels with another class than the whole image's, overall and in places.

    Seams are counted in the inside. The seam index is the rate of class changes on all lines, over that of
    the whole image on the same lines.
    """
    other, inside = classes != whole, (slice(INSIDE, -INSIDE),) * 2
    border, seams = np.ones(whole.shape, bool), np.zeros(whole.shape, bool)
    border[BORDER:-BORDER, BORDER:-BORDER] = False
    changes = [0, 0]
    for axis, lines in enumerate((note["rows"], note["cols"])):
        for line in lines:
            near = (slice(None),) * axis + (slice(max(0, line - NEAR), line + NEAR),)
            seams[near] = True
            for k, a in enumerate((classes, whole)):
                changes[k] += int((a.take(line - 1, axis=axis) != a.take(line, axis=axis)).sum())
    return {
        "overall": float(other.mean()),
        "inside": float(other[inside].mean()),
        "seams": float(other[inside][seams[inside]].mean()) if seams[inside].any() else 0.0,
        "border": float(other[border].mean()),
        "seam_index": changes[0] / max(changes[1], 1),
    }


def rounds_of(bench: Bench, options: argparse.Namespace) -> dict[str, dict]:
    """Run every tool once a round; return its costs, note and differences by tool, or why it failed.

    All figures are written to the file of `--json` after each round.
    """
    side, where = options.side, machine()
    found: dict[str, dict] = {tool: {"costs": []} for tool in options.tools}
    whole = None if bench.free else whole_image(bench.cache, side)
    with scene_file(bench.cache, side).open("rb") as file:  # no tool is the one that waits for the disk
        while file.read(1 << 24):
            pass
    warm_up = 2 if bench.free else 1  # what a small scene takes counts when everything is warm
    for number in range(1 - warm_up, options.rounds + 1):
        for tool, result in found.items():
            if "failed" in result:
                continue
            try:
                _turn(bench, tool, result, side if number > 0 else SMALL, whole)
            except (FailedError, NotInstalledError) as error:
                if tool == "geoseg":
                    sys.exit(f"geoseg: {error}")
                result["failed"] = str(error)
                print(f"{tool}: {error}", flush=True)
        figures = {"machine": where, "side": side, "tools": found}
        options.json.write_text(json.dumps(figures, indent=1))
    return found


def _turn(bench: Bench, tool: str, result: dict, side: int, whole: NDArray[np.uint8] | None) -> None:
    """Run a tool on a scene and add what was found to its result."""
    with tempfile.TemporaryDirectory(dir=bench.cache) as name:
        cost, path, note = bench.run(tool, side, Path(name))
        print(f"{tool}, {side} px a side: {cost.wall:.1f} s", file=sys.stderr, flush=True)
        if side == SMALL:
            result["small"] = asdict(cost)
            return
        result["costs"].append(asdict(cost))
        if "note" not in result:
            result["note"] = note
            if whole is not None:
                with rasterio.open(path) as src:
                    result["differs"] = differences(src.read(1), whole, note)


def spread(values: Iterable[float]) -> str:
    """Return median, least and most, in words."""
    numbers = sorted(values)
    middle = f"{statistics.median(numbers):.2f}"
    return middle if len(numbers) == 1 else f"{middle} ({numbers[0]:.2f} to {numbers[-1]:.2f})"


def machine() -> dict[str, object]:
    """Return where and with what this is measured."""
    models = [
        line for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")
    ]
    return {
        "cpu": models[0].partition(":")[2].strip() if models else platform.processor(),
        "cores": len(os.sched_getaffinity(0)),
        "memory_gb": round(psutil.virtual_memory().total / 1e9, 1),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "gdal": rasterio.__gdal_version__,
        "load_before": os.getloadavg()[0],
        "date": datetime.now(UTC).date().isoformat(),
        "command": " ".join(["python -m tests.benchmarks", *sys.argv]),
    }


def arguments(description: str, side: int, tools: str, rounds: int) -> argparse.Namespace:
    """Read the command line; `tools` becomes a list, checked by name."""
    parser = argparse.ArgumentParser(description=description)
    figures = Path(f"outputs/benchmarks/{sys.argv[0]}.json")
    parser.add_argument("--side", type=int, default=side, help="pixels a side of the scene")
    parser.add_argument("--only", default=tools, help="tools, by comma")
    parser.add_argument("--rounds", type=int, default=rounds)
    parser.add_argument("--cache", type=Path, default=CACHE, help="folder for environments and scenes")
    parser.add_argument("--json", type=Path, default=figures, help="file for all figures")
    parser.add_argument("--channels-last", action="store_true", help="layout of the peers' networks")
    options = parser.parse_args()
    options.tools = ["geoseg", *(t for t in options.only.split(",") if t != "geoseg")]
    unknown = [t for t in options.tools if t.partition("@")[0] not in (*PEERS, "geoseg")]
    if options.side <= SMALL:
        parser.error(f"--side must be more than {SMALL}, the side of the scene that warms up")
    if unknown:
        parser.error(f"{', '.join(unknown)}: not one of geoseg, {', '.join(PEERS)}")
    options.cache.mkdir(parents=True, exist_ok=True)
    options.json.parent.mkdir(parents=True, exist_ok=True)
    return options


def print_settings(options: argparse.Namespace, found: dict[str, dict]) -> None:
    """Print how each tool was run, and where."""
    for tool, result in found.items():
        if "note" in result:
            print(f"\n- {tool}: {result['note']['version']}, {result['note']['setting']}", end="")
    where = json.loads(options.json.read_text())["machine"]
    print("\n\n" + ", ".join(f"{key} {value}" for key, value in where.items()))


def main() -> None:
    options = arguments("geoseg and its peers", 8192, DEFAULT, 3)
    found = rounds_of(Bench(options.cache, channels_last=options.channels_last), options)
    print(
        "\n| tool | wall s | / geoseg | CPU s | / geoseg | peak GB | network px per px | differs "
        f"| {INSIDE} px inside | there, within {NEAR} px of seams | within {BORDER} px of the border "
        "| seam index |"
    )
    print("|" + " --- |" * 12)
    ours = found["geoseg"]["costs"]
    for tool, result in found.items():
        if "failed" in result:
            print(f"| {tool} | {result['failed']} |" + " |" * 10)
            continue
        costs, d = result["costs"], result["differs"]
        wall, cpu = (statistics.median(c[key] for c in costs) for key in ("wall", "cpu"))
        by = [spread(c[key] / o[key] for c, o in zip(costs, ours, strict=True)) for key in ("wall", "cpu")]
        print(
            f"| {tool} | {wall:.1f} | {by[0]} | {cpu:.1f} | {by[1]} | {max(c['peak'] for c in costs):.2f} "
            f"| {result['note']['network_pixels_per_pixel']:.2f} | {d['overall']:.3%} | {d['inside']:.3%} "
            f"| {d['seams']:.3%} | {d['border']:.3%} | {d['seam_index']:.3f} |"
        )
    print_settings(options, found)
