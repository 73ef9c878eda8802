"""The two tasks of a run; their only effects are reading the scene and writing the finished block."""

import functools
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import CancelledError
from contextlib import contextmanager, nullcontext
from dataclasses import asdict, dataclass, replace
from threading import Event, Lock
from typing import Any, ParamSpec, TypeVar

import numpy as np
from numpy.typing import NDArray

from geoseg.core.errors import GeosegError, SceneError
from geoseg.core.geometry import Window
from geoseg.core.legend import NODATA, Legend
from geoseg.inference.backoff import predict_with_backoff
from geoseg.inference.detection import Detection
from geoseg.inference.events import Stopwatch, report
from geoseg.inference.retry import ONCE, RetryPolicy, nodata_pixels, read_with_retry
from geoseg.models.backends.load import device_pool, is_loaded, load_segmenter
from geoseg.models.backends.spec import Segmenter, SegmenterSpec
from geoseg.models.strangeness import Gauge, count_unlike
from geoseg.raster.staging import Staging
from geoseg.scenes import network
from geoseg.scenes.pixels import Pixels
from geoseg.scenes.scene import Scene
from geoseg.tiling import _kernels
from geoseg.tiling.arrays import HOST, Arrays, all_of
from geoseg.tiling.blocks import Block
from geoseg.tiling.grid import TileGrid
from geoseg.tiling.heads import ClassHead, Head
from geoseg.tiling.mosaic import Fringe, Mosaic, Strips, Sums
from geoseg.tiling.thresholds import Thresholds

P = ParamSpec("P")
T = TypeVar("T")

shutdown_requested = Event()
"""Set when a run ends early: batches that have not begun are skipped, and their blocks are abandoned."""

_read_lock = Lock()
"""Held while a block is read, when blocks are read one at a time."""


@dataclass(frozen=True)
class Unread:
    """Stands for the fringe of an unreadable block: the pixels that the fringe covers become nodata, too."""

    block: str
    """Name of the block."""
    why: str


@dataclass(frozen=True)
class Network:
    """A network of a job, what it sees of the scene, and how it runs."""

    segmenter: SegmenterSpec
    batch: int
    """Tiles in one forward pass."""
    bands: tuple[int, ...] | None = None
    """Places of its bands among those of the scene, from 0; None: all, in their order."""
    channels: tuple[int, ...] | None = None
    """Its channel of each class of the job; None: all, in their order."""

    def of_bands(self, values: Any) -> Any:
        """Return what an array (bands, ...) has of its bands."""
        return values if self.bands is None else values[list(self.bands)]

    def of_classes(self, probabilities: Any) -> Any:
        """Return probabilities (C, rows, cols) in the order of the job's classes."""
        return probabilities if self.channels is None else probabilities[list(self.channels)]


@dataclass(frozen=True)
class Job:
    """The arguments that all tasks of a scene share; small, because it is sent with each task."""

    scene: Scene
    segmenter: SegmenterSpec
    legend: Legend
    grid: TileGrid
    batch: int
    probabilities: bool
    """Whether the probability of every class is staged, too, in percent."""
    staging: Staging | None = None
    """Where blocks are written when they are settled; None when their planes go on to other tasks."""
    thresholds: Thresholds | None = None
    """The rule by which a pixel gets its class; None: the most probable one."""
    retry: RetryPolicy = ONCE
    label: str = ""
    """Name of the scene in events."""
    detection: Detection | None = None
    """How objects are found; None: the network classifies pixels."""
    topic: str = ""
    """Dask topic to which events are sent; a run has one, and its tasks heed `shutdown_requested`."""
    other: Head | None = None
    """What the network predicts when that is not one class of the legend for each pixel."""
    gauge: Gauge | None = None
    """What pixels are held to; made once, so that all workers compute with the same numbers."""
    strangeness: bool = False
    """Whether how far pixels are from the training pixels is staged, too."""
    members: tuple[Network, ...] = ()
    """The networks of an ensemble, the first one too; none of a single network."""

    @property
    def networks(self) -> tuple[Network, ...]:
        """The networks whose sums are kept one after the other."""
        return self.members or (Network(self.segmenter, self.batch),)

    @property
    def head(self) -> Head:
        """What the network predicts for each pixel."""
        return self.other or ClassHead(tuple(self.legend.ids.tolist()), self.probabilities, self.thresholds)

    @property
    def given_up(self) -> bool:
        """Whether the run that the job is of ends early."""
        return bool(self.topic) and shutdown_requested.is_set()

    def near(self, block: Block) -> "Job":
        """Return the job with no more of the scene than the tasks of a block need."""
        return replace(self, scene=self.scene.near(block.reach))


