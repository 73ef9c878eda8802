"""The one loop: plans to finished run folders, through one cluster and one window of blocks.

One scene is a list of one. Of many scenes, the next ones are checked ahead, and the outputs of a scene are
made while the blocks of the next scenes are predicted.
"""

from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Literal

from distributed import Client

from geoseg.config.run_record import RunRecord
from geoseg.core.errors import ClusterError, GeosegError, OutputError, OutsideError, one_line
from geoseg.inference.clusters import connect
from geoseg.inference.clusters.check import check_workers, needs_of
from geoseg.inference.driver import BlockDone, Event, SceneWork, WorkDone, WorkFailed, predict_scenes
from geoseg.inference.interruption import Interruption
from geoseg.inference.plan import Plan
from geoseg.inference.workers import dashboard
from geoseg.models.backends.load import unload_segmenter
from geoseg.runs.finished import Run
from geoseg.runs.folder import finished_identity, open_run_folder
from geoseg.runs.log import event_log
from geoseg.runs.outputs import output_names
from geoseg.runs.progress import ENDED, Progress
from geoseg.runs.scene_run import SceneRun

AHEAD = 2
"""Scenes that are checked and planned ahead."""

BEHIND = 4
"""Scenes whose outputs may be pending before no further scene is opened."""

State = Literal["done", "finished before", "outside the area", "failed", "can run"]


@dataclass(frozen=True)
class Outcome:
    """How the run, or the check, of a scene ended."""

    name: str
    state: State
    folder: str
    """The run folder, or its URI."""
    why: str = ""
    """The error in one line."""
    warnings: tuple[str, ...] = ()
    seconds: float = 0
    """Duration of the run."""
    picture: str = ""
    """Name of the scene's file, by which pictures of all scenes are called; empty when none are asked for."""


@dataclass(frozen=True)
class ScenePlan:
    """A scene in the list, planned when its turn comes."""

    name: str
    folder: Path | str
    plan: Callable[[], Plan]
    """Checks the scene and makes its plan."""


@dataclass(frozen=True)
class Options:
    """How plans are run; none of it changes the maps."""

    overwrite: bool = False
    """Replace a finished run, or the unfinished run of another plan."""
    profile: bool = False
    """Write the timeline of each scene, too: `profile.json`, and a picture in the report."""
    on_progress: Callable[[Progress], None] = lambda _: None
    """Called with each event of blocks, workers and outputs."""
    interruption: Interruption | None = None
    """The request to end as soon as the blocks under way are staged."""


def run(plan: Plan, options: Options | None = None) -> Run:
    """Run a plan: predict, stitch, vectorise, publish.

    A run that was interrupted at any moment is resumed from its finished blocks and ends with the same bytes.

    Raises
    ------
    GeosegError
        When the run failed; finished blocks are kept.
    """
    scene = ScenePlan(plan.name, plan.folder, lambda: plan)
    with Loop([scene], options or Options()) as loop:
        loop.run()
    return Run(plan.folder, loop.records[plan.name])


