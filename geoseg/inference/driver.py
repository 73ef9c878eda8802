"""Run the blocks of scenes on Dask: a bounded window of futures that releases fringes early.

All scenes share one window, so that no worker is idle between two scenes. A scene is finished when its last
block is staged; its outputs can be made while the next scenes are predicted.
"""

import contextlib
import queue
from collections.abc import Generator, Iterable, Iterator, Mapping
from concurrent.futures import CancelledError
from dataclasses import dataclass, field, replace
from typing import Any, TypeAlias
from uuid import uuid4

from distributed import Client, Future, KilledWorker
from distributed.scheduler import NoValidWorkerError

from geoseg.core.errors import GeosegError, PlanError
from geoseg.inference.detect import detect_block
from geoseg.inference.events import Fact
from geoseg.inference.interruption import Interruption
from geoseg.inference.plan import SLOTS
from geoseg.inference.predict import Job, Prediction, predict_block, settle_block, shutdown_requested
from geoseg.inference.workers import RESOURCE, WorkerMonitor
from geoseg.tiling.blocks import STRIP, Block, BlockGrid

WINDOW = 8
"""Submitted blocks for each slot of each worker."""

GROUP = STRIP * STRIP
"""Neighbouring blocks meant for one of several workers: as many along a strip as across it."""

PARTS = {"south": (1, 0), "east": (0, 1), "southeast": (1, 1)}
"""Parts of a fringe, and the row and column offset of the block that waits for each."""

_TICK = 0.25
"""Seconds to wait for an event before workers are polled and a request to end is noticed."""

_FETCH_TIMEOUT = 2.0
"""Seconds to fetch the counts of a settled block. Without a limit, a result that was lost with its worker
would block the driver."""

Position = tuple[int, int]
"""Row and column of a block, in blocks."""


@dataclass(eq=False)
class SceneWork:
    """The blocks of one scene and their progress."""

    name: str
    """Name of the scene in events and messages."""
    job: Job
    blocks: BlockGrid
    finished: Mapping[Position, object]
    """Positions of the blocks that an earlier run of the same plan has staged."""
    token: str = field(default_factory=lambda: uuid4().hex[:12])
    """Part of the keys of its tasks: makes them unique on the scheduler."""
    done: int = field(init=False)
    """Blocks that are finished, including those of an earlier run."""
    failed: bool = False
    """Whether a block failed; the scene's other blocks are then skipped."""
    begun: set[str] = field(default_factory=set)
    """Names of the blocks that a worker has started."""
    fringes: dict[tuple[Position, str], Future] = field(default_factory=dict)
    """Future of each part of a fringe, by the position of the block that waits for it and the part's name."""

    def __post_init__(self) -> None:
        self.done = len(self.finished)

    def must_settle(self, position: Position) -> bool:
        """Return whether there is a block at a position that is mapped and not finished."""
        return self.blocks.is_mapped(*position) and position not in self.finished

    def dependents(self, block: Block) -> dict[str, Position]:
        """Return the position of the block that waits for each part of a fringe; objects have none."""
        if self.job.detection is not None:
            return {}
        near = {part: (block.row + r, block.col + c) for part, (r, c) in PARTS.items()}
        return {part: position for part, position in near.items() if self.must_settle(position)}

    def can_settle(self, block: Block) -> bool:
        """Return whether the block and the neighbours that it waits for have all been started."""
        if self.job.detection is not None:
            return block.name in self.begun
        near = [(block.row - r, block.col - c) for r, c in ((0, 0), (1, 0), (0, 1), (1, 1))]
        blocks = [self.blocks.block(*p) for p in near if min(p) >= 0]
        return {b.name for b in blocks if b.tiles} <= self.begun


@dataclass(frozen=True)
class BlockDone:
    """Event: one block has been settled."""

    block: Block
    counts: dict[str, Any]
    done: int
    """Finished blocks of its scene, including those of an earlier run."""
    total: int
    work: SceneWork


@dataclass(frozen=True)
class WorkDone:
    """Event: all blocks of a scene are staged."""

    work: SceneWork


@dataclass(frozen=True)
class WorkFailed:
    """Event: a scene cannot be predicted; its remaining tasks are cancelled."""

    work: SceneWork
    error: GeosegError


Event: TypeAlias = BlockDone | WorkDone | WorkFailed | Fact


