"""One scene on its way: from staged blocks to published outputs, step by step."""

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
from geoseg.core.errors import OutputError, SceneError
from geoseg.core.files import output_entry
from geoseg.core.notices import collect_warnings
from geoseg.core.ordered import Workers
from geoseg.inference.clusters import workers_of
from geoseg.inference.driver import BlockDone, Work
from geoseg.inference.events import Fact
from geoseg.inference.predict import Job
from geoseg.raster.staging import Staging
from geoseg.report import PAGE
from geoseg.report.profile import PROFILE, write_trace
from geoseg.report.scene_picture import ScenePicture
from geoseg.report.timeline import Timeline, timeline_of
from geoseg.runs import outputs, record
from geoseg.runs.folder import RunFolder
from geoseg.runs.log import FORM, EventLog, read_events
from geoseg.runs.outputs import Progress
from geoseg.runs.prepare import Prepared

T = TypeVar("T")

Counts = dict[tuple[int, int], dict[str, Any]]
"""What is known of each staged block, by row and column of blocks."""

CHECKS = 3
"""Times that staged blocks are held to their checksums before a disk is not trusted any more."""


@dataclass
class SceneRun:
    """The run of one scene in its folder."""

    prepared: Prepared
    folder: RunFolder
    log: EventLog
    on_event: Callable[[Progress], None]
    start: float = field(default_factory=perf_counter)
    profile: bool = False
    """Whether the timeline is drawn and written."""
    counts: Counts = field(default_factory=dict)
    checked: int = 0
    """How often the staged blocks were looked at."""

    def open(self) -> None:
        """Find out which blocks are staged, and say so."""
        plan = self.prepared.plan
        self.counts = self._staged()
        self.log.add(
            "run", form=FORM, geoseg=geoseg.__version__, name=plan.name, scene=plan.scene.name,
            fingerprint=plan.fingerprint, resumed=self.folder.resumed, blocks=plan.blocks.count,
            staged=len(self.counts), device=plan.device, batch=plan.batch, passes=plan.passes,
        )  # fmt: skip
        for warning in self.prepared.warnings:
            self.log.add("warning", text=warning)
        self._tell()

    def complete(self) -> bool:
        """Return whether every block is staged and whole; one that was damaged since is to be done again.

        Raises
        ------
        OutputError
            When blocks are damaged again and again.
        """
        blocks = self.prepared.plan.blocks
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
        return not damaged

    def work(self) -> Work:
        """Return what is left to predict."""
        plan = self.prepared.plan
        job = Job(
            plan.scene.with_absolute_paths(), plan.segmenter, plan.bundle.card.legend, plan.grid, plan.batch,
            plan.probabilities, self._staging(), self.prepared.retry, plan.name,
        )  # fmt: skip
        return Work(plan.name, job, plan.blocks, self.counts.copy())

    def note_fact(self, fact: Fact) -> None:
        """Take note of what happens to blocks and workers."""
        self.log.write(fact)
        self._tell(fact=fact)

    def note_block(self, event: BlockDone) -> None:
        """Take note of a block that is staged."""
        self.counts[event.block.row, event.block.col] = event.counts
        name = self.prepared.plan.name
        self.log.add("done", scene=name, block=event.block.name, done=event.done, blocks=event.total)
        height, width = event.block.core.shape
        self._tell(height * width)

    def publish(self, client: Client) -> dict[str, Any]:
        """Make the outputs from the staged blocks, move them into the run folder, return the manifest.

        Parameters
        ----------
        client
            The cluster; its workers trace polygons, where they see the maps.

        Raises
        ------
        SceneError
            When the scene has no valid pixel.
        OutputError
            When a file cannot be written.
        """
        prepared, workspace, predicted = self.prepared, self.folder.workspace, perf_counter()
        totals = record.add_up(self.counts.values())
        if not totals["classes"]:
            raise SceneError(
                f"{prepared.plan.scene.name}: every pixel is nodata, NaN or masked; check nodata and mask of "
                "the scene"
            )
        self._staging().beside(workspace, prepared.plan.blocks)
        steps = _Steps(self.log, prepared.plan.name, self.on_event)
        reading = _beside(lambda: outputs.read_picture(prepared))
        with collect_warnings() as notices, _tracers(self.folder, client) as workers:
            files = outputs.write_maps(prepared, workspace, workers, steps)
        picture = reading.result()
        steps(Progress("quicklook.png"))
        files.append(outputs.write_picture(prepared, workspace, totals, picture))
        finished = datetime.now(UTC).replace(microsecond=0)
        files.append(outputs.write_stac(prepared, totals, files, finished))
        manifest = record.manifest_of(prepared, totals, files, self._facts(notices, finished, predicted))
        steps(Progress(PAGE))
        files.append(self._page(manifest, picture))
        steps.end()
        if self.profile:
            files.append(self._trace(manifest))
        manifest["seconds"].update(self._seconds(predicted))
        manifest["memory_bytes"]["peak_of_this_process"] = record.peak_bytes()
        self.folder.publish(files, manifest)
        return manifest

    def _facts(self, notices: list[str], finished: datetime, predicted: float) -> dict[str, Any]:
        trouble, lines = record.trouble_of(self.counts, self.prepared.plan)
        for text in (*lines, *notices):
            self.log.add("warning", text=text)
        return {
            "warnings": [*self.prepared.warnings, *lines, *notices],
            "trouble": trouble,
            "finished": finished.isoformat(),
            "resumed": self.folder.resumed,
            "seconds": self._seconds(predicted),
        }

    def _seconds(self, predicted: float) -> dict[str, float]:
        now = perf_counter()
        return {
            "predict": round(predicted - self.start, 3),
            "outputs": round(now - predicted, 3),
            "total": round(now - self.start, 3),
        }

    def _page(self, manifest: dict[str, Any], picture: ScenePicture) -> Path:
        from geoseg.report.run_page import RunRecord, write_run_page  # noqa: PLC0415 (see `read_picture`)

        page = self.folder.workspace / PAGE
        timeline = self._timeline() if self.profile else None
        write_run_page(page, RunRecord(manifest, self.folder.workspace, picture, timeline=timeline))
        # The page tells what was known before it; the manifest counts it in.
        manifest["outputs"][PAGE] = output_entry(page)
        return page

    def _trace(self, manifest: dict[str, Any]) -> Path:
        trace = self.folder.workspace / PROFILE
        write_trace(trace, self._timeline())
        manifest["outputs"][PROFILE] = output_entry(trace)
        return trace

    def _timeline(self) -> Timeline:
        return timeline_of(read_events(self.log.path))

    def _staged(self) -> Counts:
        return self._staging().finished(self.prepared.plan.blocks)

    def _staging(self) -> Staging:
        return outputs.staging_of(self.prepared.plan, self.folder.staging)

    def _tell(self, pixels: int = 0, fact: Fact | None = None) -> None:
        plan = self.prepared.plan
        self.on_event(Progress("predict", len(self.counts), plan.blocks.count, pixels, plan.name, fact))


