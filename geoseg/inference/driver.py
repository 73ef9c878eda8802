"""Drive the blocks of scenes through Dask: a bounded window of futures that frees fringes early.

All scenes share one window, so that no worker waits where one scene ends and the next begins. A scene is
finished when its last block is staged; its outputs can be made while the next scenes are predicted.
"""

import contextlib
import queue
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
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


@dataclass(frozen=True)
class Work:
    """The blocks of one scene, to be predicted."""

    name: str
    """The scene in events and messages."""
    job: Job
    blocks: BlockGrid
    finished: Mapping[Position, object]
    """Positions of the blocks that an earlier run of the same plan has staged."""


@dataclass(frozen=True)
class BlockDone:
    """Event: one block has been settled."""

    block: Block
    counts: dict[str, Any]
    done: int
    """Blocks of its scene that are finished, those of an earlier run included."""
    total: int
    work: Work


@dataclass(frozen=True)
class WorkDone:
    """Event: all blocks of a scene are staged."""

    work: Work


@dataclass(frozen=True)
class WorkFailed:
    """Event: a scene cannot be predicted; nothing more of it is under way."""

    work: Work
    error: GeosegError


Event: TypeAlias = BlockDone | WorkDone | WorkFailed | Fact


def run_blocks(
    client: Client,
    job: Job,
    blocks: BlockGrid,
    finished: Mapping[Position, object],
    on_event: Callable[[BlockDone], None],
    on_fact: Callable[[Fact], None] = lambda _: None,
    interruption: Interruption | None = None,
) -> None:
    """Predict and settle all blocks of one scene that are not finished.

    Parameters
    ----------
    client
        A Dask client with workers that have the resource `GPU`.
    job
        What the tasks must know.
    blocks
        All blocks of the scene.
    finished
        Positions of the blocks that an earlier run of the same plan has staged.
    on_event
        Called for every block that is settled.
    on_fact
        Called with what happens, see `geoseg.inference.events`.
    interruption
        Asks to end early.

    Raises
    ------
    GeosegError
        The first error of a task; the tasks under way are cancelled.
    KeyboardInterrupt
        When asked to end, after the blocks in hand are staged.
    """
    work = Work(job.label, job, blocks, finished)
    with contextlib.closing(predict_scenes(client, [work], interruption)) as events:
        for event in events:
            if isinstance(event, BlockDone):
                on_event(event)
            elif isinstance(event, WorkFailed):
                raise event.error
            elif isinstance(event, dict):
                on_fact(event)


