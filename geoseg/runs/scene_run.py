"""The run of one scene: which blocks are staged, the work that is left, and publishing the outputs."""

import contextlib
import os
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from threading import Thread
from time import perf_counter, time
from typing import Any, TypeVar

from distributed import Client

import geoseg
from geoseg.config.run_record import RunRecord
from geoseg.core.errors import OutputError, SceneError
from geoseg.core.notices import collect_warnings
from geoseg.core.ordered import Workers
from geoseg.core.run_files import RunFile
from geoseg.inference.clusters import workers_of
from geoseg.inference.driver import BlockDone, SceneWork
from geoseg.inference.events import Fact
from geoseg.inference.plan import Plan
from geoseg.inference.predict import Job
from geoseg.raster.staging import Staging
from geoseg.report.profile import write_trace
from geoseg.report.scene_picture import ScenePicture
from geoseg.report.timeline import Timeline, timeline_of
from geoseg.runs import outputs
from geoseg.runs.folder import RunFolder
from geoseg.runs.log import FORM, EventLog, read_events
from geoseg.runs.progress import Progress
from geoseg.runs.record import Circumstances, Totals, make_record, peak_bytes, trouble_of, with_output

T = TypeVar("T")

Counts = dict[tuple[int, int], dict[str, Any]]
"""Counts of each staged block, by row and column of blocks."""

_PATIENCE = 10.0
"""Seconds to wait for the picture after an error."""

CHECKS = 3
"""Times that staged blocks may be verified before damaged ones stop the run."""


@dataclass
class SceneRun:
    """The run of one scene in its folder."""

    plan: Plan
    folder: RunFolder
    log: EventLog
    on_event: Callable[[Progress], None]
    start: float = field(default_factory=perf_counter)
    profile: bool = False
    """Whether the timeline is drawn and written."""
    counts: Counts = field(default_factory=dict)
    checked: int = 0
    """How often the staged blocks were verified."""

    def open(self) -> None:
        """Find the staged blocks; log and report them."""
        plan = self.plan
        self.counts = self._staged()
        self.log.add(
            "run", form=FORM, geoseg=geoseg.__version__, name=plan.name, scene=plan.scene.name,
            fingerprint=plan.fingerprint, resumed=self.folder.resumed, blocks=plan.blocks.count,
            staged=len(self.counts), device=plan.device, batch=plan.batch, passes=plan.passes,
        )  # fmt: skip
        for warning in plan.warnings:
            self.log.add("warning", text=warning)
        self._report_progress()

    def complete(self) -> bool:
        """Return whether every block is staged and undamaged; damaged blocks must be predicted again.

        Raises
        ------
        OutputError
            When blocks are still damaged after `CHECKS` rounds.
        SceneError
            When a file of the scene was written to meanwhile.
        """
        blocks = self.plan.blocks
        if len(self.counts) < blocks.count:
            return False
        self.counts, self.checked = self._staged(), self.checked + 1
        damaged = [b for b in blocks if (b.row, b.col) not in self.counts]
        if damaged and self.checked == CHECKS:
            raise OutputError(
                f"{self._staging().path(damaged[0])}: is damaged each time that it is written; check the "
                "disk, or choose another folder with --output"
            )
        for block in damaged:
            self.log.add("warning", text=f"{block.name} was damaged after it was staged; it is done again")
        if not damaged:
            self._check_scene()
        return not damaged

    def _check_scene(self) -> None:
        """Check that the blocks are of one scene: its files are those that the plan was made for."""
        name = self.plan.name
        try:
            changed = self.plan.scene.changed_file()
        except SceneError as error:
            self.log.add("warning", text=f"whether the scene changed is not known: {error}")
            return
        if changed is not None:
            self.log.add("warning", scene=name, text=f"{changed} was written to during the run")
            raise SceneError(
                f"{changed}: was written to while the scene was read, so the map would be of two scenes; "
                "run it again with --overwrite"
            )

    def work(self) -> SceneWork:
        """Return the blocks that are left to predict."""
        plan = self.plan
        job = Job(
            scene=plan.scene.with_absolute_paths(),
            segmenter=plan.segmenter,
            legend=plan.bundle.card.legend,
            grid=plan.grid,
            batch=plan.batch,
            probabilities=plan.probabilities,
            staging=self._staging(),
            retry=plan.retry,
            label=plan.name,
        )
        return SceneWork(plan.name, job, plan.blocks, self.counts.copy())

    def record_fact(self, fact: Fact) -> None:
        """Log and report an event of a block or a worker."""
        self.log.write(fact)
        self._report_progress(fact=fact)

    def record_block(self, event: BlockDone) -> None:
        """Count, log and report a block that is staged."""
        self.counts[event.block.row, event.block.col] = event.counts
        name = self.plan.name
        self.log.add("done", scene=name, block=event.block.name, done=event.done, blocks=event.total)
        height, width = event.block.core.shape
        self._report_progress(height * width)

    def publish(self, client: Client) -> RunRecord:
        """Make the outputs from the staged blocks, move them into the run folder, return the record.

        Parameters
        ----------
        client
            The cluster; its workers trace polygons when they can read the maps.

        Raises
        ------
        SceneError
            When the scene has no valid pixel.
        OutputError
            When a file cannot be written.
        """
        plan, workspace, predicted = self.plan, self.folder.workspace, perf_counter()
        totals = Totals.of(self.counts.values())
        if not totals.classes:
            where = "" if plan.aoi is None else " of the area of interest"
            raise SceneError(
                f"{plan.scene.name}: every pixel{where} is nodata, NaN or masked; check nodata and mask of "
                "the scene"
            )
        self._staging().copy_to(workspace, plan.blocks)
        steps = _Steps(self.log, plan.name, self.on_event)
        with (
            _in_background(lambda: outputs.read_picture(plan)) as reading,
            collect_warnings() as notices,
            _tracers(self.folder, client) as workers,
        ):
            files = outputs.write_maps(plan, workspace, workers, steps)
        picture = reading.result()
        steps(Progress(RunFile.QUICKLOOK))
        files.append(outputs.write_picture(plan, workspace, totals, picture))
        files += outputs.write_pictures(plan, workspace, steps)
        finished = datetime.now(UTC).replace(microsecond=0)
        files.append(outputs.write_stac(plan, totals, files, finished))
        record = make_record(plan, totals, files, self._circumstances(notices, finished, predicted))
        confidence = outputs.confidence_by_class(plan, workspace)
        record = record.model_copy(update={"mean_confidence": confidence})
        steps(Progress(RunFile.PAGE))
        files.append(self._page(record, picture))
        steps.end()
        # The page shows the record without the page; the record lists it.
        record = with_output(record, files[-1])
        if self.profile:
            files.append(workspace / RunFile.PROFILE)
            write_trace(files[-1], self._timeline())
            record = with_output(record, files[-1])
        record = record.model_copy(
            update={
                "seconds": record.seconds.model_copy(update=self._seconds(predicted)),
                "memory_bytes": record.memory_bytes.model_copy(update={"peak_of_this_process": peak_bytes()}),
            }
        )
        self.folder.publish(files, record)
        return record

    def _circumstances(self, notices: list[str], finished: datetime, predicted: float) -> Circumstances:
        trouble, lines = trouble_of(self.counts, self.plan)
        for text in (*lines, *notices):
            self.log.add("warning", text=text)
        seconds = self._seconds(predicted)
        return Circumstances(
            finished=finished,
            resumed=self.folder.resumed,
            trouble=trouble,
            warnings=[*self.plan.warnings, *lines, *notices],
            predict_seconds=seconds["predict"],
            output_seconds=seconds["outputs"],
            total_seconds=seconds["total"],
        )

    def _seconds(self, predicted: float) -> dict[str, float]:
        now = perf_counter()
        return {
            "predict": round(predicted - self.start, 3),
            "outputs": round(now - predicted, 3),
            "total": round(now - self.start, 3),
        }

    def _page(self, record: RunRecord, picture: ScenePicture) -> Path:
        from geoseg.report.run_page import RunPage, write_run_page  # noqa: PLC0415 (see `read_picture`)

        page = self.folder.workspace / RunFile.PAGE
        timeline = self._timeline() if self.profile else None
        write_run_page(page, RunPage(record, self.folder.workspace, picture, timeline=timeline))
        return page

    def _timeline(self) -> Timeline:
        return timeline_of(read_events(self.log.path))

    def _staged(self) -> Counts:
        return self._staging().finished(self.plan.blocks)

    def _staging(self) -> Staging:
        return outputs.staging_of(self.plan, self.folder.staging)

    def _report_progress(self, pixels: int = 0, fact: Fact | None = None) -> None:
        plan = self.plan
        self.on_event(Progress("predict", len(self.counts), plan.blocks.count, pixels, plan.name, fact))


