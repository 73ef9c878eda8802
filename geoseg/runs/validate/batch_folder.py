"""Checks of the folder of many scenes: what their run folders have in common."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from geoseg.core.errors import OutputError, one_line
from geoseg.core.files import as_output_error
from geoseg.core.parsing import parse_json
from geoseg.core.run_files import RunFile
from geoseg.runs.batch import SUMMARY
from geoseg.runs.collection import MASKS, OVERLAYS, RESULTS, table, table_rows
from geoseg.runs.record import read_record
from geoseg.runs.validate.findings import CheckGroup, Failure
from geoseg.storage.store import Store


@dataclass(frozen=True)
class FinishedScene:
    """A scene of a batch with a finished run folder."""

    name: str
    picture: str
    """Name of its file; empty when no pictures were asked for."""


def is_batch(store: Store) -> bool:
    """Return whether a folder holds the run folders of many scenes."""
    with as_output_error(store.at(), "read"):
        names = store.names()
    return SUMMARY in names and RunFile.RECORD not in names


def finished_scenes(store: Store) -> list[FinishedScene]:
    """Return the finished scenes of a batch.

    Raises
    ------
    OutputError
        When the summary is damaged.
    """
    with as_output_error(store.at(SUMMARY), "read"):
        data = store.read(SUMMARY) or b""
    try:
        return [
            FinishedScene(str(o["name"]), str(o.get("picture", "")))
            for o in parse_json(data)
            if o["state"] in {"done", "finished before"}
        ]
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise OutputError(f"{store.at(SUMMARY)}: is damaged: {one_line(error)}") from error


def common_checks(store: Store, scenes: Sequence[FinishedScene]) -> Iterator[CheckGroup]:
    """Yield the checks of the masks, the overlays and the table of a batch."""
    names, shown = set(store.names()), [s for s in scenes if s.picture]
    for folder, files in ((MASKS, (RunFile.MASK,)), (OVERLAYS, (RunFile.OVERLAY_PNG, RunFile.OVERLAY_JPG))):
        if folder in names:
            found = tuple(_copies(store, folder, files, shown))
            yield CheckGroup(folder, f"{folder}/: that of each run by the name of its picture", found)
    if RESULTS in names:
        yield CheckGroup("table", f"{RESULTS}: pixels, shares and confidence as in {RunFile.RECORD}",
                         tuple(_table(store, shown)))  # fmt: skip


def _copies(
    store: Store, folder: str, files: Sequence[RunFile], scenes: Sequence[FinishedScene]
) -> Iterator[Failure]:
    for scene in scenes:
        run = store.child(scene.name)
        with as_output_error(run.at(), "read"):
            expected = next((f for f in files if f in run.names()), None)
            if expected is None:
                continue
            name = Path(scene.picture).stem + Path(expected).suffix
            copy, own = store.child(folder).read(name), run.read(expected)
        if copy != own:
            what = "missing" if copy is None else "another picture"
            yield Failure(f"{folder}/{name}", "bytes", f"those of {scene.name}/{expected}", what)


def _table(store: Store, scenes: Sequence[FinishedScene]) -> Iterator[Failure]:
    rows = [row for s in scenes for row in table_rows(s.picture, read_record(store.child(s.name)))]
    with as_output_error(store.at(RESULTS), "read"):
        found = (store.read(RESULTS) or b"").decode(errors="replace").splitlines()
    # The scenes of the summary are in the order in which they ended, those of the table as they were listed.
    expected = table(rows).splitlines()
    missing, strange = (
        [r for r in one if r not in other] for one, other in ((expected, found), (found, expected))
    )
    if missing or strange or len(found) != len(expected):
        first = next(iter(strange), "nothing")
        yield Failure(RESULTS, "rows", next(iter(missing), f"{len(expected)} lines"), first[:100])
