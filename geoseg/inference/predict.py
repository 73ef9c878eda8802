"""The two tasks of a run, pure but for reading the scene and writing the finished block."""

import functools
import time
from collections.abc import Callable, Iterator
from concurrent.futures import CancelledError
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from threading import Event, Lock
from typing import Any, Literal, ParamSpec, TypeAlias, TypeVar

import numpy as np
from numpy.typing import NDArray

from geoseg.core.errors import GeosegError, SceneError
from geoseg.core.geometry import Window
from geoseg.core.legend import NODATA, Legend
from geoseg.inference.backoff import predict_with_backoff
from geoseg.inference.events import Stopwatch, report
from geoseg.inference.retry import ONCE, RetryPolicy, nodata_pixels, read_with_retry
from geoseg.models.backends.load import device_pool, is_loaded, load_segmenter
from geoseg.models.backends.spec import Segmenter, SegmenterSpec
from geoseg.raster.staging import Staging
from geoseg.scenes.scene import Pixels, Scene
from geoseg.tiling import _kernels
from geoseg.tiling.arrays import HOST, all_of
from geoseg.tiling.blocks import Block
from geoseg.tiling.grid import TileGrid
from geoseg.tiling.mosaic import Fringe, Mosaic, Strips, Sums

P = ParamSpec("P")
T = TypeVar("T")

stopping = Event()
"""Set when this process is asked to end: tiles that have not begun are left out, and so is their block."""

_reading = Lock()
"""Held by the block that is read."""

Unread: TypeAlias = Literal["unread"]
"""Stands for the fringe of a block that could not be read: what it reaches is nodata, too."""


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
    retry: RetryPolicy = ONCE
    label: str = ""
    """What the scene is called in events."""
    topic: str = ""
    """Where events go."""


@dataclass(frozen=True)
class Prediction:
    """A predicted block: what is final, and what waits for its neighbours."""

    planes: NDArray[np.uint8]
    """Class id, confidence in percent and, on request, percent of each class, shape (planes, core rows, core
    cols). The open strips are not filled in yet, but nodata is."""
    strips: Strips
    fringe: Fringe
    counts: dict[str, Any]
    """Tiles and seconds of this task, and what it had trouble with."""

    def fringe_part(self, part: str) -> Sums | Unread | None:
        """Return what one neighbour needs of the fringe, and no more: `south`, `east` or `southeast`."""
        return "unread" if "unread" in self.counts else getattr(self.fringe, part)


def sendable(task: Callable[P, T]) -> Callable[P, T]:
    """Let a task raise its errors without their causes: what GDAL raises cannot travel between processes."""

    @functools.wraps(task)
    def raising_plainly(*args: P.args, **kwargs: P.kwargs) -> T:
        try:
            return task(*args, **kwargs)
        except GeosegError as error:
            plain = type(error)(str(error)).with_traceback(error.__traceback__)
        raise plain

    return raising_plainly


@sendable
def predict_block(job: Job, block: Block) -> Prediction:
    """Read a block's window once, predict its tiles and add them up.

    A tile without one valid pixel is skipped: all its pixels are nodata anyway.

    Raises
    ------
    SceneError
        When the scene cannot be read.
    """
    report(job.topic, "begun", scene=job.label, block=block.name)
    _get_ready(job)
    watch, trouble = Stopwatch(), _Trouble()
    pixels = _read(job, block, watch, trouble)
    segmenter = load_segmenter(job.segmenter)
    values, valid = (segmenter.arrays.put(a) for a in (pixels.values, pixels.valid))
    mosaic = Mosaic(job.grid, block, job.legend.ids, every=job.probabilities, arrays=segmenter.arrays)
    chosen = [t for t in block.tiles if pixels.valid[t.relative_to(block.reach)].any()]
    # Batches finish in any order; the sums do not mind.
    pool = device_pool(job.segmenter)
    work = _Work(job, block, segmenter, values, valid, mosaic, watch, trouble, Lock())
    start = time.perf_counter()
    batches = [
        pool.submit(_predict_batch, work, chosen[i : i + job.batch], time.time())
        for i in range(0, len(chosen), job.batch)
    ]
    try:
        for b in batches:
            b.result()
    finally:
        for b in batches:
            b.cancel()
    if stopping.is_set():
        raise CancelledError(f"{block.name} was given up")
    seconds = {
        "read": watch.total("read"),
        "forward": watch.total("forward"),
        "predict": time.perf_counter() - start,
    }
    core_valid = pixels.valid[block.core.relative_to(block.reach)]
    with watch.time("sum"):
        parts = mosaic.parts()
        parts.planes[:, ~core_valid] = NODATA
    facts = {"scene": job.label, "block": block.name, "pixels": core_valid.size, "spans": watch.spans}
    report(job.topic, "predicted", **facts, **trouble.counts(job))
    counts = {
        "tiles": len(chosen),
        "skipped": len(block.tiles) - len(chosen),
        "seconds": seconds,
        **trouble.counts(job),
    }
    return Prediction(parts.planes, parts.strips, parts.fringe, counts)


