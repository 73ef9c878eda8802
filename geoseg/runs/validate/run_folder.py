"""Run all checks of a run folder."""

from collections.abc import Callable, Iterator
from pathlib import Path

from geoseg.core.files import streams_in
from geoseg.core.run_files import RunFile
from geoseg.runs.record import no_finished_run
from geoseg.runs.validate.findings import CheckGroup, Failure, Report
from geoseg.runs.validate.finished_folder import FinishedFolder, read_finished
from geoseg.runs.validate.integrity import check_files, check_record
from geoseg.runs.validate.item import check_item
from geoseg.runs.validate.objects import check_objects
from geoseg.runs.validate.polygons import check_polygons
from geoseg.runs.validate.rasters import check_rasters
from geoseg.runs.validate.styles import check_styles
from geoseg.storage.store import open_store
from geoseg.storage.workspace import local_copy

_MOST = 20
"""Most failures reported for each group, because a wrong map fails in many ways."""


def check_folder(place: Path | str) -> Report:
    """Check a run folder, see `geoseg.runs.validate.validate`."""
    store = open_store(place)
    with local_copy(store) as folder:
        if not (folder / RunFile.RECORD).exists():
            raise no_finished_run(store)
        return Report(store.at(), tuple(_groups(folder)))


_STYLES = {RunFile.CLASSES: "colour table, attribute table, names, QML and SLD against the legend"}


def _checked(run: FinishedFolder) -> str:
    found = {RunFile.VALUES: "range, statistics", RunFile.LABELS: "labels, areas"}
    return found.get(run.map_name, "classes, areas")


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
    if files := run.polygon_files:
        form = "near the map" if run.generalised else "equal to the map"
        form = "one of each mask" if run.recipe.rules.whole_masks else f"a coverage {form}"
        looked_at = f"{', '.join(files)}: valid, attributes, {form}"
        checks.append(("polygons", looked_at, check_polygons))
    checks.append(("item", "item.json: STAC 1.1 schema, assets, checksums, grid, classes", check_item))
    for name, looked_at, check in checks:
        found = tuple(check(run))
        yield CheckGroup(name, looked_at, found[:_MOST], len(found[_MOST:]))
