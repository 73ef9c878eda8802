"""Drive the blocks of scenes through Dask: a bounded window of futures that frees fringes early.

All scenes share one window, so that no worker waits where one scene ends and the next begins. A scene is
finished when its last block is staged; its outputs can be made while the next scenes are predicted.
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
from geoseg.inference.events import Fact
from geoseg.inference.interruption import Interruption
from geoseg.inference.plan import SLOTS
from geoseg.inference.predict import Job, Prediction, predict_block, settle_block, stopping
from geoseg.inference.workers import RESOURCE, WorkerMonitor
from geoseg.tiling.blocks import STRIP, Block, BlockGrid

WINDOW = 8
"""Blocks under way for each slot of each worker."""

RUN = STRIP * STRIP
"""Neighbouring blocks that a worker shall take, of several workers: as many along a strip as across it."""

PARTS = {"south": (1, 0), "east": (0, 1), "southeast": (1, 1)}
"""Parts of a fringe, and where the block lies that waits for it."""

_TICK = 0.25
"""Seconds without news after which workers are counted and wishes to end are looked for."""

_FETCH = 2.0
"""Seconds to fetch what a settled block counts. Without a limit a result that was lost with its worker would
be waited for, and nothing else be seen meanwhile."""

Position = tuple[int, int]


@dataclass(eq=False)
class SceneWork:
    """The blocks of one scene, and how far they are."""

    name: str
    """The scene in events and messages."""
    job: Job
    blocks: BlockGrid
    finished: Mapping[Position, object]
    """Positions of the blocks that an earlier run of the same plan has staged."""
    token: str = field(default_factory=lambda: uuid4().hex[:12])
    """Keeps the keys of its tasks apart from those of every other run on the same scheduler."""
    done: int = field(init=False)
    """Blocks that are finished, those of an earlier run included."""
    failed: bool = False
    begun: set[str] = field(default_factory=set)
    """Names of the blocks that a worker took up."""
    fringes: dict[tuple[Position, str], Future] = field(default_factory=dict)
    """Future of each part of a fringe, by the position of the block that waits for it."""

    def __post_init__(self) -> None:
        self.done = len(self.finished)

    def needs(self, position: Position) -> bool:
        """Return whether the block there has to be settled."""
        rows, cols = self.blocks.rows.count, self.blocks.cols.count
        inside = position[0] < rows and position[1] < cols
        return inside and position not in self.finished

    def dependents(self, block: Block) -> dict[str, Position]:
        """Return who waits for which part of a block's fringe."""
        near = {part: (block.row + r, block.col + c) for part, (r, c) in PARTS.items()}
        return {part: position for part, position in near.items() if self.needs(position)}

    def can_settle(self, block: Block) -> bool:
        """Return whether all that a block waits for has at least been begun."""
        near = [(block.row - r, block.col - c) for r, c in ((0, 0), (1, 0), (0, 1), (1, 1))]
        names = {self.blocks.block(*p).name for p in near if min(p) >= 0}
        return names <= self.begun


@dataclass(frozen=True)
class BlockDone:
    """Event: one block has been settled."""

    block: Block
    counts: dict[str, Any]
    done: int
    """Blocks of its scene that are finished, those of an earlier run included."""
    total: int
    work: SceneWork


@dataclass(frozen=True)
class WorkDone:
    """Event: all blocks of a scene are staged."""

    work: SceneWork


@dataclass(frozen=True)
class WorkFailed:
    """Event: a scene cannot be predicted; nothing more of it is under way."""

    work: SceneWork
    error: GeosegError


Event: TypeAlias = BlockDone | WorkDone | WorkFailed | Fact


