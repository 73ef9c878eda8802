"""The one loop: plans to finished run folders, through one cluster and one window of blocks.

One scene is a list of one. With many, scenes are checked ahead of their turn, and the outputs of a scene are
made while the blocks of the next ones are predicted.
"""

import json
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, closing
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from geoseg.config.run_record import RunRecord
from geoseg.core.errors import ClusterError, GeosegError, OutputError, one_line
from geoseg.inference.plan import Plan
from geoseg.runs.finished import Run
from geoseg.runs.folder import finished_identity, open_run_folder
from geoseg.runs.prepare import Batch
from geoseg.runs.progress import Progress
from geoseg.storage.store import open_store

if TYPE_CHECKING:
    from distributed import Client

    from geoseg.inference.driver import Event, SceneWork
    from geoseg.inference.interruption import Interruption
    from geoseg.runs.scene import SceneRun

SUMMARY = "scenes.json"
"""What became of every scene, in the folder above their run folders."""

AHEAD = 2
"""Scenes that are opened and checked before their turn."""

BEHIND = 4
"""Scenes whose outputs may wait to be made; then no further scene is taken up."""

State = Literal["done", "finished before", "failed", "can run"]


@dataclass(frozen=True)
class Outcome:
    """What became of a scene."""

    name: str
    state: State
    folder: str
    why: str = ""
    """Why it failed, in one line."""
    warnings: tuple[str, ...] = ()
    seconds: float = 0


@dataclass(frozen=True)
class ScenePlan:
    """A scene in the list: its plan, or how to make it when its turn comes."""

    name: str
    folder: Path | str
    plan: Callable[[], Plan]


@dataclass(frozen=True)
class Options:
    """How plans are run; none of it changes the maps."""

    overwrite: bool = False
    """Replace a finished run, or the unfinished run of another plan."""
    profile: bool = False
    """Write the timeline of each scene, too: `profile.json`, and a picture in the report."""
    on_progress: Callable[[Progress], None] = lambda _: None
    """Called with what happens to blocks, workers and outputs."""
    interruption: "Interruption | None" = None
    """Asks to end as soon as the blocks in hand are staged."""


def run(plan: Plan, options: Options | None = None) -> Run:
    """Run a plan: predict, stitch, vectorise, publish.

    A run that was interrupted at any moment is resumed from its finished blocks and ends with the same bytes.

    Raises
    ------
    GeosegError
        When the run failed; finished blocks are kept.
    """
    scene = ScenePlan(plan.name, plan.folder, lambda: plan)
    with _Loop([scene], options or Options()) as loop:
        loop.run()
    return Run(plan.folder, loop.records[plan.name])


def run_batch(
    batch: Batch,
    options: Options | None = None,
    *,
    skip: bool = False,
    on_outcome: Callable[[Outcome], None] = lambda _: None,
) -> list[Outcome]:
    """Run a pipeline on every scene of a batch; scenes that are finished already are left as they are.

    Parameters
    ----------
    batch
        The scenes.
    options
        How to run them.
    skip
        Go on with the others when a scene fails; else the first failure stops the run.
    on_outcome
        Called with each scene that is over.

    Returns
    -------
    outcomes
        In the order in which the scenes ended; also written to `scenes.json`.

    Raises
    ------
    GeosegError
        When the cluster is gone, or a scene failed and `skip` is not set; finished blocks are kept.
    """
    scenes = [ScenePlan(s.name, batch.folder_of(s), partial(batch.plan, s)) for s in batch.scenes]
    with _Loop(scenes, options or Options(), many=True, skip=skip, on_outcome=on_outcome) as loop:
        try:
            loop.run()
        finally:
            _write_summary(batch.folder, loop.outcomes)
    return loop.outcomes


def check_batch(batch: Batch, on_outcome: Callable[[Outcome], None] = lambda _: None) -> list[Outcome]:
    """Check and plan every scene; nothing is written."""
    outcomes = []
    for listed in batch.scenes:
        folder = str(batch.folder_of(listed))
        try:
            plan = batch.plan(listed)
        except GeosegError as error:
            outcomes.append(Outcome(listed.name, "failed", folder, one_line(error)))
        else:
            outcomes.append(Outcome(listed.name, "can run", folder, "", plan.warnings))
        on_outcome(outcomes[-1])
    return outcomes


def _write_summary(folder: Path | str, outcomes: list[Outcome]) -> None:
    text = json.dumps([asdict(o) for o in outcomes], indent=2, ensure_ascii=False)
    store = open_store(folder)
    store.create()
    store.write(SUMMARY, text.encode() + b"\n")