@dataclass(frozen=True)
class Prediction:
    """A predicted block: its planes, and the sums that wait for neighbours."""

    planes: NDArray[Any]
    """What the head of the job decides: class id, confidence in percent and, on request, percent of each
    class, shape (planes, core rows, core cols). Nodata is final; the open strips are not filled in yet."""
    strips: Strips
    """Sums of the open strips, which lack the fringes of the neighbours."""
    fringe: Fringe
    """Sums for the neighbours in the east, south and south-east."""
    counts: dict[str, Any]
    """Tiles, seconds and incidents of this task."""
    observations: NDArray[np.uint8] | None = None
    """How often each pixel of the core was seen, of a scene that counts it."""
    block: str = ""
    """Name of the block."""
    strangeness: NDArray[np.uint8] | None = None
    """How far each pixel of the core is from the training pixels, see `Gauge.levels`."""

    def fringe_part(self, part: str) -> Sums | Unread | None:
        """Return the part of the fringe for one neighbour: `south`, `east` or `southeast`."""
        why = self.counts.get("unread")
        return getattr(self.fringe, part) if why is None else Unread(self.block, why)


def plain_errors(task: Callable[P, T]) -> Callable[P, T]:
    """Make a task raise its errors without their causes, because errors of GDAL cannot be pickled."""

    @functools.wraps(task)
    def raising_plainly(*args: P.args, **kwargs: P.kwargs) -> T:
        try:
            return task(*args, **kwargs)
        except GeosegError as error:
            plain = type(error)(str(error)).with_traceback(error.__traceback__)
        raise plain

    return raising_plainly


@plain_errors
def predict_block(job: Job, block: Block) -> Prediction:
    """Read a block's window once, predict its tiles and sum their probabilities.

    A tile without a valid pixel is skipped, because all its pixels are nodata anyway.

    Raises
    ------
    SceneError
        When the scene cannot be read.
    DeviceMemoryError
        When not even one tile fits on the device.
    CancelledError
        When the run ends early.
    """
    report(job.topic, "begun", scene=job.label, block=block.name)
    warm_up(job)
    watch, incidents = Stopwatch(), Incidents()
    pixels = read_block(job, block, watch, incidents)
    segmenters = [load_segmenter(n.segmenter) for n in job.networks]
    mosaic = Mosaic(job.grid, block, arrays=_common(segmenters), head=job.head)
    chosen = [t for t in block.tiles if pixels.valid[t.relative_to(block.reach)].any()]
    start = time.perf_counter()
    for member, (one, segmenter) in enumerate(zip(job.networks, segmenters, strict=True)):
        put = segmenter.arrays.put
        values, valid = put(one.of_bands(pixels.values)), put(pixels.valid)
        _predict_tiles(
            _BatchContext(
                job, block, one, segmenter, values, valid, mosaic, member, watch, incidents, Lock()
            ),
            chosen,
        )
    if job.given_up:
        raise CancelledError(f"{block.name} was given up")
    seconds = {
        "read": watch.total("read"),
        "forward": watch.total("forward"),
        "predict": time.perf_counter() - start,
    }
    core_valid = _mapped(block, pixels.valid)
    with watch.time("sum"):
        parts = mosaic.parts()
        parts.planes[:, ~core_valid] = job.head.nodata
    facts = {"scene": job.label, "block": block.name, "pixels": core_valid.size, "spans": watch.spans}
    report(job.topic, "predicted", **facts, **incidents.counts())
    counts = {
        "tiles": len(chosen),
        "skipped": len(block.tiles) - len(chosen),
        "seconds": seconds,
        **incidents.counts(),
        **network_counts(job),
    }
    observations = None if pixels.observations is None else in_core(block, pixels.observations)
    return Prediction(
        parts.planes, parts.strips, parts.fringe, counts, observations, block.name,
        strangeness_of(job, block, pixels),
    )  # fmt: skip


def strangeness_of(job: Job, block: Block, pixels: Pixels) -> NDArray[np.uint8] | None:
    """Return how far the pixels of a block's core are from the training pixels, None where none is known."""
    if job.gauge is None:
        return None
    found = np.full(block.core.shape, NODATA, np.uint8)
    seen = block.core.intersect(block.reach)
    here = seen.relative_to(block.reach)
    found[seen.relative_to(block.core)] = job.gauge.levels(
        pixels.values[:, *here], pixels.valid[here], job.scene.gain, job.scene.bias
    )
    return found


