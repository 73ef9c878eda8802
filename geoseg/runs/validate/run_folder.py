"""Run all checks of a run folder."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

from geoseg.core.files import streams_in
from geoseg.core.run_files import RunFile
from geoseg.runs.record import no_finished_run
from geoseg.runs.validate.batch_folder import common_checks, finished_scenes, is_batch
from geoseg.runs.validate.doubt import check_doubt
from geoseg.runs.validate.findings import CheckGroup, Failure, Report
from geoseg.runs.validate.finished_folder import FinishedFolder, read_finished
from geoseg.runs.validate.integrity import check_files, check_record
from geoseg.runs.validate.item import check_item
from geoseg.runs.validate.objects import check_objects
from geoseg.runs.validate.pictures import check_pictures, pictures_of
from geoseg.runs.validate.polygons import check_polygons
from geoseg.runs.validate.rasters import check_rasters
from geoseg.runs.validate.styles import check_styles
from geoseg.storage.store import Store, open_store
from geoseg.storage.workspace import local_copy

_MOST = 20
"""Most failures reported for each group, because a wrong map fails in many ways."""


def check_folder(place: Path | str) -> Report:
    """Check a run folder, or the folder of many, see `geoseg.runs.validate.validate`."""
    store = open_store(place)
    if is_batch(store):
        return Report(store.at(), tuple(_of_batch(store)))
    with local_copy(store) as folder:
        if not (folder / RunFile.RECORD).exists():
            raise no_finished_run(store)
        return Report(store.at(), tuple(_groups(folder)))


_STYLES = {RunFile.CLASSES: "colour table, attribute table, names, QML and SLD against the legend"}


def _checked(run: FinishedFolder) -> str:
    found = {RunFile.VALUES: "range, statistics", RunFile.LABELS: "labels, areas"}
    return found.get(run.map_name, "classes, areas")


def _of_batch(store: Store) -> Iterator[CheckGroup]:
    """Yield a group for each scene of a batch, and those of what they have in common."""
    scenes = finished_scenes(store)
    for scene in scenes:
        report = check_folder(store.at(scene.name))
        looked_at = f"{scene.name}: {', '.join(g.name for g in report.groups)}"
        found = (replace(f, file=f"{scene.name}/{f.file}") for f in report.failures)
        yield CheckGroup("scene", looked_at, tuple(found)[:_MOST])
    yield from common_checks(store, scenes)


def _groups(folder: Path) -> Iterator[CheckGroup]:
    if streams := list(streams_in(folder)):
        found = tuple(Failure(p.name, "file", "a regular file", "a pipe or a device") for p in streams)
        yield CheckGroup("files", "files that can be read to their end", found)
        return
    run = read_finished(folder)
    if isinstance(run, Failure):
        yield CheckGroup("record", RunFile.RECORD, (run,))
        return
    checks: list[tuple[str, str, Callable[[FinishedFolder], Iterator[Failure]]]] = [
        ("record", "run.json: complete, its fingerprint that of its identity", check_record),
        ("files", f"{len(run.outputs)} outputs: sizes, checksums, nothing unfinished", check_files),
        ("rasters", f"{', '.join(run.rasters)}: COG, grid, nodata, {_checked(run)}", check_rasters),
        ("styles", _STYLES.get(run.map_name, "QML of every raster"), check_styles),
    ]
    if run.record.objects is not None:
        looked_at = f"{run.record.objects.count} objects: numbers dense and in reading order, classes, counts"
        checks.append(("objects", looked_at, check_objects))
    if pictures := pictures_of(run):
        looked_at = f"{', '.join(pictures)}: size, colours of the legend, pixels of the map"
        checks.append(("pictures", looked_at, check_pictures))
    if files := run.polygon_files:
        form = "near the map" if run.generalised else "equal to the map"
        form = "one of each mask" if run.recipe.rules.whole_masks else f"a coverage {form}"
        looked_at = f"{', '.join(files)}: valid, attributes, {form}"
        checks.append(("polygons", looked_at, check_polygons))
    if RunFile.DOUBT in run.outputs:
        looked_at = f"{RunFile.DOUBT}: valid, reasons, where the rasters say so"
        checks.append(("doubt", looked_at, check_doubt))
    checks.append(("item", "item.json: STAC 1.1 schema, assets, checksums, grid, classes", check_item))
    for name, looked_at, check in checks:
        found = tuple(check(run))
        yield CheckGroup(name, looked_at, found[:_MOST], len(found[_MOST:]))
