"""The two tasks of a run, pure but for reading the scene and writing the finished block."""

from concurrent.futures import CancelledError
from dataclasses import dataclass
from threading import Event, Lock
from time import perf_counter
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geoseg.core.geometry import Window
from geoseg.core.legend import NODATA, Legend
from geoseg.models.segmenter import SegmenterSpec, device_pool, load_segmenter
from geoseg.raster.scene import Pixels, Scene
from geoseg.raster.staging import Staging
from geoseg.tiling.blocks import Block
from geoseg.tiling.grid import TileGrid
from geoseg.tiling.mosaic import Fringe, Mosaic, Strips, Sums, percent, strongest

stopping = Event()
"""Set when this process is asked to end: tiles that have not begun are left out, and so is their block."""


@dataclass(frozen=True)
class Job:
    """What every task of a run must know; small, so that it can travel with each."""

    scene: Scene
    segmenter: SegmenterSpec
    legend: Legend
    grid: TileGrid
    batch: int
    probabilities: bool
    """Whether the percent of every class is staged, too."""
    staging: Staging


@dataclass(frozen=True)
class Prediction:
    """A predicted block: what is final, and what waits for its neighbours."""

    planes: NDArray[np.uint8]
    """Class id, confidence in percent and, on request, percent of each class, shape (planes, core rows, core
    cols). The open strips are not filled in yet, but nodata is."""
    strips: Strips
    fringe: Fringe
    counts: dict[str, Any]
    """Tiles and seconds of this task."""


def predict_block(job: Job, block: Block) -> Prediction:
    """Read a block's window once, predict its tiles and add them up.

    A tile without one valid pixel is skipped: all its pixels are nodata anyway.

    Raises
    ------
    SceneError
        When the scene cannot be read.
    """
    start = perf_counter()
    pixels = job.scene.read(block.reach)
    read = perf_counter()
    mosaic = Mosaic(job.grid, block, len(job.legend))
    chosen = [t for t in block.tiles if pixels.valid[t.relative_to(block.reach)].any()]
    # Batches finish in any order; the sums do not mind.
    pool, adding = device_pool(job.segmenter), Lock()
    batches = [
        pool.submit(_predict_batch, job, block, pixels, chosen[i : i + job.batch], mosaic, adding)
        for i in range(0, len(chosen), job.batch)
    ]
    try:
        forward = sum(b.result() for b in batches)
    finally:
        for b in batches:
            b.cancel()
    if stopping.is_set():
        raise CancelledError(f"{block.name} was given up")
    core_valid = pixels.valid[block.core.relative_to(block.reach)]
    planes = _planes(job, mosaic.core)
    planes[:, ~core_valid] = NODATA
    counts = {
        "tiles": len(chosen),
        "skipped": len(block.tiles) - len(chosen),
        "seconds": {"read": read - start, "forward": forward, "predict": perf_counter() - read},
    }
    return Prediction(planes, mosaic.strips(), mosaic.fringe(), counts)


def _predict_batch(
    job: Job, block: Block, pixels: Pixels, tiles: list[Window], mosaic: Mosaic, adding: Lock
) -> float:
    """Predict up to a batch of tiles and add them; return the seconds of the forward pass."""
    # The last batch is filled up with empty tiles: a constant shape gives constant results.
    height, width = job.grid.tile_shape
    values = np.zeros((job.batch, len(pixels.values), height, width), dtype=pixels.values.dtype)
    valid = np.zeros((job.batch, height, width), dtype=np.bool_)
    for k, tile in enumerate(tiles):
        rows, cols = tile.relative_to(block.reach)
        values[k] = pixels.values[:, rows, cols]
        valid[k] = pixels.valid[rows, cols]
    if not valid.all():
        # Invalid numbers may be NaN or infinite, which zero weight would not silence.
        np.copyto(values, 0, where=~valid[:, None])
    if stopping.is_set():
        return 0.0
    segmenter = load_segmenter(job.segmenter)
    start = perf_counter()
    probabilities = segmenter.predict(values, valid, job.scene.gain, job.scene.bias)
    seconds = perf_counter() - start
    with adding:
        for k, tile in enumerate(tiles):
            mosaic.add(tile, probabilities[k])
    return seconds


def _planes(job: Job, sums: Sums) -> NDArray[np.uint8]:
    """Turn finished sums (C, rows, cols) into what is staged, shape (planes, rows, cols)."""
    channel, best = strongest(sums)
    planes = [job.legend.ids[channel], percent(best)]
    if job.probabilities:
        planes += [percent(s) for s in sums]
    return np.stack(planes)


def settle_block(
    job: Job,
    block: Block,
    prediction: Prediction,
    from_north: Sums | None,
    from_west: Sums | None,
    from_northwest: Sums | None,
) -> dict[str, Any]:
    """Add the neighbours' fringes, fill in the open strips and stage the block.

    Returns
    -------
    counts
        Tiles, valid pixels, pixels of each class, seconds; also kept in the block's marker.

    Raises
    ------
    OutputError
        When the block cannot be written.
    """
    start = perf_counter()
    planes = prediction.planes.copy()
    strips = prediction.strips.settle(from_north, from_west, from_northwest)
    rows, cols = block.open_rows, block.open_cols
    for target, sums in ((planes[:, :rows], strips.north), (planes[:, rows:, :cols], strips.west)):
        if sums.size:
            np.copyto(target, _planes(job, sums), where=target != NODATA)
    numbers = np.bincount(planes[0].ravel())
    pixels = {int(i): int(numbers[i]) for i in np.flatnonzero(numbers)}
    counts = {
        **prediction.counts,
        "nodata": pixels.pop(NODATA, 0),
        "classes": {str(i): n for i, n in pixels.items()},
    }
    counts["seconds"] = {**counts["seconds"], "settle": perf_counter() - start}
    job.staging.write(block, planes, counts)
    return counts