def _get_ready(job: Job) -> None:
    """Load what the first block of a process needs while it is read; what fails there is met again later."""
    spec = job.segmenter
    if not is_loaded(spec):
        shape = (job.batch, len(job.scene.bands), *job.grid.tile_shape)
        pool = device_pool(spec)
        pool.submit(lambda: load_segmenter(spec).prepare(shape, job.scene.dtype))
        pool.submit(_kernels.load)


@dataclass
class _Trouble:
    """What went wrong with a block and did not stop the run."""

    retries: int = 0
    unread: str = ""
    """Why the block could not be read at all."""
    batch: int = 0
    """Tiles at once that the device could take; 0 before any."""

    def counts(self, job: Job) -> dict[str, Any]:
        """Return the trouble as plain values, nothing when there was none."""
        found: dict[str, Any] = {}
        if self.retries:
            found["retries"] = self.retries
        if self.unread:
            found["unread"] = self.unread
        if 0 < self.batch < job.batch:
            found["batch"] = self.batch
        return found


@contextmanager
def _turn(job: Job, watch: Stopwatch) -> Iterator[None]:
    """Let blocks be read one at a time, where that is enough.

    GDAL keeps decoded internal tiles by handle: two at once would decode twice what their blocks share. A CPU
    takes longer to predict a block than to read it, but a GPU would wait, and servers answer several at once.
    """
    several = job.segmenter.device != "cpu" or job.scene.remote
    with nullcontext() if several else _reading, watch.time("read"):
        yield


def _read(job: Job, block: Block, watch: Stopwatch, trouble: _Trouble) -> Pixels:
    """Read what a block's tiles see, with retries."""

    def on_failure(number: int, why: str) -> None:
        trouble.retries, trouble.unread = number, why
        facts = {"scene": job.label, "block": block.name, "try": number, "why": why}
        report(job.topic, "unreadable", **facts)

    try:
        pixels = read_with_retry(job.scene, block.reach, job.retry, on_failure, lambda: _turn(job, watch))
    except SceneError as error:
        raise SceneError(f"{block.name}: {error}") from error
    if pixels is None:
        trouble.retries -= 1
        return nodata_pixels(job.scene, block.reach)
    trouble.unread = ""
    return pixels


@dataclass(frozen=True)
class _Work:
    """What the batches of a block share."""

    job: Job
    block: Block
    segmenter: Segmenter
    values: Any
    """Raw numbers of what the block's tiles see, (B, rows, cols), where the segmenter has its arrays."""
    valid: Any
    """Where they are valid, (rows, cols), there too."""
    mosaic: Mosaic
    watch: Stopwatch
    trouble: _Trouble
    adding: Lock


def _predict_batch(work: _Work, tiles: list[Window], submitted: float) -> None:
    """Predict up to a batch of tiles and add them."""
    work.watch.add("wait", submitted, max(0.0, time.time() - submitted))
    job = work.job
    places = [t.relative_to(work.block.reach) for t in tiles]
    seen = [(work.values[:, rows, cols], work.valid[rows, cols]) for rows, cols in places]
    if stopping.is_set():
        return
    with work.watch.time("forward"):
        fitted = predict_with_backoff(
            work.segmenter, job.segmenter, seen, job.batch, job.scene.gain, job.scene.bias
        )
    with work.adding, work.watch.time("sum"):
        work.trouble.batch = min(work.trouble.batch or job.batch, fitted.size)
        for tile, probabilities in zip(tiles, fitted.tiles, strict=True):
            work.mosaic.add(tile, probabilities)


@sendable
def settle_block(
    job: Job,
    block: Block,
    prediction: Prediction,
    from_north: Sums | Unread | None,
    from_west: Sums | Unread | None,
    from_northwest: Sums | Unread | None,
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
    watch = Stopwatch()
    with watch.time("settle"):
        planes = _settled(job, block, prediction, (from_north, from_west, from_northwest))
        numbers = _kernels.count(planes[0])
    pixels = {int(i): int(numbers[i]) for i in np.flatnonzero(numbers)}
    counts = {
        **prediction.counts,
        "nodata": pixels.pop(NODATA, 0),
        "classes": {str(i): n for i, n in pixels.items()},
    }
    counts["seconds"] = {**counts["seconds"], "settle": watch.total("settle")}
    with watch.time("write"):
        job.staging.write(block, planes, counts)
    report(job.topic, "settled", scene=job.label, block=block.name, spans=watch.spans)
    return counts


def _settled(
    job: Job, block: Block, prediction: Prediction, fringes: tuple[Sums | Unread | None, ...]
) -> NDArray[np.uint8]:
    """Return the planes of a block with its open strips filled in."""
    planes = prediction.planes.copy()
    rows, cols = block.open_rows, block.open_cols
    # What an unread neighbour shares with this block lacks its part of the sums.
    shared = (np.s_[:, :rows], np.s_[:, :, :cols], np.s_[:, :rows, :cols])
    for fringe, place in zip(fringes, shared, strict=True):
        if isinstance(fringe, str):
            planes[place] = NODATA
    strips = prediction.strips.settle(*(None if isinstance(f, str) else f for f in fringes))
    for target, sums in ((planes[:, :rows], strips.north), (planes[:, rows:, :cols], strips.west)):
        if sums.size:
            settled = HOST.decide(sums, all_of(sums), job.legend.ids, every=job.probabilities)
            np.copyto(target, settled, where=target != NODATA)
    return planes