@dataclass
class Loop:
    """The state of all scenes: checked ahead, ready, active, publishing their outputs, or ended."""

    scenes: list[ScenePlan]
    options: Options
    many: bool = False
    """Whether finished scenes are skipped, and errors name their scene."""
    skip: bool = False
    """Whether the other scenes go on when one fails."""
    on_outcome: Callable[[Outcome], None] = lambda _: None
    outcomes: list[Outcome] = field(default_factory=list)
    records: dict[str, RunRecord] = field(default_factory=dict)
    """Records of the published scenes, by name."""
    active: dict[str, tuple[SceneRun, ExitStack]] = field(default_factory=dict)
    """Open scenes by name, each with the stack that closes its folder and log."""
    publishing: dict[str, Future[RunRecord | None]] = field(default_factory=dict)
    """Outputs made while other scenes are predicted; None when a block must be predicted again."""
    to_publish: deque[SceneRun] = field(default_factory=deque)
    """Scenes whose outputs are made after the last scene is predicted."""
    ready: deque[SceneRun] = field(default_factory=deque)
    """Scenes with an open folder and blocks to predict."""
    pools: ExitStack = field(default_factory=ExitStack)

    def __enter__(self) -> "Loop":
        self.remaining = iter(self.scenes)
        self.checking: deque[tuple[ScenePlan, Future[Plan]]] = deque()
        self.checker, self.publisher = (
            self.pools.enter_context(_Pool(1, thread_name_prefix=name)) for name in ("check", "outputs")
        )
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: Any) -> None:
        self.pools.close()
        for _, stack in self.active.values():
            stack.__exit__(kind, error, trace)

    def run(self) -> None:
        """Run all scenes."""
        # No cluster is started when all scenes are finished or cannot run.
        first = self._open_first()
        if first is None:
            return
        with ExitStack() as stack:
            self.client: Client = stack.enter_context(connect(first.plan.cluster, self._report_step))
            needs = needs_of(first.plan, first.folder.staging)
            memory = first.plan.memory.total if first.plan.ask_workers_for_memory else None
            stack.enter_context(check_workers(self.client, needs, memory, self._report_step))
            stack.callback(self.pools.close)  # outputs in the making need the cluster
            if self._begin(first):
                self._handle_fact(dashboard(self.client))
                self.ready.append(first)
            while self.ready or self._check_ahead():
                works = self._works()
                with closing(predict_scenes(self.client, works, self.options.interruption)) as events:
                    for event in events:
                        self._handle_event(event)
                unload_segmenter()  # making outputs can use the memory of the network
                self._publish_rest()

    def _report_step(self, line: str) -> None:
        self.options.on_progress(Progress(line))

    def _open_first(self) -> SceneRun | None:
        """Open the first scene that is neither finished nor failed."""
        while self._check_ahead():
            if (scene := self._open(*self.checking.popleft())) is not None:
                return scene
        return None

    def _check_ahead(self) -> bool:
        """Submit the checks of the next scenes; return whether any check is pending."""
        while len(self.checking) < AHEAD and (scene := next(self.remaining, None)) is not None:
            self.checking.append((scene, self.checker.submit(scene.plan)))
        return bool(self.checking)

    def _works(self) -> Iterator[SceneWork | None]:
        """Yield the work of scene after scene; None while none is ready."""
        while True:
            self._collect_published()
            if self.ready:
                yield self.ready.popleft().work()
            elif self._check_ahead():
                if not self.checking[0][1].done() or len(self.publishing) >= BEHIND:
                    yield None
                elif (scene := self._open(*self.checking.popleft())) is not None and self._begin(scene):
                    yield scene.work()
            elif self._predicting():
                yield None
            else:
                return

    def _predicting(self) -> bool:
        """Return whether blocks of a scene are being predicted, or may have to be predicted again."""
        return bool(self.publishing) or len(self.active) > len(self.to_publish)

    def _open(self, scene: ScenePlan, checked: Future[Plan]) -> SceneRun | None:
        """Open the folder of a scene; return its run, unless it is finished or has failed."""
        options, stack = self.options, ExitStack()
        try:
            plan = checked.result()
            identity = plan.identity()
            if self.many and not options.overwrite and finished_identity(plan.folder) == identity:
                self._report_outcome(Outcome(scene.name, "finished before", str(plan.folder)))
                return None
            names = output_names(plan, profile=options.profile)
            folder = stack.enter_context(
                open_run_folder(plan.folder, identity, names, overwrite=options.overwrite)
            )
            log = stack.enter_context(event_log(folder))
            run = SceneRun(plan, folder, log, self._forward_progress, profile=options.profile)
        except ClusterError:
            raise
        except OutsideError as error:
            if not self.many:
                raise
            self._report_outcome(Outcome(scene.name, "outside the area", str(scene.folder), one_line(error)))
            return None
        except GeosegError as error:
            stack.__exit__(type(error), error, None)
            self._fail(scene.name, error)
            return None
        self.active[scene.name] = run, stack
        return run

    def _begin(self, scene: SceneRun) -> bool:
        """Find the staged blocks of a scene; return whether they could be read."""
        try:
            scene.open()
        except GeosegError as error:
            self._fail(scene.plan.name, error)
            return False
        return True

    def _forward_progress(self, event: Progress) -> None:
        self.options.on_progress(event)

    def _handle_event(self, event: Event) -> None:
        """Handle an event of the driver."""
        self._collect_published()
        if isinstance(event, BlockDone):
            self.active[event.work.name][0].record_block(event)
        elif isinstance(event, WorkDone):
            run, _ = self.active[event.work.name]
            if run.masking:
                self._mask_done(run)
                return
            others = len(self.active) - len(self.publishing) - len(self.to_publish) - 1
            if self._check_ahead() or others:
                self.publishing[event.work.name] = self.publisher.submit(self._publish, run)
            else:
                self.to_publish.append(run)
        elif isinstance(event, WorkFailed):
            self._fail(event.work.name, event.error)
        else:
            self._handle_fact(event)

    def _mask_done(self, run: SceneRun) -> None:
        """Go on with a scene of which a mask is finished."""
        try:
            run.next_pass()
        except GeosegError as error:
            self._fail(run.plan.name, error)
        else:
            self.ready.append(run)

    def _handle_fact(self, fact: dict[str, Any]) -> None:
        # Workers that join or leave concern every active scene.
        names = [fact["scene"]] if "scene" in fact else list(self.active)
        for name in names:
            if name in self.active and name not in self.publishing:
                self.active[name][0].record_fact(fact)

    def _publish(self, run: SceneRun) -> RunRecord | None:
        return run.publish(self.client) if run.complete() else None

    def _collect_published(self) -> None:
        """Finish the scenes whose outputs a thread has made."""
        for name in [n for n, f in self.publishing.items() if f.done()]:
            self._finish(name, self.publishing.pop(name).result)

    def _publish_rest(self) -> None:
        """Make the outputs of the last scenes, when all blocks are predicted."""
        while self.to_publish:
            run = self.to_publish.popleft()
            self._finish(run.plan.name, partial(self._publish, run))

    def _finish(self, name: str, result: Callable[[], RunRecord | None]) -> None:
        """End a scene with the record or the error of its outputs."""
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
            self.ready.append(self.active[name][0])
            return
        run, stack = self.active.pop(name)
        stack.close()
        self.records[name] = record
        folder = str(run.plan.folder)
        self._report_outcome(Outcome(name, "done", folder, "", tuple(record.warnings), record.seconds.total))

    def _fail(self, name: str, error: GeosegError) -> None:
        if not self.many:
            raise error  # `__exit__` closes the scene's folder with it
        _, stack = self.active.pop(name, (None, ExitStack()))
        stack.__exit__(type(error), error, None)
        folder = next(str(s.folder) for s in self.scenes if s.name == name)
        self._report_outcome(Outcome(name, "failed", folder, one_line(error)))
        if not self.skip:
            raise type(error)(f"{name}: {error}") from error

    def _report_outcome(self, outcome: Outcome) -> None:
        self.outcomes.append(outcome)
        ran = outcome.state in {"done", "failed"}
        self.options.on_progress(Progress(ENDED, done=int(ran), name=outcome.name))
        self.on_outcome(outcome)


class _Pool(ThreadPoolExecutor):
    """Threads whose pending tasks are cancelled at the end."""

    def __exit__(self, *_: object) -> None:
        self.shutdown(wait=True, cancel_futures=True)