@contextlib.contextmanager
def _tracers(folder: RunFolder, client: Client) -> Iterator[Workers]:
    """Yield the executor that traces polygons: the cluster when it can read the maps, else local threads."""
    if folder.staging.local is not None:
        yield workers_of(client)
        return
    threads = os.cpu_count() or 1
    with ThreadPoolExecutor(threads) as pool:
        yield Workers(pool, 2 * threads)


@contextlib.contextmanager
def _in_background(task: Callable[[], T]) -> Iterator[Future[T]]:
    """Start a task in a daemon thread; after an error in the block wait for it, but not for ever.

    A thread that is in a library of C++ when Python ends would abort the process, which is to end in a line.
    """
    future: Future[T] = Future()

    def work() -> None:
        try:
            future.set_result(task())
        except BaseException as error:  # noqa: BLE001 (the future raises it)
            future.set_exception(error)

    Thread(target=work, daemon=True).start()
    try:
        yield future
    except BaseException:
        with contextlib.suppress(Exception):
            future.result(timeout=_PATIENCE)
        raise


class _Steps:
    """Logs each output when the next one begins, and forwards the progress."""

    def __init__(self, log: EventLog, scene: str, on_event: Callable[[Progress], None]) -> None:
        self.log, self.scene, self.on_event = log, scene, on_event
        self.file, self.began, self.start = "", 0.0, 0.0

    def __call__(self, event: Progress) -> None:
        self.end()
        self.file, self.began, self.start = event.stage, time(), perf_counter()
        self.on_event(event)

    def end(self) -> None:
        """End the current step."""
        if self.file:
            seconds = round(perf_counter() - self.start, 4)
            self.log.add(
                "output", scene=self.scene, file=self.file, began=round(self.began, 4), seconds=seconds
            )
            self.file = ""
