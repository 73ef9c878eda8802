"""The engine without a network over a virtual scene: what a block costs, and whether memory grows.

`python -m tests.benchmarks scale [--rows 100000] [--cols 20000] [--mpx 10]`. A VRT repeats a small raster; a
scheduler, two workers and this process, which leads, are four processes, so that the CPU time of each is
known. Blocks are predicted, settled and staged; no maps are made of them. Then follow plans for large work,
from what was measured; `--mpx` is the speed of a worker with a real network, in Mpx of the scene per second.
"""

import argparse
import tempfile
import time
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

import psutil
from distributed import Client

from geoseg.config.pipeline import Tiling
from geoseg.inference import driver
from geoseg.inference.driver import BlockDone, WorkFailed, predict_scenes
from geoseg.inference.plan import BLOCK_PIXELS, Plan, make_grid
from geoseg.models.bundle import open_bundle
from geoseg.runs.prepare import prepare
from geoseg.tiling.blocks import BlockGrid
from tests.conftest import BAND_NAMES, ROOT, make_bundle, reflectance, write_pipeline, write_raster
from tests.inference.remote import cluster
from tests.make_scenes import repeat
from tests.runs.disturb import PIPELINE, job_of
from tests.runs.worker import fetched

MARKS = (10, 100, 1000)
EVERY = 25
"""Blocks between two looks at what workers hold."""


@dataclass
class Census:
    """Looks at the processes of a run from time to time."""

    client: Client
    processes: dict[str, list[psutil.Process]]
    held: list[int] = field(default_factory=list)
    """Bytes of predictions and fringes on all workers, at each look."""

    def cpu(self) -> dict[str, float]:
        """Return CPU seconds so far by kind of process."""
        times = {k: [p.cpu_times() for p in found] for k, found in self.processes.items()}
        return {k: sum(t.user + t.system for t in found) for k, found in times.items()}

    def resident(self) -> dict[str, int]:
        """Return resident bytes by kind of process, the largest of each."""
        return {k: max(p.memory_info().rss for p in found) for k, found in self.processes.items()}

    def look(self) -> None:
        """Ask the workers what they hold."""
        workers = self.client.scheduler_info(n_workers=-1)["workers"].values()
        self.held.append(sum(w["metrics"]["managed_bytes"] for w in workers))


def main() -> None:
    parser = argparse.ArgumentParser(description="The engine at scale")
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--cols", type=int, default=20_000)
    parser.add_argument("--mpx", type=float, default=10.0, help="Mpx/s of a worker, for the plans")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        plan = prepare(_pipeline(folder, options.rows, options.cols))
        with (
            cluster(folder / "cluster", "one", "two", slow=0) as started,
            Client(started.address, timeout="20s") as client,
        ):
            found = {k: psutil.Process(p.pid) for k, p in started.processes.items()}
            kinds = {"client": [psutil.Process()], "scheduler": [found["scheduler"]],
                     "worker": [found["one"], found["two"]]}  # fmt: skip
            measured = run(client, plan, folder / "staging", Census(client, kinds))
    on_paper(measured, options.mpx)


def _pipeline(folder: Path, rows: int, cols: int) -> Path:
    tile = {"size": 1024, "min": 256, "max": 1024, "overlap": 128, "divisor": 32}
    bundle = make_bundle(folder / "bundle", tile=tile)
    small = write_raster(folder / "small.tif", reflectance(2048, 2048), names=BAND_NAMES, tiled=True)
    scene = repeat(small, rows, scale=0.0001, width=cols)
    return write_pipeline(folder, scene, bundle.folder, PIPELINE[1])


@dataclass
class Measured:
    """What a block costs."""

    cpu: dict[str, float]
    """CPU seconds a block by kind of process."""
    staged: float
    """Staged bytes a pixel."""
    moved: float
    """Share of the fringes that another worker fetched, by bytes."""


@dataclass(frozen=True)
class Work:
    """What follows from the grid of a scene alone."""

    blocks: BlockGrid
    classes: int
    values: int
    """Bytes of a pixel of the scene."""

    @property
    def pixels(self) -> int:
        """Pixels of the scene."""
        return self.blocks.rows.tiles.length * self.blocks.cols.tiles.length

    @property
    def tasks(self) -> int:
        """A block is predicted and settled, and each neighbour gets its part of the fringe by a task."""
        r, c = self.blocks.rows.count, self.blocks.cols.count
        return 2 * r * c + (r - 1) * c + r * (c - 1) + (r - 1) * (c - 1)

    @property
    def read(self) -> int:
        """Bytes read: every block reads what its tiles see."""
        axes = self.blocks.rows, self.blocks.cols
        high, wide = (sum(len(a.canvas(i)) for i in range(a.count)) for a in axes)
        return high * wide * self.values

    @property
    def fringes(self) -> int:
        """Bytes of all fringes: int32 sums of each class where a block adds to its neighbours."""
        axes = self.blocks.rows, self.blocks.cols
        (high, rows), (wide, cols) = ((a.tiles.length, a.tiles.overlap * (a.count - 1)) for a in axes)
        return 4 * self.classes * (rows * wide + high * cols + rows * cols)