def predict_scenes(
    client: Client, works: Iterable[Work | None], interruption: Interruption | None = None
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
    desk = _Desk(client)
    stopping.clear()
    try:
        with interruption.heeded():
            yield from _drive(desk, iter(works), interruption)
    except BaseException:
        stopping.set()
        raise
    finally:
        desk.close()


def _drive(desk: "_Desk", works: Iterator[Work | None], interruption: Interruption) -> Iterator[Event]:
    """Keep the window full and pass on what comes back."""
    source: Iterator[tuple[_Scene, list[Block]]] | None = iter(())
    while True:
        while source is not None and not interruption.asked and desk.has_room():
            task = next(source, None)
            if task is not None:
                desk.submit(*task)
                continue
            try:
                work = next(works)
            except StopIteration:
                source = None
                break
            if work is None:
                break
            scene = desk.open(work)
            source = ((scene, blocks) for blocks in desk.groups(work.blocks) if not scene.failed)
            yield from desk.done_before(scene)
        if interruption.asked:
            desk.keep_what_is_in_hand()
            source = None
        if source is None and not desk.waiting:
            if interruption.asked:
                raise KeyboardInterrupt
            return
        yield from desk.collect()


@dataclass(eq=False)
class _Scene:
    """How far a scene is."""

    work: Work
    token: str = field(default_factory=lambda: uuid4().hex[:12])
    """Keeps the keys of its tasks apart from those of every other run on the same scheduler."""
    done: int = 0
    failed: bool = False
    begun: set[str] = field(default_factory=set)
    """Names of the blocks that a worker took up."""
    fringes: dict[tuple[Position, str], Future] = field(default_factory=dict)
    """Future of each part of a fringe, by the position of the block that waits for it."""

    def needs(self, position: Position) -> bool:
        """Return whether the block there has to be settled."""
        blocks = self.work.blocks
        inside = position[0] < blocks.rows.count and position[1] < blocks.cols.count
        return inside and position not in self.work.finished

    def dependents(self, block: Block) -> dict[str, Position]:
        """Return who waits for which part of a block's fringe."""
        near = {part: (block.row + r, block.col + c) for part, (r, c) in PARTS.items()}
        return {part: position for part, position in near.items() if self.needs(position)}

    def can_settle(self, block: Block) -> bool:
        """Return whether all that a block waits for has at least been begun."""
        near = [(block.row - r, block.col - c) for r, c in ((0, 0), (1, 0), (0, 1), (1, 1))]
        names = {self.work.blocks.block(*p).name for p in near if min(p) >= 0}
        return names <= self.begun


class _Desk:
    """Submits the tasks of blocks, and sees them come back."""

    def __init__(self, client: Client) -> None:
        self.client = client
        self.topic = f"geoseg-{uuid4().hex[:12]}"
        self.waiting: dict[str, tuple[_Scene, Block, Future]] = {}
        """Settling tasks by key."""
        self.scenes: dict[str, _Scene] = {}
        """Scenes under way, by name."""
        self.inbox: queue.SimpleQueue[Fact | Future] = queue.SimpleQueue()
        self.monitor = WorkerMonitor(client)
        client.subscribe_topic(self.topic, lambda event: self.inbox.put(event[1]))

    def has_room(self) -> bool:
        """Return whether the workers could take another block."""
        return len(self.waiting) < WINDOW * SLOTS * max(1, self.monitor.count)

    def open(self, work: Work) -> _Scene:
        """Take a scene up."""
        job = replace(work.job, label=work.name, topic=self.topic)
        scene = _Scene(replace(work, job=job), done=len(work.finished))
        self.scenes[work.name] = scene
        return scene

    def done_before(self, scene: _Scene) -> Iterator[Event]:
        """Yield the end of a scene of which nothing was left to do."""
        if scene.done == scene.work.blocks.count:
            del self.scenes[scene.work.name]
            yield WorkDone(scene.work)

    def groups(self, blocks: BlockGrid) -> Iterator[list[Block]]:
        """Yield blocks in the parts of strips that the workers take up together."""
        for strip in blocks.strips():
            size = RUN * self.monitor.count if self.monitor.count > 1 else 1
            yield from (strip[i : i + size] for i in range(0, len(strip), size))

    def submit(self, scene: _Scene, blocks: list[Block]) -> None:
        """Submit neighbouring blocks and, for their neighbours, the parts of their fringes."""
        job = scene.work.job
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

    def _settle(self, scene: _Scene, block: Block, prediction: Future) -> None:
        job, here, key = scene.work.job, (block.row, block.col), f"{scene.token}-{block.name}"
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

    def _await(self, scene: _Scene, block: Block, settled: Future) -> None:
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
            yield BlockDone(block, counts, scene.done, scene.work.blocks.count, scene.work)
            yield from self.done_before(scene)

    def _give_up(self, scene: _Scene, error: GeosegError) -> WorkFailed:
        scene.failed = True
        self.scenes.pop(scene.work.name, None)
        self._cancel([key for key, (owner, _, _) in self.waiting.items() if owner is scene])
        scene.fringes.clear()
        return WorkFailed(scene.work, error)

    def keep_what_is_in_hand(self) -> None:
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


def _explained(error: Exception, scene: _Scene, block: Block) -> GeosegError:
    if isinstance(error, GeosegError):
        return error
    name = f"{scene.work.name}: {block.name}" if scene.work.name else block.name
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
