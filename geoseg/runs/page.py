"""The page of a finished run: made again from the run folder alone, or found for a browser."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from geoseg.core.errors import ELSEWHERE, OutputError, SceneError, one_line
from geoseg.core.files import as_output_error
from geoseg.core.run_files import RunFile
from geoseg.report.profile import write_trace
from geoseg.report.run_page import RunPage, write_run_page
from geoseg.report.scene_picture import ScenePicture, scene_picture
from geoseg.report.timeline import Timeline, timeline_of
from geoseg.runs.log import parse_events
from geoseg.runs.record import read_record, with_output, write_record
from geoseg.scenes.opening import reopen_scene
from geoseg.storage.store import Store, open_store
from geoseg.storage.workspace import local_copy


def remake_page(place: Path | str, *, profile: bool = False) -> str:
    """Make the page of a finished run again; return its path or URI.

    The page shows the scene when its files are still where the run read them.

    Parameters
    ----------
    place
        The run folder, or its URI.
    profile
        Show the timeline and write `profile.json`, even if the run did not.

    Raises
    ------
    OutputError
        When the folder holds no finished run, its maps cannot be read, or a timeline is requested and the
        event log is missing.
    """
    store = open_store(place)
    record = read_record(store)
    with _in_its_place(), store.lock(), local_copy(store) as folder:
        picture, note = _scene(record.identity["scene"])
        path = folder / RunFile.PAGE
        # A page with a timeline keeps it.
        timeline = _timeline(store) if profile or RunFile.PROFILE in record.outputs else None
        write_run_page(path, RunPage(record, folder, picture, note, timeline))
        record = with_output(record, path)
        store.adopt(path)
        if timeline is not None:
            trace = folder / RunFile.PROFILE
            write_trace(trace, timeline)
            record = with_output(record, trace)
            store.adopt(trace)
        write_record(store, record)
    return store.at(RunFile.PAGE)


@contextmanager
def _in_its_place() -> Iterator[None]:
    """Take the advice to write elsewhere out of errors: a page belongs into the folder of its run."""
    try:
        yield
    except OutputError as error:
        text = str(error).replace(f", or {ELSEWHERE}", "").replace(ELSEWHERE, "make the folder writable")
        raise OutputError(text) from error


def find_page(place: Path | str) -> Path:
    """Return the page of a run.

    Raises
    ------
    OutputError
        When there is no page, or it lies in an object store.
    """
    store = open_store(place)
    if store.local is None:
        raise OutputError(
            f"{store.at(RunFile.PAGE)}: lies in an object store; copy it to this machine and open it here"
        )
    path = store.local / RunFile.PAGE
    if not path.is_file():
        read_record(store)
        raise OutputError.absent(f"{place}: has no {RunFile.PAGE}; make it with: geoseg report {place}")
    return path.resolve()


def _timeline(store: Store) -> Timeline:
    place = store.at(RunFile.EVENTS)
    with as_output_error(place, "read"):
        data = store.read(RunFile.EVENTS)
    if data is None:
        raise OutputError.absent(
            f"{place}: is missing, and a timeline is made of it; run it again with --profile"
        )
    try:
        return timeline_of(parse_events(data))
    except (LookupError, TypeError, ValueError) as error:
        raise OutputError(
            f"{place}: is not as `geoseg run` writes it ({one_line(error)}); run it again with --profile"
        ) from error


def _scene(identity: dict[str, Any]) -> tuple[ScenePicture | None, str]:
    """Return the picture of the scene, None when it cannot be read, and a note for the page."""
    try:
        scene, changed = reopen_scene(identity)
        picture = scene_picture(scene)
    except SceneError as error:
        return None, f"The scene could not be read any more, so the map shows the classes alone ({error})."
    return picture, "The files of the scene have been written to since the run." if changed else ""
