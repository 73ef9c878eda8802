"""The composition root: from a pipeline document to a finished run folder."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any

from geoseg.runs.prepare import Prepared, prepare

if TYPE_CHECKING:
    from geoseg.inference.interruption import Interruption
    from geoseg.runs.outputs import Progress

__all__ = ["Prepared", "Result", "prepare", "run"]


@dataclass(frozen=True)
class Result:
    """A finished run."""

    folder: Path | str
    """A folder, or a URI."""
    manifest: dict[str, Any]


def run(
    prepared: Prepared,
    *,
    overwrite: bool = False,
    profile: bool = False,
    on_event: Callable[["Progress"], None] = lambda _: None,
    interruption: "Interruption | None" = None,
) -> Result:
    """Run a prepared pipeline: predict, stitch, vectorise, publish.

    A run that was interrupted at any moment is resumed from its finished blocks and ends with the same bytes.

    Parameters
    ----------
    prepared
        The checked pipeline.
    overwrite
        Replace a finished run, or the unfinished run of another plan.
    profile
        Write a timeline, too: `profile.json`, and a picture in the report.
    on_event
        Called with what the run is doing.
    interruption
        Asks to end as soon as the blocks in hand are staged.

    Raises
    ------
    GeosegError
        When the run failed; finished blocks are kept.
    """
    from geoseg.inference.clusters import connect  # noqa: PLC0415
    from geoseg.inference.clusters.check import check_workers, needs_of  # noqa: PLC0415
    from geoseg.inference.driver import run_blocks  # noqa: PLC0415
    from geoseg.inference.workers import dashboard  # noqa: PLC0415
    from geoseg.models.backends.segmenter import unload  # noqa: PLC0415
    from geoseg.runs import outputs  # noqa: PLC0415
    from geoseg.runs.folder import open_run_folder  # noqa: PLC0415
    from geoseg.runs.log import event_log  # noqa: PLC0415
    from geoseg.runs.scene import SceneRun  # noqa: PLC0415

    start = perf_counter()
    plan, names = prepared.plan, outputs.output_names(prepared.pipeline, profile=profile)

    def tell(line: str) -> None:
        on_event(outputs.Progress(line))

    with (
        open_run_folder(prepared.folder, plan.identity(), names, overwrite=overwrite) as folder,
        event_log(folder) as log,
        connect(prepared.cluster, tell) as client,
        check_workers(client, needs_of(plan, folder.staging), prepared.unchecked_memory, tell),
    ):
        scene = SceneRun(prepared, folder, log, on_event, start, profile)
        scene.open()
        scene.note_fact(dashboard(client))
        while not scene.complete():
            work = scene.work()
            run_blocks(
                client, work.job, work.blocks, work.finished, scene.note_block, scene.note_fact, interruption
            )
        unload()  # maps are made without the network, whose memory they can use
        manifest = scene.publish(client)
    return Result(prepared.folder, manifest)