def predict_scenes(
    client: Client, works: Iterable[SceneWork | None], interruption: Interruption | None = None
) -> Generator[Event]:
    """Predict and settle the blocks of many scenes, in their order, through one window; yield what happens.

    A scene whose block fails is given up, and the others go on.

    Parameters
    ----------
    client
        A Dask client with workers that have the resource `GPU`.
    works
        The scenes; None where the next one is not ready yet, to be asked for again.
    interruption
        Asks to end early.

    Raises
    ------
    ClusterError
        When no worker or no scheduler is left.
    KeyboardInterrupt
        When asked to end, after the blocks in hand are staged.
    """
    interruption = interruption or Interruption()
    dispatcher = _Dispatcher(client)
    stopping.clear()
    try:
        with interruption.heeded():
            yield from _drive(dispatcher, iter(works), interruption)
    except BaseException:
        stopping.set()
        raise
    finally:
        dispatcher.close()


def _drive(
    dispatcher: "_Dispatcher", works: Iterator[SceneWork | None], interruption: Interruption
) -> Iterator[Event]:
    """Keep the window full and pass on what comes back."""
    source: Iterator[tuple[SceneWork, list[Block]]] | None = iter(())
    while True:
        while source is not None and not interruption.asked and dispatcher.has_room():
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
            dispatcher.open(scene)
            source = dispatcher.groups(scene)
            yield from dispatcher.done_before(scene)
        if interruption.asked:
            dispatcher.cancel_waiting()
            source = None
        if source is None and not dispatcher.waiting:
            if interruption.asked:
                raise KeyboardInterrupt
            return
        yield from dispatcher.collect()


