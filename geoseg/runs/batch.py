"""Many scenes in one run: one cluster, one window of blocks, a run folder for each scene."""

import json
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, closing
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from geoseg.config.loader import load
from geoseg.config.pipeline import Pipeline
from geoseg.config.scene import SceneEntry
from geoseg.core.errors import ClusterError, GeosegError, OutputError, one_line
from geoseg.models.bundle import Bundle, open_bundle
from geoseg.runs.folder import finished_identity, open_run_folder
from geoseg.runs.prepare import Prepared, prepare_pipeline
from geoseg.scenes.catalog import CATALOG
from geoseg.scenes.listing import ListedScene, list_scenes
from geoseg.storage.store import open_store, within

if TYPE_CHECKING:
    from distributed import Client

    from geoseg.inference.driver import Event, Work
    from geoseg.inference.interruption import Interruption
    from geoseg.runs.outputs import Progress
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
class Batch:
    """Many scenes for one pipeline."""

    pipeline: Pipeline
    bundle: Bundle
    scenes: list[ListedScene]
    folder: Path | str
    """A folder, or a URI; holds a run folder for each scene, by its name."""
    catalog: Path = CATALOG

    def prepare(self, listed: ListedScene) -> Prepared:
        """Check and plan one scene, as a pipeline of its own."""
        changes = {"name": listed.name, "scene": listed.scene, "scenes": None}
        folder = within(self.folder, listed.name)
        found = finished_identity(folder) or {}
        own = self.pipeline.model_copy(update=changes)
        return prepare_pipeline(own, folder, self.catalog, self.bundle, checked=found.get("scene"))


def read_batch(
    path: Path,
    overrides: Sequence[str] = (),
    output: Path | str | None = None,
    catalog: Path = CATALOG,
    scenes: str | None = None,
) -> Batch | None:
    """Read a pipeline for many scenes; None when it is for one.

    Parameters
    ----------
    path
        The pipeline file.
    overrides
        `key=value` assignments.
    output
        Folder of the run folders instead of the pipeline's.
    catalog
        The data catalog.
    scenes
        The scenes, instead of the pipeline's.

    Raises
    ------
    ConfigError
        When the pipeline or the list of scenes is not as it should be.
    BundleError
        When the bundle cannot be used.
    """
    pipeline = load(path, Pipeline, overrides)
    source = scenes or pipeline.scenes
    if source is None:
        return None
    template = pipeline.scene if isinstance(pipeline.scene, SceneEntry) else None
    folder = output or pipeline.outputs.folder
    listed = list_scenes(source, template, catalog)
    return Batch(pipeline, open_bundle(pipeline.model), listed, folder, catalog)


def check_batch(batch: Batch, on_outcome: Callable[[Outcome], None] = lambda _: None) -> list[Outcome]:
    """Check and plan every scene; nothing is written."""
    outcomes = []
    for listed in batch.scenes:
        folder = str(within(batch.folder, listed.name))
        try:
            prepared = batch.prepare(listed)
        except GeosegError as error:
            outcomes.append(Outcome(listed.name, "failed", folder, one_line(error)))
        else:
            outcomes.append(Outcome(listed.name, "can run", folder, "", prepared.warnings))
        on_outcome(outcomes[-1])
    return outcomes