@dataclass
class _Loop:
    """Where the scenes are: being checked, being predicted, having their outputs made, over."""

    scenes: list[ScenePlan]
    options: Options
    many: bool = False
    """Whether finished scenes are left as they are, and a failure names its scene."""
    skip: bool = False
    on_outcome: Callable[[Outcome], None] = lambda _: None
    outcomes: list[Outcome] = field(default_factory=list)
    records: dict[str, RunRecord] = field(default_factory=dict)
    """Of the scenes that were run, by name."""
    under_way: dict[str, tuple["SceneRun", ExitStack]] = field(default_factory=dict)
    """Scenes by name, with what has to be closed after each."""
    making: dict[str, Future[RunRecord | None]] = field(default_factory=dict)
    """Outputs made beside the blocks of other scenes; None when a block has to be done again."""
    predicted: deque["SceneRun"] = field(default_factory=deque)
    """Scenes whose outputs are made when nothing is left to predict."""
    ready: deque["SceneRun"] = field(default_factory=deque)
    """Scenes with an open folder and blocks to predict."""
    pools: ExitStack = field(default_factory=ExitStack)

    def __enter__(self) -> "_Loop":
        self.waiting = iter(self.scenes)
        self.checking: deque[tuple[ScenePlan, Future[Plan]]] = deque()
        self.checker, self.maker = (
            self.pools.enter_context(_Pool(1, thread_name_prefix=name)) for name in ("check", "outputs")
        )
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: Any) -> None:
        self.pools.close()
        for _, stack in self.under_way.values():
            stack.__exit__(kind, error, trace)

    def run(self) -> None:
        """Run all scenes."""
        from geoseg.inference.clusters import connect  # noqa: PLC0415
        from geoseg.inference.clusters.check import check_workers, needs_of  # noqa: PLC0415
        from geoseg.inference.driver import predict_scenes  # noqa: PLC0415
        from geoseg.inference.workers import dashboard  # noqa: PLC0415
        from geoseg.models.backends.load import unload_segmenter  # noqa: PLC0415

        # No cluster is started for scenes that are finished, or that cannot run.
        first = self._first()
        if first is None:
            return
        with ExitStack() as stack:
            self.client: Client = stack.enter_context(connect(first.plan.cluster, self._tell))
            needs = needs_of(first.plan, first.folder.staging)
            memory = first.plan.memory.total if first.plan.ask_workers_for_memory else None
            stack.enter_context(check_workers(self.client, needs, memory, self._tell))
            stack.callback(self.pools.close)  # outputs under way need the cluster
            if self._begin(first):
                self._note_fact(dashboard(self.client))
                self.ready.append(first)
            while self.ready or self._check_ahead():
                works = self._works()
                with closing(predict_scenes(self.client, works, self.options.interruption)) as events:
                    for event in events:
                        self._note(event)
                unload_segmenter()  # maps are made without the network, whose memory they can use
                self._make_the_rest()

    def _tell(self, line: str) -> None:
        self.options.on_progress(Progress(line))

    def _first(self) -> "SceneRun | None":
        """Open scenes until one has something to do."""
        while self._check_ahead():
            if (scene := self._open(*self.checking.popleft())) is not None:
                return scene
        return None

    def _check_ahead(self) -> bool:
        """Let the next scenes be checked; return whether any is."""
        while len(self.checking) < AHEAD and (scene := next(self.waiting, None)) is not None:
            self.checking.append((scene, self.checker.submit(scene.plan)))
        return bool(self.checking)

    def _works(self) -> "Iterator[SceneWork | None]":
        """Yield what is to be predicted, scene after scene; None while nothing is ready."""
        while True:
            self._collect_outputs()
            if self.ready:
                yield self.ready.popleft().work()
            elif self._check_ahead():
                if not self.checking[0][1].done() or len(self.making) >= BEHIND:
                    yield None
                elif (scene := self._open(*self.checking.popleft())) is not None and self._begin(scene):
                    yield scene.work()
            elif self._predicting():
                yield None
            else:
                return

    def _predicting(self) -> bool:
        """Return whether blocks of a scene are under way, or may be once more."""
        return bool(self.making) or len(self.under_way) > len(self.predicted)

    def _open(self, scene: ScenePlan, checked: Future[Plan]) -> "SceneRun | None":
        """Open the folder of a scene; return its run, unless it is finished or has failed."""
        from geoseg.runs.log import event_log  # noqa: PLC0415
        from geoseg.runs.outputs import output_names  # noqa: PLC0415
        from geoseg.runs.scene import SceneRun  # noqa: PLC0415

        options, stack = self.options, ExitStack()
        try:
            plan = checked.result()
            identity = plan.identity()
            if self.many and not options.overwrite and finished_identity(plan.folder) == identity:
                self._over(Outcome(scene.name, "finished before", str(plan.folder)))
                return None
            names = output_names(plan.pipeline, profile=options.profile)
            folder = stack.enter_context(
                open_run_folder(plan.folder, identity, names, overwrite=options.overwrite)
            )
            log = stack.enter_context(event_log(folder))
            run = SceneRun(plan, folder, log, self._pass_on, profile=options.profile)
        except ClusterError:
            raise
        except GeosegError as error:
            stack.__exit__(type(error), error, None)
            self._fail(scene.name, error)
            return None
        self.under_way[scene.name] = run, stack
        return run

    def _begin(self, scene: "SceneRun") -> bool:
        """Find out what a scene has staged; return whether that went well."""
        try:
            scene.open()
        except GeosegError as error:
            self._fail(scene.plan.name, error)
            return False
        return True

    def _pass_on(self, event: Progress) -> None:
        # Outputs of many scenes are made beside the blocks of the next ones, which are what the bar shows.
        if event.total or not self.many:
            self.options.on_progress(event)

    def _note(self, event: "Event") -> None:
        """Take note of what the driver says."""
        from geoseg.inference.driver import BlockDone, WorkDone, WorkFailed  # noqa: PLC0415

        self._collect_outputs()
        if isinstance(event, BlockDone):
            self.under_way[event.work.name][0].note_block(event)
        elif isinstance(event, WorkDone):
            run, _ = self.under_way[event.work.name]
            others = len(self.under_way) - len(self.making) - len(self.predicted) - 1
            if self._check_ahead() or others:
                self.making[event.work.name] = self.maker.submit(self._make, run)
            else:
                self.predicted.append(run)
        elif isinstance(event, WorkFailed):
            self._fail(event.work.name, event.error)
        else:
            self._note_fact(event)

    def _note_fact(self, fact: dict[str, Any]) -> None:
        # Workers that come and go concern every scene under way.
        names = [fact["scene"]] if "scene" in fact else list(self.under_way)
        for name in names:
            if name in self.under_way and name not in self.making:
                self.under_way[name][0].note_fact(fact)

    def _make(self, run: "SceneRun") -> RunRecord | None:
        return run.publish(self.client) if run.complete() else None

    def _collect_outputs(self) -> None:
        """See which outputs are made."""
        for name in [n for n, f in self.making.items() if f.done()]:
            self._made(name, self.making.pop(name).result)

    def _make_the_rest(self) -> None:
        """Make the outputs of the last scenes; nothing is predicted meanwhile."""
        while self.predicted:
            run = self.predicted.popleft()
            self._made(run.plan.name, partial(self._make, run))

    def _made(self, name: str, result: Callable[[], RunRecord | None]) -> None:
        """Take the record of a scene whose outputs are made, or its failure."""
        try:
            record = result()
        except ClusterError:
            raise
        except (GeosegError, OSError, MemoryError) as error:
            if not self.many:
                raise
            self._fail(name, error if isinstance(error, GeosegError) else OutputError(one_line(error)))
            return
        if record is None:
            self.ready.append(self.under_way[name][0])
            return
        run, stack = self.under_way.pop(name)
        stack.close()
        self.records[name] = record
        folder = str(run.plan.folder)
        self._over(Outcome(name, "done", folder, "", tuple(record.warnings), record.seconds.total))

    def _fail(self, name: str, error: GeosegError) -> None:
        if not self.many:
            raise error  # as the error of the loop it closes the scene's folder, too
        _, stack = self.under_way.pop(name, (None, ExitStack()))
        stack.__exit__(type(error), error, None)
        folder = next(str(s.folder) for s in self.scenes if s.name == name)
        self._over(Outcome(name, "failed", folder, one_line(error)))
        if not self.skip:
            raise type(error)(f"{name}: {error}") from error

    def _over(self, outcome: Outcome) -> None:
        self.outcomes.append(outcome)
        self.on_outcome(outcome)


class _Pool(ThreadPoolExecutor):
    """Threads whose waiting tasks are cancelled at the end."""

    def __exit__(self, *_: object) -> None:
        self.shutdown(wait=True, cancel_futures=True)
