"""The page of a finished run: made again from the run folder alone, or found to be opened."""

import json
from pathlib import Path
from typing import Any

from geoseg.core.errors import OutputError, SceneError, one_line
from geoseg.core.files import as_object, as_output_error, output_entry
from geoseg.report import PAGE
from geoseg.report.profile import PROFILE, write_trace
from geoseg.report.run_page import RunRecord, write_run_page
from geoseg.report.scene_picture import ScenePicture, scene_picture
from geoseg.report.timeline import Timeline, timeline_of
from geoseg.runs.folder import MANIFEST
from geoseg.runs.log import EVENTS, parse_events
from geoseg.scenes.opening import reopen_scene
from geoseg.storage.cache import local_copy
from geoseg.storage.store import Store, open_store

_NEEDED = {
    "classes",
    "plan",
    "pipeline",
    "identity",
    "pixels",
    "area_m2",
    "seconds",
    "memory_bytes",
    "outputs",
}


def report(place: Path | str, *, profile: bool = False) -> str:
    """Make the page of a finished run again; return its place.

    The scene is shown when its files are still where the run found them.

    Parameters
    ----------
    place
        The run folder.
    profile
        Show the timeline and write `profile.json`, also where the run did not.

    Raises
    ------
    OutputError
        When the folder holds no finished run, its maps cannot be read, or a timeline is asked for and its
        events are gone.
    """
    store = open_store(place)
    manifest = _manifest(store)
    with store.lock(), local_copy(store) as folder:
        picture, note = _scene(manifest["identity"]["scene"])
        path = folder / PAGE
        # A page that had a timeline keeps it.
        timeline = _timeline(store) if profile or PROFILE in manifest["outputs"] else None
        write_run_page(path, RunRecord(manifest, folder, picture, note, timeline))
        manifest["outputs"][PAGE] = output_entry(path)
        store.adopt(path)
        if timeline is not None:
            trace = folder / PROFILE
            write_trace(trace, timeline)
            manifest["outputs"][PROFILE] = output_entry(trace)
            store.adopt(trace)
        store.write(MANIFEST, (json.dumps(manifest, indent=2, ensure_ascii=False) + "\n").encode())
    return store.at(PAGE)


def page_of(place: Path | str) -> Path:
    """Return the page of a run.

    Raises
    ------
    OutputError
        When there is none, or it is not on this machine.
    """
    store = open_store(place)
    if store.local is None:
        raise OutputError(
            f"{store.at(PAGE)}: lies in an object store; copy it to this machine and open it here"
        )
    path = store.local / PAGE
    if not path.is_file():
        _manifest(store)
        raise OutputError(f"{place}: has no {PAGE}; make it with: geoseg report {place}")
    return path.resolve()


def _manifest(store: Store) -> dict[str, Any]:
    with as_output_error(store.at(MANIFEST), "read"):
        data = store.read(MANIFEST)
    if data is None:
        raise OutputError(
            f"{store.at()}: holds no finished run ({MANIFEST} is missing); name the folder that `geoseg run` "
            "wrote, or finish it with the same command"
        )
    manifest = as_object(data, store.at(MANIFEST), OutputError, "as `geoseg run` writes it")
    missing = sorted(_NEEDED - manifest.keys())
    if missing:
        raise OutputError(
            f"{store.at(MANIFEST)}: says nothing of {', '.join(missing)}; was it written by another version? "
            "Run it again"
        )
    return manifest


def _timeline(store: Store) -> Timeline:
    place = store.at(EVENTS)
    with as_output_error(place, "read"):
        data = store.read(EVENTS)
    if data is None:
        raise OutputError(f"{place}: is missing, and a timeline is made of it; run it again with --profile")
    try:
        return timeline_of(parse_events(data))
    except (LookupError, TypeError, ValueError) as error:
        raise OutputError(
            f"{place}: is not as `geoseg run` writes it ({one_line(error)}); run it again with --profile"
        ) from error


def _scene(identity: dict[str, Any]) -> tuple[ScenePicture | None, str]:
    """Return the picture of the scene, if it is still there, and what is to be said of it."""
    try:
        scene, changed = reopen_scene(identity)
        picture = scene_picture(scene)
    except SceneError as error:
        return None, f"The scene could not be read any more, so the map shows the classes alone ({error})."
    return picture, "The files of the scene have been written to since the run." if changed else ""