@contextlib.contextmanager
def _tracers(folder: RunFolder, client: Client) -> Iterator[Workers]:
    """Yield who traces polygons: the cluster, where it sees the maps; else threads of this process."""
    if folder.staging.local is not None:
        yield workers_of(client)
        return
    threads = os.cpu_count() or 1
    with ThreadPoolExecutor(threads) as pool:
        yield Workers(pool, 2 * threads)


def _beside(task: Callable[[], T]) -> Future[T]:
    """Start a task in a thread that nobody waits for when something else fails, or the user gives up."""
    future: Future[T] = Future()

    def work() -> None:
        try:
            future.set_result(task())
        except BaseException as error:  # noqa: BLE001 (whoever asks for the result gets it)
            future.set_exception(error)

    Thread(target=work, daemon=True).start()
    return future


class _Steps:
    """Writes an event for each output when the next one begins, and passes the news on."""

    def __init__(self, log: EventLog, scene: str, on_event: Callable[[Progress], None]) -> None:
        self.log, self.scene, self.on_event = log, scene, on_event
        self.file, self.began, self.start = "", 0.0, 0.0

    def __call__(self, event: Progress) -> None:
        self.end()
        self.file, self.began, self.start = event.stage, time(), perf_counter()
        self.on_event(event)

    def end(self) -> None:
        """End the step under way."""
        if self.file:
            seconds = round(perf_counter() - self.start, 4)
            self.log.add(
                "output", scene=self.scene, file=self.file, began=round(self.began, 4), seconds=seconds
            )
            self.file = ""