def run_batch(
    batch: Batch,
    *,
    overwrite: bool = False,
    skip: bool = False,
    profile: bool = False,
    on_outcome: Callable[[Outcome], None] = lambda _: None,
    on_event: Callable[["Progress"], None] = lambda _: None,
    interruption: "Interruption | None" = None,
) -> list[Outcome]:
    """Run the pipeline on every scene; those that are finished already are left as they are.

    Parameters
    ----------
    batch
        The scenes.
    overwrite
        Run finished scenes again, and replace the unfinished runs of another plan.
    skip
        Go on with the others when a scene fails; else the first failure stops the run.
    profile
        Write the timeline of each scene into its folder.
    on_outcome
        Called with each scene that is over.
    on_event
        Called with what happens to blocks and workers.
    interruption
        Asks to end as soon as the blocks in hand are staged.

    Returns
    -------
    outcomes
        In the order in which the scenes ended; also written to `scenes.json`.

    Raises
    ------
    GeosegError
        When the cluster is gone, or a scene failed and `skip` is not set; finished blocks are kept.
    """
    from geoseg.inference.clusters import connect, resolve_cluster  # noqa: PLC0415
    from geoseg.inference.clusters.shape import shape_of  # noqa: PLC0415
    from geoseg.inference.driver import predict_scenes  # noqa: PLC0415
    from geoseg.inference.workers import dashboard  # noqa: PLC0415
    from geoseg.runs.outputs import Progress  # noqa: PLC0415

    def tell(line: str) -> None:
        on_event(Progress(line))

    shape = shape_of(resolve_cluster(batch.pipeline.cluster), batch.pipeline.inference.device)
    with ExitStack() as stack:
        client = stack.enter_context(connect(shape.cluster, tell))
        on_event(Progress("predict", name="", fact=dashboard(client)))
        floor = stack.enter_context(_Floor(batch, client, on_outcome, on_event, overwrite, skip, profile))
        events = stack.enter_context(closing(predict_scenes(client, floor.works(), interruption)))
        for event in events:
            floor.note(event)
        return floor.outcomes


@dataclass
class _Open:
    """A scene under way: its run, and what has to be closed after it."""

    run: "SceneRun"
    stack: ExitStack