def _common(segmenters: Sequence[Segmenter]) -> Arrays:
    """Return the arrays in which networks are summed: those of all, or of this process's memory."""
    first, *others = (s.arrays for s in segmenters)
    place = getattr(first, "device", None)
    same = all(type(a) is type(first) and getattr(a, "device", None) == place for a in others)
    return first if same else HOST


def _predict_tiles(work: "_BatchContext", chosen: list[Window]) -> None:
    """Predict tiles by one network and add them to the mosaic."""
    pool, size = device_pool(work.network.segmenter), work.network.batch
    # Batches may finish in any order: integer sums do not depend on it.
    batches = [
        pool.submit(_predict_batch, work, chosen[i : i + size], time.time())
        for i in range(0, len(chosen), size)
    ]
    try:
        for b in batches:
            b.result()
    finally:
        for b in batches:
            b.cancel()


def _mapped(block: Block, valid: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return which pixels of a block's core get a class: those that are valid and in the area of interest."""
    mapped = in_core(block, valid)
    return mapped if block.outline is None else mapped & block.outline.inside(block.core)


def in_core(block: Block, values: NDArray[Any]) -> NDArray[Any]:
    """Return the core of an array (rows, cols) of a block's reach, which has all its pixels of the area.

    Zero where the tiles that an area of interest needs do not reach.
    """
    seen = block.core.intersect(block.reach)
    core = np.zeros(block.core.shape, dtype=values.dtype)
    core[seen.relative_to(block.core)] = values[seen.relative_to(block.reach)]
    return core


def network_counts(job: Job) -> dict[str, Any]:
    """Return what this process read over the network since it was asked last, as plain values."""
    if not job.scene.remote:
        return {}
    return {"network": asdict(network.take())}


def warm_up(job: Job) -> None:
    """Load network and kernels while the first block of a process is read.

    Errors are dropped here; they are raised when the block is predicted.
    """
    for one in job.networks:
        spec = one.segmenter
        if not is_loaded(spec):
            shape = (
                one.batch,
                len(job.scene.bands if one.bands is None else one.bands),
                *job.grid.tile_shape,
            )
            pool = device_pool(spec)
            pool.submit(_prepare, spec, shape, job.scene.dtype)
            pool.submit(_kernels.load)


def _prepare(spec: SegmenterSpec, shape: tuple[int, int, int, int], dtype: np.dtype[Any]) -> None:
    load_segmenter(spec).prepare(shape, dtype)


@dataclass
class Incidents:
    """Failures of a block that did not stop the run."""

    retries: int = 0
    """Attempts to read that were repeated."""
    unread: str = ""
    """Reason of the last failed attempt; empty when the block was read in the end."""
    batch: int = 0
    """Fewest tiles that fitted on the device at once; 0 where all of a batch did."""

    def counts(self) -> dict[str, Any]:
        """Return the incidents as plain values; an empty dict without incidents."""
        found: dict[str, Any] = {}
        if self.retries:
            found["retries"] = self.retries
        if self.unread:
            found["unread"] = self.unread
        if self.batch:
            found["batch"] = self.batch
        return found


@contextmanager
def _read_slot(job: Job, watch: Stopwatch) -> Iterator[None]:
    """Wait for a turn to read, when blocks are read one at a time; measure the reading.

    GDAL caches decoded internal tiles by handle, so two concurrent readers decode the tiles that their blocks
    share twice. One reader is enough on a CPU, which predicts slower than it reads. A GPU would wait, and
    servers answer several requests at once.
    """
    several = any(n.segmenter.device != "cpu" for n in job.networks) or job.scene.remote
    with nullcontext() if several else _read_lock, watch.time("read"):
        yield


def read_block(job: Job, block: Block, watch: Stopwatch, incidents: Incidents) -> Pixels:
    """Read the window of a block's tiles, with retries."""

    def on_failure(number: int, why: str) -> None:
        incidents.retries, incidents.unread = number, why
        facts = {"scene": job.label, "block": block.name, "try": number, "why": why}
        report(job.topic, "unreadable", **facts)

    try:
        pixels = read_with_retry(
            job.scene, block.reach, job.retry, on_failure, lambda: _read_slot(job, watch)
        )
    except SceneError as error:
        raise SceneError(f"{block.name}: {error}") from error
    if pixels is None:
        incidents.retries -= 1
        return nodata_pixels(job.scene, block.reach)
    incidents.unread = ""
    return pixels


@dataclass(frozen=True)
class _BatchContext:
    """The arguments that all batches of a block share."""

    job: Job
    block: Block
    network: Network
    segmenter: Segmenter
    values: Any
    """Raw numbers of its bands in the block's window, shape (B, rows, cols), in the memory of its device."""
    valid: Any
    """Their validity, shape (rows, cols), in the same memory."""
    mosaic: Mosaic
    member: int
    """Place of the network among those of the job."""
    watch: Stopwatch
    incidents: Incidents
    sum_lock: Lock
    """Held while a batch is added to the mosaic."""


def _predict_batch(work: _BatchContext, tiles: list[Window], submitted: float) -> None:
    """Predict up to a batch of tiles and add them to the mosaic."""
    work.watch.add("wait", submitted, max(0.0, time.time() - submitted))
    job = work.job
    places = [t.relative_to(work.block.reach) for t in tiles]
    seen = [(work.values[:, rows, cols], work.valid[rows, cols]) for rows, cols in places]
    if job.given_up:
        return
    one, scene, arrays = work.network, job.scene, work.mosaic.arrays
    gain, bias = one.of_bands(scene.gain), one.of_bands(scene.bias)
    with work.watch.time("forward"):
        predicted = predict_with_backoff(work.segmenter, one.segmenter, seen, one.batch, gain, bias)
    with work.sum_lock, work.watch.time("sum"):
        if predicted.size < one.batch:
            work.incidents.batch = min(work.incidents.batch or predicted.size, predicted.size)
        for tile, probabilities in zip(tiles, predicted.tiles, strict=True):
            own = one.of_classes(probabilities)
            if arrays is HOST and work.segmenter.arrays is not HOST:
                own = work.segmenter.arrays.get(own)
            work.mosaic.add(tile, own, work.member)


@plain_errors
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
        Tiles, pixels of nodata and of each class, seconds; also written to the block's marker.

    Raises
    ------
    OutputError
        When the block cannot be written.
    """
    assert job.staging is not None  # noqa: S101 (a run has it)
    watch = Stopwatch()
    with watch.time("settle"):
        planes = settled_planes(job, block, prediction, (from_north, from_west, from_northwest))
        tally, empty = job.head.tally(planes), planes[0] == job.head.nodata
        more = [_observations(prediction, empty)] if job.scene.counts_observations else []
        levels = settled_strangeness(prediction, empty)
        if levels is not None:
            tally |= count_unlike(levels)
            more += [levels] if job.strangeness else []
        planes = np.concatenate([job.head.staged(planes), *(m[np.newaxis] for m in more)])
    beside = {f.block: f.why for f in (from_north, from_west, from_northwest) if isinstance(f, Unread)}
    counts = {
        **prediction.counts,
        **({"beside": beside} if beside else {}),
        **tally,
    }
    counts["seconds"] = {**counts["seconds"], "settle": watch.total("settle")}
    with watch.time("write"):
        job.staging.write(block, planes, counts)
    report(job.topic, "settled", scene=job.label, block=block.name, spans=watch.spans)
    return counts


def _observations(prediction: Prediction, empty: NDArray[np.bool_]) -> NDArray[np.uint8]:
    """Return how often each pixel with data was seen; an unread block has seen nothing."""
    seen = prediction.observations
    return np.zeros(empty.shape, np.uint8) if seen is None else np.where(empty, np.uint8(0), seen)


def settled_strangeness(prediction: Prediction, empty: NDArray[np.bool_]) -> NDArray[np.uint8] | None:
    """Return how far the pixels of a block are from the training pixels, nodata where the map has it."""
    levels = prediction.strangeness
    return None if levels is None else np.where(empty, np.uint8(NODATA), levels)


def settled_planes(
    job: Job, block: Block, prediction: Prediction, fringes: tuple[Sums | Unread | None, ...]
) -> NDArray[Any]:
    """Return the planes of a block with its open strips filled in.

    Parameters
    ----------
    job, block, prediction
        As in `settle_block`.
    fringes
        Those from the north, the west and the north-west.
    """
    planes, head = prediction.planes.copy(), job.head
    rows, cols = block.open_rows, block.open_cols
    # Where an unread neighbour overlaps this block, its part of the sums is missing.
    shared = (np.s_[:, :rows], np.s_[:, :, :cols], np.s_[:, :rows, :cols])
    for fringe, place in zip(fringes, shared, strict=True):
        if isinstance(fringe, Unread):
            planes[place] = head.nodata
    strips = prediction.strips.settle(*(None if isinstance(f, Unread) else f for f in fringes))
    for target, sums in ((planes[:, :rows], strips.north), (planes[:, rows:, :cols], strips.west)):
        if sums.size:
            settled = head.decide(HOST, sums, all_of(sums))
            np.copyto(target, settled, where=target != head.nodata)
    return planes