def predict_scenes(
    client: Client, works: Iterable[SceneWork | None], interruption: Interruption | None = None
) -> Generator[Event]:
    """Predict and settle the blocks of many scenes, in order, through one window; yield events.

    When a block fails, its scene is abandoned and the others go on.

    Parameters
    ----------
    client
        A Dask client with workers that have the resource `GPU`.
    works
        The scenes. None means that the next scene is not ready yet; the iterator is asked again later.
    interruption
        The request to end early.

    Raises
    ------
    ClusterError
        When no worker or no scheduler is left.
    KeyboardInterrupt
        When the end was requested, after the blocks under way are staged.
    """
    interruption = interruption or Interruption()
    dispatcher = _Dispatcher(client)
    shutdown_requested.clear()
    try:
        with interruption.graceful():
            yield from _drive(dispatcher, iter(works), interruption)
    except BaseException:
        shutdown_requested.set()
        raise
    finally:
        dispatcher.close()


def _drive(
    dispatcher: "_Dispatcher", works: Iterator[SceneWork | None], interruption: Interruption
) -> Iterator[Event]:
    """Keep the window full and yield the events of its tasks."""
    source: Iterator[tuple[SceneWork, list[Block]]] | None = iter(())
    while True:
        while source is not None and not interruption.requested and dispatcher.has_room():
            task = next(source, None)
            if task is not None:
                dispatcher.submit(*task)
                continue
            try:
                scene = next(works)
            except StopIteration:
                source = None
                break
            if scene is None:
                break
            dispatcher.add_scene(scene)
            source = dispatcher.groups(scene)
            yield from dispatcher.completion(scene)
        if interruption.requested:
            dispatcher.cancel_waiting()
            source = None
        if source is None and not dispatcher.waiting:
            if interruption.requested:
                raise KeyboardInterrupt
            return
        yield from dispatcher.collect()


