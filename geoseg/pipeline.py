"""The composition root: from a pipeline document to a finished run folder."""

import contextlib
import os
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any

from geoseg.core.errors import GeosegWarning, SceneError
from geoseg.core.files import output_entry
from geoseg.prepared import Prepared, prepare

if TYPE_CHECKING:
    from distributed import Client

    from geoseg.inference.manifest import RunFolder
    from geoseg.outputs import Progress
    from geoseg.storage.store import Store
    from geoseg.vector.schedule import Workers

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
    on_event: Callable[["Progress"], None] = lambda _: None,
) -> Result:
    """Run a prepared pipeline: predict, stitch, vectorise, publish.

    A run that was interrupted at any moment is resumed from its finished blocks and ends with the same bytes.

    Parameters
    ----------
    prepared
        The checked pipeline.
    overwrite
        Replace a finished run, or the unfinished run of another plan.
    on_event
        Called with what the run is doing.

    Raises
    ------
    GeosegError
        When the run failed; finished blocks are kept.
    """
    from geoseg import outputs, record  # noqa: PLC0415
    from geoseg.inference.clusters import connect  # noqa: PLC0415
    from geoseg.inference.clusters.check import check_workers, needs_of  # noqa: PLC0415
    from geoseg.inference.manifest import open_run_folder  # noqa: PLC0415
    from geoseg.report.run_page import PAGE, RunRecord, write_run_page  # noqa: PLC0415
    from geoseg.report.scene_picture import scene_picture  # noqa: PLC0415

    plan, start = prepared.plan, perf_counter()

    def tell(line: str) -> None:
        on_event(outputs.Progress(line))

    names = outputs.output_names(prepared.pipeline)
    with (
        open_run_folder(prepared.folder, plan.identity(), names, overwrite=overwrite) as folder,
        connect(prepared.cluster, tell) as client,
        check_workers(client, needs_of(plan, folder.staging), prepared.unchecked_memory, tell),
    ):
        counts = _predict(prepared, folder.staging, client, on_event)
        outputs.staging_of(plan, folder.staging).beside(folder.workspace, plan.blocks)
        predicted = perf_counter()
        totals = record.add_up(counts.values())
        if not totals["classes"]:
            raise SceneError(
                f"{plan.scene.name}: every pixel is nodata, NaN or masked; check nodata and mask of the scene"
            )
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("ignore")
            warnings.simplefilter("always", GeosegWarning)
            with _tracers(folder, client) as workers:
                files = outputs.write_maps(prepared, folder.workspace, workers, on_event)
        picture = scene_picture(plan.scene)
        on_event(outputs.Progress("quicklook.png"))
        files.append(outputs.write_picture(prepared, folder.workspace, totals, picture))
        finished = datetime.now(UTC).replace(microsecond=0)
        files.append(outputs.write_stac(prepared, totals, files, finished))
        facts = {
            "warnings": [*prepared.warnings, *(str(w.message) for w in caught)],
            "finished": finished.isoformat(),
            "resumed": folder.resumed,
            "seconds": {
                "predict": round(predicted - start, 3),
                "outputs": round(perf_counter() - predicted, 3),
                "total": round(perf_counter() - start, 3),
            },
        }
        manifest = record.manifest_of(prepared, totals, files, facts)
        on_event(outputs.Progress(PAGE))
        page = folder.workspace / PAGE
        write_run_page(page, RunRecord(manifest, folder.workspace, picture))
        files.append(page)
        # The page tells what was known before it; the manifest counts it in.
        manifest["outputs"][PAGE] = output_entry(page)
        manifest["seconds"]["outputs"] = round(perf_counter() - predicted, 3)
        manifest["seconds"]["total"] = round(perf_counter() - start, 3)
        manifest["memory_bytes"]["peak_of_this_process"] = record.peak_bytes()
        folder.publish(files, manifest)
    return Result(prepared.folder, manifest)


@contextlib.contextmanager
def _tracers(folder: "RunFolder", client: "Client") -> Iterator["Workers"]:
    """Yield who traces polygons: the cluster, where it sees the maps; else threads of this process."""
    from geoseg.inference.clusters import workers_of  # noqa: PLC0415
    from geoseg.vector.schedule import Workers  # noqa: PLC0415

    if folder.staging.local is not None:
        yield workers_of(client)
        return
    threads = os.cpu_count() or 1
    with ThreadPoolExecutor(threads) as pool:
        yield Workers(pool, 2 * threads)


def _predict(
    prepared: Prepared, store: "Store", client: "Client", on_event: Callable[["Progress"], None]
) -> dict[tuple[int, int], dict[str, Any]]:
    """Bring all blocks into staging; return the counts of each."""
    from geoseg.inference.driver import BlockDone, run_blocks  # noqa: PLC0415
    from geoseg.inference.predict import Job  # noqa: PLC0415
    from geoseg.models.segmenter import SegmenterSpec  # noqa: PLC0415
    from geoseg.outputs import Progress, staging_of  # noqa: PLC0415

    plan = prepared.plan
    blocks = plan.blocks
    staging = staging_of(plan, store)
    counts = staging.finished(blocks)
    on_event(Progress("predict", len(counts), blocks.count))
    if len(counts) == blocks.count:
        return counts
    spec = SegmenterSpec(
        folder=plan.bundle.place,
        sha256=plan.bundle.sha256,
        device=plan.device,
        backend=plan.backend,
        precision=plan.precision,
        augment=plan.augment,
        passes=plan.passes,
    )
    job = Job(
        plan.scene.anywhere(),
        spec,
        plan.bundle.card.legend,
        plan.grid,
        plan.batch,
        plan.probabilities,
        staging,
    )

    def on_block(event: BlockDone) -> None:
        counts[event.block.row, event.block.col] = event.counts
        height, width = event.block.core.shape
        on_event(Progress("predict", event.done, event.total, height * width))

    run_blocks(client, job, blocks, counts.copy(), on_block)
    return counts
