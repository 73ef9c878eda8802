"""The run of one scene: which blocks are staged, the work that is left, and publishing the outputs."""

import contextlib
import math
import os
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from threading import Thread
from time import perf_counter
from typing import Any, TypeVar

from distributed import Client

import geoseg
from geoseg.config.run_record import RunRecord
from geoseg.core.errors import OutputError, SceneError
from geoseg.core.notices import collect_warnings
from geoseg.core.ordered import Workers
from geoseg.core.run_files import RunFile
from geoseg.inference import checks
from geoseg.inference.clusters import workers_of
from geoseg.inference.driver import BlockDone, SceneWork
from geoseg.inference.ensembles import members_at_work, seen_by
from geoseg.inference.events import Fact
from geoseg.inference.mask_pass import MaskPass, masked_scene
from geoseg.inference.plan import Plan
from geoseg.inference.predict import Job
from geoseg.models.ensemble import members_of
from geoseg.raster.staging import Staging
from geoseg.report.profile import write_trace
from geoseg.report.scene_picture import ScenePicture
from geoseg.report.timeline import Timeline, timeline_of
from geoseg.runs import outputs
from geoseg.runs.doubt import write_doubt
from geoseg.runs.folder import RunFolder
from geoseg.runs.log import FORM, EventLog, read_events
from geoseg.runs.object_outputs import write_objects
from geoseg.runs.progress import Progress, Work
from geoseg.runs.project import write_run_project
from geoseg.runs.record import (
    Circumstances,
    Totals,
    make_record,
    peak_bytes,
    strangeness_of,
    trouble_of,
    with_output,
)
from geoseg.runs.steps import OutputSteps, step_seconds
from geoseg.scenes.scene import Scene
from geoseg.tiling.heads import ClassHead
from geoseg.tiling.thresholds import NOTHING

T = TypeVar("T")

Counts = dict[tuple[int, int], dict[str, Any]]
"""Counts of each staged block, by row and column of blocks."""

_PATIENCE = 10.0
"""Seconds to wait for the picture after an error."""

CHECKS = 3
"""Times that staged blocks may be verified before damaged ones stop the run."""


@dataclass
class _Pass:
    """The blocks of one network over a scene: of one that masks it, or of that of the map."""

    plan: Plan
    staging: Staging
    stage: str
    """`mask` or `predict`, as progress shows it."""
    counts: Counts = field(default_factory=dict)

    def find(self) -> None:
        """Find the staged blocks."""
        self.counts = self.staging.finished(self.plan.blocks)