class _Dispatcher:
    """Submits the tasks of blocks and collects their results."""

    def __init__(self, client: Client) -> None:
        self.client = client
        self.topic = f"geoseg-{uuid4().hex[:12]}"
        self.waiting: dict[str, tuple[SceneWork, Block, Future]] = {}
        """The last task of each block, which stages it, by key."""
        self.scenes: dict[str, SceneWork] = {}
        """Scenes with unfinished blocks, by name."""
        self.inbox: queue.SimpleQueue[Fact | Future] = queue.SimpleQueue()
        self.monitor = WorkerMonitor(client)
        client.subscribe_topic(self.topic, lambda event: self.inbox.put(event[1]))

    def has_room(self) -> bool:
        """Return whether the window has room for another block."""
        return len(self.waiting) < WINDOW * SLOTS * max(1, self.monitor.count)

    def add_scene(self, scene: SceneWork) -> None:
        """Start with a scene."""
        scene.job = replace(scene.job, topic=self.topic)
        self.scenes[scene.name] = scene

    def completion(self, scene: SceneWork) -> Iterator[Event]:
        """Yield `WorkDone` when all blocks of a scene are finished."""
        if scene.done == scene.blocks.count:
            del self.scenes[scene.name]
            yield WorkDone(scene)

    def groups(self, scene: SceneWork) -> Iterator[tuple[SceneWork, list[Block]]]:
        """Yield the blocks of a scene in parts of strips that are submitted together."""
        for strip in scene.blocks.strips():
            size = GROUP * self.monitor.count if self.monitor.count > 1 else 1
            for i in range(0, len(strip), size):
                if not scene.failed:
                    yield scene, strip[i : i + size]

    def submit(self, scene: SceneWork, blocks: list[Block]) -> None:
        """Submit the tasks of neighbouring blocks, and of the fringe parts for their neighbours."""
        job = scene.job
        # A finished block with an unfinished neighbour is predicted again: its fringe is lost.
        needed = [b for b in blocks if scene.must_settle((b.row, b.col)) or scene.dependents(b)]
        task = predict_block if job.detection is None else detect_block
        predictions = {
            block.name: self.client.submit(
                task, job.near(block), block, resources={RESOURCE: 1}, pure=False,
                # First in, first out: of tasks submitted within this time Dask runs the last one first.
                fifo_timeout="0 ms", key=f"predict-{scene.token}-{block.name}",
            )
            for block in interleaved(needed, self.monitor.count)
        }  # fmt: skip
        for block in needed:
            if job.detection is None:
                self._settle(scene, block, predictions[block.name])
            else:
                self._track(scene, block, predictions[block.name])

    def _settle(self, scene: SceneWork, block: Block, prediction: Future) -> None:
        job, here, key = scene.job, (block.row, block.col), f"{scene.token}-{block.name}"
        for part, neighbour in scene.dependents(block).items():
            scene.fringes[neighbour, part] = self.client.submit(
                fringe_part, prediction, part, priority=10, pure=False, key=f"{part}-{key}"
            )
        if not scene.must_settle(here):
            return
        parts = [scene.fringes.pop((here, part), None) for part in PARTS]
        # Settling has priority over predicting, so that finished blocks leave memory first.
        settled = self.client.submit(
            settle_block, job.near(block), block, prediction, *parts, priority=10, pure=False,
            key=f"settle-{key}",
        )  # fmt: skip
        self._track(scene, block, settled)

    def _track(self, scene: SceneWork, block: Block, settled: Future) -> None:
        self.waiting[settled.key] = scene, block, settled
        settled.add_done_callback(self.inbox.put)

    def collect(self) -> Iterator[Event]:
        """Wait a moment for an event or a result; yield the events that follow."""
        yield from self.monitor.poll()
        with contextlib.suppress(queue.Empty):
            news = self.inbox.get(timeout=_TICK)
            yield from self._handle_fact(news) if isinstance(news, dict) else self._handle_result(news)

    def _handle_fact(self, fact: Fact) -> Iterator[Event]:
        scene = self.scenes.get(fact["scene"])
        if scene is not None and fact["event"] == "begun":
            scene.begun.add(fact["block"])
        yield fact

    def _handle_result(self, future: Future) -> Iterator[Event]:
        """Yield the event of a settling task that ended."""
        scene, block, _ = self.waiting.pop(future.key, (None, None, None))
        if scene is None or block is None:
            return  # the task of an abandoned scene
        try:
            counts = future.result(timeout=_FETCH_TIMEOUT)
        except (GeosegError, KilledWorker) as error:
            yield self._fail_scene(scene, _as_geoseg_error(error, scene, block))
        except TimeoutError:
            # The worker with the result is lost: Dask runs the task again and calls back.
            self._track(scene, block, future)
        except (CancelledError, NoValidWorkerError, OSError) as error:
            raise self.monitor.lost_cluster() from error
        else:
            scene.done += 1
            yield BlockDone(block, counts, scene.done, scene.blocks.count, scene)
            yield from self.completion(scene)

    def _fail_scene(self, scene: SceneWork, error: GeosegError) -> WorkFailed:
        scene.failed = True
        self.scenes.pop(scene.name, None)
        self._cancel([key for key, (owner, _, _) in self.waiting.items() if owner is scene])
        scene.fringes.clear()
        return WorkFailed(scene, error)

    def cancel_waiting(self) -> None:
        """Cancel the blocks that no worker has started, or whose neighbours are not started."""
        for scene in self.scenes.values():
            scene.fringes.clear()
        self._cancel([key for key, (scene, block, _) in self.waiting.items() if not scene.can_settle(block)])

    def _cancel(self, keys: list[str]) -> None:
        futures = [self.waiting.pop(key)[2] for key in keys]
        if futures:
            self.client.cancel(futures, force=True)

    def close(self) -> None:
        """Cancel all tasks and unsubscribe from events."""
        if self.client.status == "running":
            for scene in self.scenes.values():
                scene.fringes.clear()
            self._cancel(list(self.waiting))
            self.client.unsubscribe_topic(self.topic)


def _as_geoseg_error(error: Exception, scene: SceneWork, block: Block) -> GeosegError:
    if isinstance(error, GeosegError):
        return error
    name = f"{scene.name}: {block.name}" if scene.name else block.name
    return PlanError(
        f"workers died again and again at {name}, most likely out of memory; use fewer workers or a smaller "
        "tile (--set tiling.tile=256); finished blocks are kept"
    )


def interleaved(blocks: list[Block], workers: int) -> list[Block]:
    """Return neighbouring blocks in an order that gives each of several workers adjacent blocks.

    Dask assigns the next task to the least busy worker, so workers take blocks in turn. Adjacent blocks share
    fringes and internal tiles of the scene, which then stay on one worker. The order is only a preference:
    an idle worker takes any block.
    """
    run = -(-len(blocks) // max(1, workers))
    return [block for i in range(run) for block in blocks[i::run]]


def fringe_part(prediction: Prediction, part: str) -> Any:
    """Return one part of a prediction's fringe, so that only this part is sent to the neighbour's worker."""
    return prediction.fringe_part(part)