@dataclass
class _Floor:
    """Where the scenes are: being checked, being predicted, having their outputs made, over."""

    batch: Batch
    client: "Client"
    on_outcome: Callable[[Outcome], None]
    on_event: Callable[["Progress"], None]
    overwrite: bool
    skip: bool
    profile: bool
    outcomes: list[Outcome] = field(default_factory=list)
    open: dict[str, _Open] = field(default_factory=dict)
    making: dict[str, Future[dict[str, Any] | None]] = field(default_factory=dict)
    """Outputs under way, by scene; None when a block has to be done again first."""
    again: deque["SceneRun"] = field(default_factory=deque)
    gate: ExitStack = field(default_factory=ExitStack)
    """Keeps workers out that are not fit."""
    gated: bool = False

    def __enter__(self) -> "_Floor":
        self.checker = ThreadPoolExecutor(1, thread_name_prefix="check")
        self.maker = ThreadPoolExecutor(1, thread_name_prefix="outputs")
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: Any) -> None:
        for pool in (self.checker, self.maker):
            pool.shutdown(wait=True, cancel_futures=True)
        for scene in self.open.values():
            scene.stack.__exit__(kind, error, trace)
        self.gate.close()
        text = json.dumps([asdict(o) for o in self.outcomes], indent=2, ensure_ascii=False)
        store = open_store(self.batch.folder)
        store.create()
        store.write(SUMMARY, text.encode() + b"\n")

    def works(self) -> "Iterator[Work | None]":
        """Yield what is to be predicted, scene after scene; None while nothing is ready."""
        queue = iter(self.batch.scenes)
        checking: deque[tuple[ListedScene, Future[Prepared]]] = deque()
        more = True
        while True:
            self._reap()
            while more and len(checking) < AHEAD:
                listed = next(queue, None)
                if listed is None:
                    more = False
                else:
                    checking.append((listed, self.checker.submit(self.batch.prepare, listed)))
            if self.again:
                yield self.again.popleft().work()
            elif checking and checking[0][1].done() and len(self.making) < BEHIND:
                run = self._begin(*checking.popleft())
                if run is not None:
                    yield run.work()
            elif checking or self.making or self.open:
                yield None
            else:
                return

    def _begin(self, listed: ListedScene, checked: Future[Prepared]) -> "SceneRun | None":
        """Open the folder of a scene; return its run, unless it is finished or has failed."""
        stack = ExitStack()
        try:
            prepared = checked.result()
            if self._finished(prepared):
                self._over(Outcome(listed.name, "finished before", str(prepared.folder)))
                return None
            self._check_workers(prepared)
            run = self._opened(prepared, stack)
        except ClusterError:
            raise
        except GeosegError as error:
            stack.__exit__(type(error), error, None)
            self._fail(listed.name, error)
            return None
        self.open[listed.name] = _Open(run, stack)
        return run

    def _check_workers(self, prepared: Prepared) -> None:
        """Check the workers with the first scene; what else they cannot read is an error of its scene."""
        from geoseg.inference.clusters.check import check_workers, needs_of  # noqa: PLC0415
        from geoseg.runs.outputs import Progress  # noqa: PLC0415

        if self.gated:
            return
        store = open_store(self.batch.folder)
        store.create()
        needs = needs_of(prepared.plan, store)
        self.gate.enter_context(
            check_workers(
                self.client, needs, prepared.unchecked_memory, lambda line: self.on_event(Progress(line))
            )
        )
        self.gated = True

    def _finished(self, prepared: Prepared) -> bool:
        return not self.overwrite and finished_identity(prepared.folder) == prepared.plan.identity()

    def _opened(self, prepared: Prepared, stack: ExitStack) -> "SceneRun":
        from geoseg.runs.log import event_log  # noqa: PLC0415
        from geoseg.runs.outputs import output_names  # noqa: PLC0415
        from geoseg.runs.scene import SceneRun  # noqa: PLC0415

        names = output_names(prepared.pipeline, profile=self.profile)
        identity = prepared.plan.identity()
        folder = stack.enter_context(
            open_run_folder(prepared.folder, identity, names, overwrite=self.overwrite)
        )
        log = stack.enter_context(event_log(folder))
        run = SceneRun(prepared, folder, log, self._pass_on, profile=self.profile)
        run.open()
        return run

    def _pass_on(self, event: "Progress") -> None:
        # Outputs are made beside the blocks of the next scenes, which are what the bar shows.
        if event.total:
            self.on_event(event)

    def note(self, event: "Event") -> None:
        """Take note of what the driver says."""
        from geoseg.inference.driver import BlockDone, WorkDone, WorkFailed  # noqa: PLC0415

        self._reap()
        if isinstance(event, BlockDone):
            self.open[event.work.name].run.note_block(event)
        elif isinstance(event, WorkDone):
            name = event.work.name
            self.making[name] = self.maker.submit(self._make, self.open[name].run)
        elif isinstance(event, WorkFailed):
            self._fail(event.work.name, event.error)
        else:
            self._note_fact(event)

    def _note_fact(self, fact: dict[str, Any]) -> None:
        # Who comes and goes concerns every scene under way.
        names = [fact["scene"]] if "scene" in fact else list(self.open)
        for name in names:
            if name in self.open and name not in self.making:
                self.open[name].run.note_fact(fact)

    def _make(self, run: "SceneRun") -> dict[str, Any] | None:
        return run.publish(self.client) if run.complete() else None

    def _reap(self) -> None:
        """See which outputs are made."""
        for name in [n for n, f in self.making.items() if f.done()]:
            made = self.making.pop(name)
            try:
                manifest = made.result()
            except (GeosegError, OSError, MemoryError) as error:
                self._fail(name, error if isinstance(error, GeosegError) else OutputError(one_line(error)))
                continue
            if manifest is None:
                self.again.append(self.open[name].run)
                continue
            scene = self.open.pop(name)
            scene.stack.close()
            seconds = manifest["seconds"]["total"]
            folder = str(scene.run.prepared.folder)
            self._over(Outcome(name, "done", folder, "", tuple(manifest["warnings"]), seconds))

    def _fail(self, name: str, error: GeosegError) -> None:
        scene = self.open.pop(name, None)
        if scene is not None:
            scene.stack.__exit__(type(error), error, None)
        self._over(Outcome(name, "failed", str(within(self.batch.folder, name)), one_line(error)))
        if not self.skip:
            raise type(error)(f"{name}: {error}") from error

    def _over(self, outcome: Outcome) -> None:
        self.outcomes.append(outcome)
        self.on_outcome(outcome)
