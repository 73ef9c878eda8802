"""All checks of a run folder."""

from collections.abc import Callable, Iterator
from pathlib import Path

from geoseg.core.errors import OutputError
from geoseg.validation.findings import Failure, Group, Report
from geoseg.validation.item import check_item
from geoseg.validation.polygons import check_polygons
from geoseg.validation.rasters import check_rasters
from geoseg.validation.record import Record, check_files, check_record, read_record
from geoseg.validation.styles import check_styles

_MOST = 20
"""Failures kept of each group: a map that is wrong is wrong in many ways."""


def validate(folder: Path) -> Report:
    """Check a run folder from its files alone; nothing is written.

    Parameters
    ----------
    folder
        A finished run.

    Returns
    -------
    Report
        What was checked, and everything that is not as it should be.

    Raises
    ------
    OutputError
        When there is no such folder.
    """
    if not folder.is_dir():
        raise OutputError(f"{folder}: no such folder; give the folder of a finished run")
    record = read_record(folder)
    if isinstance(record, Failure):
        return Report(folder, (Group("record", "run.json", (record,)),))
    checks: list[tuple[str, str, Callable[[Record], Iterator[Failure]]]] = [
        ("record", "run.json: complete, its fingerprint that of its identity", check_record),
        ("files", f"{len(record.outputs)} outputs: sizes, checksums, nothing unfinished", check_files),
        ("rasters", f"{', '.join(record.rasters)}: COG, grid, nodata, classes, areas", check_rasters),
        ("styles", "colour table, attribute table, names, QML and SLD against the legend", check_styles),
    ]
    if files := record.polygon_files:
        equal = "near" if record.generalised else "equal to"
        looked_at = f"{', '.join(files)}: valid, attributes, a coverage {equal} the map"
        checks.append(("polygons", looked_at, check_polygons))
    checks.append(("item", "item.json: STAC 1.1 schema, assets, checksums, grid, classes", check_item))
    groups = []
    for name, looked_at, check in checks:
        found = tuple(check(record))
        groups.append(Group(name, looked_at, found[:_MOST]))
    return Report(folder, tuple(groups))