class _Dispatcher:
    """Submits the tasks of blocks, and sees them come back."""

    def __init__(self, client: Client) -> None:
        self.client = client
        self.topic = f"geoseg-{uuid4().hex[:12]}"
        self.waiting: dict[str, tuple[SceneWork, Block, Future]] = {}
        """Settling tasks by key."""
        self.scenes: dict[str, SceneWork] = {}
        """Scenes under way, by name."""
        self.inbox: queue.SimpleQueue[Fact | Future] = queue.SimpleQueue()
        self.monitor = WorkerMonitor(client)
        client.subscribe_topic(self.topic, lambda event: self.inbox.put(event[1]))

    def has_room(self) -> bool:
        """Return whether the workers could take another block."""
        return len(self.waiting) < WINDOW * SLOTS * max(1, self.monitor.count)

    def open(self, scene: SceneWork) -> None:
        """Take a scene up."""
        scene.job = replace(scene.job, topic=self.topic)
        self.scenes[scene.name] = scene

    def done_before(self, scene: SceneWork) -> Iterator[Event]:
        """Yield the end of a scene of which nothing was left to do."""
        if scene.done == scene.blocks.count:
            del self.scenes[scene.name]
            yield WorkDone(scene)

    def groups(self, scene: SceneWork) -> Iterator[tuple[SceneWork, list[Block]]]:
        """Yield the blocks of a scene in the parts of strips that the workers take up together."""
        for strip in scene.blocks.strips():
            size = RUN * self.monitor.count if self.monitor.count > 1 else 1
            for i in range(0, len(strip), size):
                if not scene.failed:
                    yield scene, strip[i : i + size]

    def submit(self, scene: SceneWork, blocks: list[Block]) -> None:
        """Submit neighbouring blocks and, for their neighbours, the parts of their fringes."""
        job = scene.job
        # A finished block with an unfinished neighbour is predicted again: its fringe went with the old run.
        needed = [b for b in blocks if scene.needs((b.row, b.col)) or scene.dependents(b)]
        predictions = {
            block.name: self.client.submit(
                predict_block, job, block, resources={RESOURCE: 1}, pure=False,
                # First in, first out: of what comes within this time Dask takes the last one first.
                fifo_timeout="0 ms", key=f"predict-{scene.token}-{block.name}",
            )
            for block in interleaved(needed, self.monitor.count)
        }  # fmt: skip
        for block in needed:
            self._settle(scene, block, predictions[block.name])

    def _settle(self, scene: SceneWork, block: Block, prediction: Future) -> None:
        job, here, key = scene.job, (block.row, block.col), f"{scene.token}-{block.name}"
        for part, neighbour in scene.dependents(block).items():
            scene.fringes[neighbour, part] = self.client.submit(
                fringe_part, prediction, part, priority=10, pure=False, key=f"{part}-{key}"
            )
        if not scene.needs(here):
            return
        parts = [scene.fringes.pop((here, part), None) for part in PARTS]
        # Settling comes before predicting, so that finished blocks leave memory first.
        settled = self.client.submit(
            settle_block, job, block, prediction, *parts, priority=10, pure=False, key=f"settle-{key}"
        )
        self._await(scene, block, settled)

    def _await(self, scene: SceneWork, block: Block, settled: Future) -> None:
        self.waiting[settled.key] = scene, block, settled
        settled.add_done_callback(self.inbox.put)

    def collect(self) -> Iterator[Event]:
        """Wait a moment for news; yield what they mean."""
        yield from self.monitor.poll()
        with contextlib.suppress(queue.Empty):
            news = self.inbox.get(timeout=_TICK)
            yield from self._hear(news) if isinstance(news, dict) else self._take(news)

    def _hear(self, fact: Fact) -> Iterator[Event]:
        scene = self.scenes.get(fact["scene"])
        if scene is not None and fact["event"] == "begun":
            scene.begun.add(fact["block"])
        yield fact

    def _take(self, future: Future) -> Iterator[Event]:
        """Take back a settling task."""
        scene, block, _ = self.waiting.pop(future.key, (None, None, None))
        if scene is None or block is None:
            return  # of a scene that was given up
        try:
            counts = future.result(timeout=_FETCH)
        except (GeosegError, KilledWorker) as error:
            yield self._give_up(scene, _explained(error, scene, block))
        except TimeoutError:
            # The worker that had the result is gone: the task is begun again, and will be heard of.
            self._await(scene, block, future)
        except (CancelledError, NoValidWorkerError, OSError) as error:
            raise self.monitor.gone() from error
        else:
            scene.done += 1
            yield BlockDone(block, counts, scene.done, scene.blocks.count, scene)
            yield from self.done_before(scene)

    def _give_up(self, scene: SceneWork, error: GeosegError) -> WorkFailed:
        scene.failed = True
        self.scenes.pop(scene.name, None)
        self._cancel([key for key, (owner, _, _) in self.waiting.items() if owner is scene])
        scene.fringes.clear()
        return WorkFailed(scene, error)

    def cancel_waiting(self) -> None:
        """Cancel the blocks that no worker has taken up, or whose neighbours none has."""
        for scene in self.scenes.values():
            scene.fringes.clear()
        self._cancel([key for key, (scene, block, _) in self.waiting.items() if not scene.can_settle(block)])

    def _cancel(self, keys: list[str]) -> None:
        futures = [self.waiting.pop(key)[2] for key in keys]
        if futures:
            self.client.cancel(futures, force=True)

    def close(self) -> None:
        """Leave nothing under way."""
        if self.client.status == "running":
            for scene in self.scenes.values():
                scene.fringes.clear()
            self._cancel(list(self.waiting))
            self.client.unsubscribe_topic(self.topic)


def _explained(error: Exception, scene: SceneWork, block: Block) -> GeosegError:
    if isinstance(error, GeosegError):
        return error
    name = f"{scene.name}: {block.name}" if scene.name else block.name
    return PlanError(
        f"workers died again and again at {name}, most likely out of memory; use fewer workers or a smaller "
        "tile (--set tiling.tile=256); finished blocks are kept"
    )


def interleaved(blocks: list[Block], workers: int) -> list[Block]:
    """Return neighbouring blocks in the order in which workers that take them in turn get a run each.

    Dask gives the next task to the worker that has least to do. Blocks beside each other share fringes and
    internal tiles of the scene, which so stay with their worker. It is no more than a wish: whoever is idle
    takes what is there.
    """
    run = -(-len(blocks) // max(1, workers))
    return [block for i in range(run) for block in blocks[i::run]]


def fringe_part(prediction: Prediction, part: str) -> Any:
    """Return one part of a prediction's fringe: what one neighbour needs, and no more."""
    return prediction.fringe_part(part)