def run(client: Client, plan: Plan, staging: Path, census: Census) -> Measured:
    """Predict and stage all blocks; print what it takes on the way and in the end."""
    height, width = plan.scene.shape
    count = plan.blocks.count
    print(f"{width} x {height} px, {plan.grid.count} tiles in {count} blocks\n")
    print(
        "| blocks | s | client MB | scheduler MB | worker MB | held for neighbours MB |\n"
        + "| --- " * 6
        + "|"
    )
    work = driver.SceneWork("scale", job_of(plan, staging), plan.blocks, {})
    before, start, spans = census.cpu(), time.perf_counter(), dict.fromkeys(("read", "forward"), 0.0)
    kept = {}
    with closing(predict_scenes(client, [work])) as events:
        for event in events:
            if isinstance(event, WorkFailed):
                raise event.error
            if isinstance(event, dict):
                for what, _, seconds in event.get("spans", ()):
                    spans[what] = spans.get(what, 0.0) + seconds
            elif isinstance(event, BlockDone):
                # As a run does, for its manifest.
                kept[event.block.row, event.block.col] = event.counts
                if event.done % EVERY == 0:
                    census.look()
                if event.done in (*MARKS, count):
                    numbers = [f"{b / 1e6:.0f}" for b in census.resident().values()]
                    held = max(census.held, default=0) / 1e6
                    seconds = time.perf_counter() - start
                    print(
                        f"| {event.done} | {seconds:.0f} | {' | '.join(numbers)} | {held:.0f} |", flush=True
                    )
    wall = time.perf_counter() - start
    cpu = {k: (v - before[k]) / count for k, v in census.cpu().items()}
    moved = client.run(fetched).values()
    grid = Work(plan.blocks, plan.classes, plan.scene.dtype.itemsize * len(plan.scene.bands))
    staged = sum(p.stat().st_size for p in staging.glob("block_*.tif"))
    pixels, tasks = height * width, grid.tasks / count
    print(f"\nwall: {wall:.0f} s, {wall / count * 1000:.0f} ms a block, {pixels / wall / 1e6:.1f} Mpx/s")
    print("CPU ms a block: " + ", ".join(f"{k} {v * 1000:.1f}" for k, v in cpu.items()))
    threads = ", ".join(f"{k} {v / count * 1000:.1f}" for k, v in spans.items())
    print(f"wall ms a block of the workers' threads: {threads}")
    print(f"tasks: {tasks:.2f} a block; CPU ms a task: scheduler {cpu['scheduler'] / tasks * 1000:.2f}, "
          f"client {cpu['client'] / tasks * 1000:.2f}")  # fmt: skip
    print(f"staged: {staged / 1e6:.0f} MB, {staged / pixels:.3f} bytes a pixel")
    mb, times = sum(b for b, _ in moved) / 1e6, sum(n for _, n in moved)
    share = mb * 1e6 / grid.fringes
    print(
        f"fetched between workers: {mb:.0f} MB in {times} transfers, {share:.0%} of the bytes of all fringes"
    )
    return Measured(cpu, staged / pixels, share)


HUGE, TILE = (100_000, 100_000), (10_980, 10_980)
HOURS = 1.0


def on_paper(measured: Measured, mpx: float) -> None:
    """Print plans for large work with the shipped bundle, from what was measured."""
    bundle = open_bundle(ROOT / "configs/models/landcover-s2")
    card, columns = bundle.card, []
    leading = measured.cpu["client"] + measured.cpu["scheduler"]
    for shape, scenes in ((HUGE, 1), (TILE, 10_000)):
        grid = make_grid(shape, Tiling(), card.tile)
        size = max(1, round(BLOCK_PIXELS / min(grid.rows.stride, grid.cols.stride)))
        work = Work(BlockGrid.of(grid, size), len(card.classes), 2 * len(card.bands))
        blocks, pixels = work.blocks.count * scenes, work.pixels * scenes
        overread = work.read / work.pixels / work.values
        workers = pixels / (mpx * 1e6 * 3600 * HOURS)
        most = 0.5 / (leading * mpx * 1e6 * work.blocks.count / work.pixels)
        columns.append({
            "tiles, blocks": f"{grid.count * scenes:,}, {blocks:,}",
            "network pixels per pixel": f"{grid.network_pixels_per_pixel:.2f}",
            "tasks": f"{work.tasks * scenes:,}",
            "read": f"{work.read * scenes / 1e12:.2f} TB, {overread:.2f} x the scene",
            "staged": f"{measured.staged * pixels / 1e12:.3f} TB",
            "fringes": f"{work.fringes * scenes / 1e12:.3f} TB, "
                       f"fetched {measured.moved * work.fringes * scenes / 1e12:.3f} TB",
            "CPU of scheduler and client": f"{leading * blocks / 3600:.2f} h",
            f"workers for {HOURS:g} h at {mpx:g} Mpx/s": f"{workers:.1f}",
            "workers at which scheduler and client are half busy": f"{most:.0f}",
        })  # fmt: skip
    print(
        f"\n| {card.name} | 100,000 x 100,000 px | 10,000 scenes of 10,980 x 10,980 px |\n"
        + "| --- " * 3
        + "|"
    )
    for name in columns[0]:
        print(f"| {name} | " + " | ".join(c[name] for c in columns) + " |")


if __name__ == "__main__":
    main()
