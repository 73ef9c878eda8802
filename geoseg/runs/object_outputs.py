"""The files of a run that finds objects: numbers, classes, scores, polygons, COCO results."""

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from geoseg.config.run_record import RecordedObjects
from geoseg.core.ordered import Workers
from geoseg.core.run_files import RunFile
from geoseg.inference.plan import Plan
from geoseg.raster.area import pixel_area_m2
from geoseg.raster.cog import MapBand, write_cog
from geoseg.runs.objects import Painted, painted
from geoseg.runs.outputs import provenance_of, staging_of, tags_of, write_numbers, write_vector_styles
from geoseg.runs.progress import Progress
from geoseg.storage.store import FolderStore
from geoseg.styles.raster import write_raster_styles, write_share_style
from geoseg.vector.trace.block import MapFiles

_STEPS = 20
"""Steps of the histogram of scores."""


def write_objects(
    plan: Plan,
    folder: Path,
    workers: Workers,
    on_event: Callable[[Progress], None],
    counts: Iterable[Mapping[str, Any]],
) -> tuple[list[Path], RecordedObjects, dict[int, int]]:
    """Merge the objects of all tiles and make the maps and polygons inside the staging folder.

    Parameters
    ----------
    plan
        The plan; all its blocks are finished.
    folder
        The local folder of the blocks.
    workers
        The executor that traces polygons.
    on_event
        Called when a file is begun.
    counts
        The counts of each block.

    Returns
    -------
    files, objects, pixels
        The paths, the facts for the record, and the pixels by class id.

    Raises
    ------
    OutputError
        When a file cannot be written, or a block is damaged.
    """
    outputs, counts = plan.pipeline.outputs, list(counts)
    on_event(Progress("objects"))
    with painted(plan, staging_of(plan, FolderStore(folder)), [c["nodata"] for c in counts]) as map_:
        on_event(Progress(RunFile.INSTANCES))
        files = write_numbers(plan, folder, map_.numbers)
        files += _write_maps(plan, folder, map_, on_event)
        if outputs.polygons:
            on_event(Progress("polygons"))
            files += _write_polygons(plan, folder, map_, workers)
        if outputs.coco:
            # Imported late for the start of the command, as are all writers.
            from geoseg.vector.objects.coco import write_coco  # noqa: PLC0415

            on_event(Progress(RunFile.COCO))
            files.append(folder / RunFile.COCO)
            write_coco(files[-1], map_.found, plan.scene.shape)
        return files, _record(plan, map_, counts), map_.pixels


def _write_maps(plan: Plan, folder: Path, map_: Painted, on_event: Callable[[Progress], None]) -> list[Path]:
    """Write the class map and the scores, with their styles."""
    legend, tags, shape = plan.bundle.card.legend, tags_of(plan), plan.scene.shape
    classes: Path = folder / RunFile.CLASSES
    on_event(Progress(RunFile.CLASSES))
    write_cog(classes, map_.blocks, map_.cores, shape, [MapBand(1, "class", legend)], "MODE", tags)
    files = [classes, *write_raster_styles(classes, legend)]
    if plan.pipeline.outputs.confidence:
        scores: Path = folder / RunFile.CONFIDENCE
        on_event(Progress(RunFile.CONFIDENCE))
        write_cog(scores, map_.blocks, map_.cores, shape, [MapBand(2, "score")], "AVERAGE", tags)
        files += [scores, *write_share_style(scores)]
    return files


def _write_polygons(plan: Plan, folder: Path, map_: Painted, workers: Workers) -> list[Path]:
    # As in `outputs`: slow to import, and not needed before there is a map.
    from geoseg.vector.vectorize import vectorize  # noqa: PLC0415

    files = MapFiles(
        folder / RunFile.CLASSES, objects=map_.numbers, object_classes=map_.found.numbered.classes
    )
    made = vectorize(
        files, plan.recipe, workers, folder, layer=plan.name, formats=plan.pipeline.outputs.polygons,
        provenance=provenance_of(plan), found=map_.found,
    )  # fmt: skip
    return [*made, *write_vector_styles(plan, folder)]


def _record(plan: Plan, map_: Painted, counts: list[Mapping[str, Any]]) -> RecordedObjects:
    numbered, areas = map_.found.numbered, pixel_area_m2(plan.scene.geobox)
    classes, pixels = numbered.classes[1:], numbered.pixels[1:]
    steps = np.minimum(numbered.scores[1:].astype(np.int64) * _STEPS // 10_000, _STEPS - 1)
    ranks = [0, 0.25, 0.5, 0.75, 1]
    sizes = np.quantile(pixels, ranks, method="lower").astype(int).tolist() if len(pixels) else []
    return RecordedObjects(
        count=len(numbered),
        by_class={c.slug: int((classes == i).sum()) for i, c in plan.bundle.card.legend.by_id().items()},
        detections=sum(c["detections"] for c in counts),
        joined=int((numbered.joined[1:] > 1).sum()),
        hidden=len(map_.found.objects) - len(numbered),
        at_edge=int(numbered.edge[1:].sum()),
        full_tiles=sum(c["full"] for c in counts),
        looked_at=map_.looked_at,
        looked_at_m2=None if areas is None else round(float(areas.mean()) * map_.looked_at, 3),
        scores=np.bincount(steps, minlength=_STEPS).tolist(),
        pixels=sizes,
    )
