"""From staged blocks to a cloud-optimised class map: geoseg against GDAL's COG driver alone, in turn.

`python -m tests.benchmarks writing [--sides 4096 8192 16384] [--rounds 3]`. The map is that of the shipped
model on the sample scene, continued by mirroring. Both read the same blocks through the same VRT and write
the same pixels; GDAL makes the overviews itself (`overview_resampling=MODE`), geoseg makes them before
(`geoseg/raster/overviews.py`). Wall and CPU seconds of this process.
"""

import argparse
import statistics
import tempfile
from collections.abc import Callable
from pathlib import Path
from time import perf_counter, process_time

import numpy as np
import rasterio

from geoseg.core.legend import Legend
from geoseg.models.bundle import open_bundle
from geoseg.raster.cog import MapBand, copy_cog, write_cog, write_vrt
from geoseg.raster.staging import Staging, crs_wkt
from geoseg.runs.prepare import prepare
from geoseg.runs.run import run
from geoseg.storage.store import FolderStore
from geoseg.tiling.blocks import BlockGrid
from geoseg.tiling.grid import TileAxis, TileGrid
from tests.benchmarks.peers.scene import mirrored

PIPELINE = Path("pipelines/landcover.yaml")
TRANSFORM = (10.0, 0.0, 500_000.0, 0.0, -10.0, 4_500_000.0)


def staged(classes: np.ndarray, side: int, folder: Path) -> tuple[Staging, list]:
    """Stage the map in blocks of 1376 px, as those of a run."""
    staging = Staging(FolderStore(folder), "0", crs_wkt("EPSG:32618"), TRANSFORM, ("class",))
    axis = TileAxis(side, 1568, 192)
    blocks = list(BlockGrid.of(TileGrid(axis, axis), 1))
    for block in blocks:
        spans = block.core.rows, block.core.cols
        rows, cols = (mirrored(s.start, len(s), n) for s, n in zip(spans, classes.shape, strict=True))
        staging.write(block, classes[None, rows[:, None], cols], {})
    return staging, blocks


def timed(task: Callable[[], None]) -> tuple[float, float]:
    wall, cpu = perf_counter(), process_time()
    task()
    return perf_counter() - wall, process_time() - cpu


def measured(staging: Staging, blocks: list, side: int, legend: Legend, rounds: int) -> str:
    """Return a row of the table."""
    shape, bands, folder = (side, side), [MapBand(1, "class", legend)], staging.folder
    paths = {name: folder / f"{name}.cog.tif" for name in ("geoseg", "gdal")}
    write_vrt(folder / "plain.vrt", staging, blocks, shape, bands, {})
    tasks = {
        "geoseg": lambda: write_cog(paths["geoseg"], staging, blocks, shape, bands, "MODE", {}),
        "gdal": lambda: copy_cog(folder / "plain.vrt", paths["gdal"], "MODE"),
    }
    found: dict[str, list[tuple[float, float]]] = {name: [] for name in tasks}
    for _ in range(rounds):
        for name, task in tasks.items():
            found[name].append(timed(task))
    _compare(*paths.values())
    ratios = [mine[0] / other[0] for mine, other in zip(found["geoseg"], found["gdal"], strict=True)]
    figures = (statistics.median(t[k] for t in found[n]) for n in ("geoseg", "gdal") for k in (0, 1))
    spread = f"{statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})"
    return f"| {side} | {' | '.join(f'{f:.2f}' for f in figures)} | {spread} |"


def _compare(*paths: Path) -> None:
    with rasterio.open(paths[0]) as src:
        levels = len(src.overviews(1))
    for level in (None, *range(levels)):
        options = {} if level is None else {"overview_level": level}
        one, two = (rasterio.open(p, **options) for p in paths)
        with one, two:
            for _, window in one.block_windows(1):
                assert (one.read(1, window=window) == two.read(1, window=window)).all()


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--sides", type=int, nargs="+", default=[4096, 8192, 16384])
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    print("| side | geoseg, wall s | CPU s | GDAL, wall s | CPU s | geoseg / GDAL, wall |")
    print("| --- | --- | --- | --- | --- | --- |")
    with tempfile.TemporaryDirectory() as temporary:
        plan = prepare(PIPELINE, ["outputs.polygons=[]"], Path(temporary) / "run")
        run(plan)
        with rasterio.open(Path(temporary) / "run/classes.tif") as src:
            classes = src.read(1)
        legend = open_bundle("configs/models/landcover-s2").card.legend
        for side in options.sides:
            with tempfile.TemporaryDirectory(dir=temporary) as folder:
                staging, blocks = staged(classes, side, Path(folder))
                print(measured(staging, blocks, side, legend, options.rounds), flush=True)


if __name__ == "__main__":
    main()