@dataclass
class SceneRun:
    """The run of one scene in its folder: the masks first, then the map."""

    plan: Plan
    folder: RunFolder
    log: EventLog
    on_event: Callable[[Progress], None]
    start: float = field(default_factory=perf_counter)
    profile: bool = False
    """Whether the timeline is drawn and written."""
    checked: int = 0
    """How often the staged blocks were verified."""
    at: int = 0
    """Number of the pass whose blocks are predicted."""
    notices: list[str] = field(default_factory=list)
    """Warnings of the check of the masked scene."""
    passes: list[_Pass] = field(init=False)
    """Those of masks, and that of the map as the last one."""

    def __post_init__(self) -> None:
        staging = self.folder.staging
        self.passes = [
            *(_Pass(m.plan, m.staging(staging), "mask") for m in self._distinct_masks),
            _Pass(self.plan, self._staging(), "predict"),
        ]

    @property
    def _distinct_masks(self) -> list[MaskPass]:
        """The masks, one of those that share a plan."""
        return list({m.plan.fingerprint: m for m in self.plan.masks}.values())

    @property
    def counts(self) -> Counts:
        """The staged blocks of the map."""
        return self.passes[-1].counts

    @property
    def masking(self) -> bool:
        """Whether blocks of a mask are predicted, and not yet those of the map."""
        return self.at < len(self.passes) - 1

    def open(self) -> None:
        """Find the staged blocks; log and report them."""
        plan = self.plan
        for one in self.passes:
            one.find()
        self.log.add(
            "run", form=FORM, geoseg=geoseg.__version__, name=plan.name, scene=plan.scene.name,
            fingerprint=plan.fingerprint, resumed=self.folder.resumed, blocks=plan.blocks.count,
            staged=len(self.counts), device=plan.device, batch=plan.batch, passes=plan.passes,
        )  # fmt: skip
        for warning in plan.warnings:
            self.log.add("warning", text=warning)
        self._log_pass()
        self._report_progress()

    def _log_pass(self) -> None:
        """Log that the pass of a mask begins."""
        if self.masking:
            one = self.passes[self.at]
            self.log.add(
                "mask", scene=self.plan.name, model=one.plan.bundle.card.name,
                blocks=one.plan.blocks.count, staged=len(one.counts),
            )  # fmt: skip

    def next_pass(self) -> None:
        """Go on with the next pass; before that of the map look at the masked scene, if it is to be checked.

        Raises
        ------
        SceneError, PlanError
            When the masked scene is unlike the training pixels.
        """
        self.at += 1
        self._log_pass()
        plan = self.plan
        if self.masking or not plan.check_masked:
            return
        with collect_warnings() as notices:
            asked, scene = plan.pipeline.checks, self._masked_scene()
            for member in members_of(plan.bundle):
                seen, card = seen_by(member, scene), member.bundle.card
                checks.check_statistics(seen, card, asked.statistics, plan.retry, asked.strangeness)
        for text in notices:
            self.log.add("warning", text=text)
        self.notices = notices

    def _masked_scene(self) -> Scene:
        return masked_scene(self.plan.scene, self.plan.masks, self.folder.staging)

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
        self.passes[-1].find()
        self.checked += 1
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
        scenes = [self.plan.scene, *(m.mask.scene for m in self.plan.masks)]
        try:
            changed = next((path for s in scenes if (path := s.changed_file()) is not None), None)
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
        """Return the blocks that are left to predict of this pass."""
        one = self.passes[self.at]
        job = self.job_of(one.plan, one.staging)
        loaded = len({spec for p in self.passes for spec in p.plan.segmenters})
        job = replace(
            job,
            scene=job.scene if self.masking else self._masked_scene().with_absolute_paths(),
            segmenter=replace(job.segmenter, others=loaded - 1),
            members=tuple(replace(m, segmenter=replace(m.segmenter, others=loaded - 1)) for m in job.members),
            label=self.plan.name,
        )
        return SceneWork(self.plan.name, job, one.plan.blocks, one.counts.copy())

    @staticmethod
    def job_of(plan: Plan, staging: Staging) -> Job:
        """Return what all tasks of a plan share."""
        return Job(
            scene=plan.scene.with_absolute_paths(),
            segmenter=plan.segmenter,
            legend=plan.bundle.card.legend,
            grid=plan.grid,
            batch=plan.batch,
            probabilities=plan.probabilities,
            thresholds=plan.thresholds,
            detection=plan.detection,
            staging=staging,
            retry=plan.retry,
            label=plan.name,
            other=None if isinstance(plan.head, ClassHead) else plan.head,
            gauge=plan.gauge,
            strangeness=plan.strangeness,
            members=members_at_work(plan),
        )

    def record_fact(self, fact: Fact) -> None:
        """Log and report an event of a block or a worker."""
        self.log.write(fact)
        self._report_progress(fact=fact)

    def record_block(self, event: BlockDone) -> None:
        """Count, log and report a block that is staged."""
        self.passes[self.at].counts[event.block.row, event.block.col] = event.counts
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
        masked = {one.plan.fingerprint: Totals.of(one.counts.values()) for one in self.passes[:-1]}
        if plan.detection is None and not totals.valid:
            raise _without_pixels(plan)
        self._staging().copy_to(workspace, plan.blocks)
        steps = OutputSteps(
            self.log, plan.name, self.on_event, self.step_seconds, plan.pipeline.outputs.polygons
        )
        with (
            _in_background(lambda: outputs.read_picture(plan)) as reading,
            collect_warnings() as notices,
            _tracers(self.folder, client) as workers,
        ):
            if plan.detection is None:
                files, objects = outputs.write_maps(plan, workspace, workers, steps), None
            else:
                files, objects, pixels = write_objects(plan, workspace, workers, steps, self.counts.values())
                totals = replace(totals, classes=pixels, valid=sum(pixels.values()))
                if not objects.looked_at:
                    raise _without_pixels(plan)
            doubt = None
            if plan.pipeline.outputs.doubt:
                outlines, doubt = write_doubt(plan, workspace, workers, steps)
                files.append(outlines)
        if plan.postprocess:
            totals = totals.of_map(workspace / RunFile.CLASSES)
        picture = reading.result()
        if plan.pipeline.outputs.project:
            files += write_run_project(plan, workspace, files, picture)
        steps(Progress(RunFile.QUICKLOOK))
        looked_at = None if objects is None else objects.looked_at
        files.append(outputs.write_picture(plan, workspace, totals, picture, looked_at))
        files += outputs.write_pictures(plan, workspace, steps)
        finished = datetime.now(UTC).replace(microsecond=0)
        files.append(outputs.write_stac(plan, totals, files, finished))
        about = self._circumstances([*notices, *self._strange(totals)], finished, predicted)
        record = make_record(plan, totals, files, about, masked, objects)
        confidence = outputs.confidence_by_class(plan, workspace)
        record = record.model_copy(update={"mean_confidence": confidence, "doubt": doubt})
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

    def _strange(self, totals: Totals) -> list[str]:
        """Return what is to be said of pixels unlike the training pixels, unless the sample told it."""
        plan, found = self.plan, strangeness_of(totals)
        told = any(checks.UNLIKE in text for text in (*plan.warnings, *self.notices))
        asked = plan.pipeline.checks
        if found is None or told or asked.statistics == "off" or found.share < asked.strangeness.warn:
            return []
        return [f"{plan.scene.name}: {checks.unlike_text(found.share)} of {plan.bundle.card.name}"]

    def _circumstances(self, notices: list[str], finished: datetime, predicted: float) -> Circumstances:
        trouble, lines = trouble_of(self.counts, self.plan)
        for one in self.passes[:-1]:
            name = one.plan.bundle.card.name
            lines += [f"mask {name}: {text}" for text in trouble_of(one.counts, one.plan)[1]]
        for text in (*lines, *notices):
            self.log.add("warning", text=text)
        seconds = self._seconds(predicted)
        return Circumstances(
            finished=finished,
            resumed=self.folder.resumed,
            trouble=trouble,
            warnings=[*self.plan.warnings, *self.notices, *lines, *notices],
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

    def _staging(self) -> Staging:
        return outputs.staging_of(self.plan, self.folder.staging)

    @cached_property
    def step_seconds(self) -> dict[str, float]:
        """Seconds that each step of the outputs takes, about."""
        names, pixels = (
            outputs.output_names(self.plan, profile=self.profile),
            math.prod(self.plan.scene.shape),
        )
        return step_seconds(names, pixels, len(self.plan.bundle.card.classes))

    def _report_progress(self, pixels: int = 0, fact: Fact | None = None) -> None:
        one = self.passes[self.at]
        done = sum(len(p.counts) for p in self.passes[: self.at + 1])
        total = sum(p.plan.blocks.count for p in self.passes)
        work = Work(total=sum(self.step_seconds.values()))
        self.on_event(Progress(one.stage, done, total, pixels, self.plan.name, fact, work=work))


def _without_pixels(plan: Plan) -> SceneError:
    if plan.thresholds is not None and plan.thresholds.otherwise == NOTHING:
        return SceneError(
            f"{plan.scene.name}: no pixel reaches a threshold; lower inference.thresholds, or set "
            "inference.otherwise"
        )
    where = "" if plan.aoi is None else " of the area of interest"
    return SceneError(
        f"{plan.scene.name}: every pixel{where} is nodata, NaN or masked; check nodata and mask of the scene"
    )


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
