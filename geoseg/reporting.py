"""The page of a finished run: made again from the run folder alone, or found to be opened."""

import json
from pathlib import Path
from typing import Any

from geoseg.core.errors import OutputError, SceneError
from geoseg.core.files import output_entry, read_object, write_atomic
from geoseg.core.folder import lock
from geoseg.inference.manifest import MANIFEST
from geoseg.raster.opening import reopen_scene
from geoseg.report.run_page import PAGE, RunRecord, write_run_page
from geoseg.report.scene_picture import ScenePicture, scene_picture

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


def report(folder: Path) -> Path:
    """Make the page of a finished run again; return its path.

    The scene is shown when its files are still where the run found them.

    Raises
    ------
    OutputError
        When the folder holds no finished run, or its maps cannot be read.
    """
    manifest = _manifest(folder)
    with lock(folder):
        picture, note = _scene(manifest["identity"]["scene"])
        path = folder / PAGE
        write_run_page(path, RunRecord(manifest, folder, picture, note))
        manifest["outputs"][PAGE] = output_entry(path)
        write_atomic(folder / MANIFEST, (json.dumps(manifest, indent=2, ensure_ascii=False) + "\n").encode())
    return path


def page_of(folder: Path) -> Path:
    """Return the page of a run.

    Raises
    ------
    OutputError
        When there is none.
    """
    path = folder / PAGE
    if not path.is_file():
        _manifest(folder)
        raise OutputError(f"{folder}: has no {PAGE}; make it with: geoseg report {folder}")
    return path.resolve()


def _manifest(folder: Path) -> dict[str, Any]:
    path = folder / MANIFEST
    if not path.is_file():
        raise OutputError(
            f"{folder}: holds no finished run ({MANIFEST} is missing); name the folder that `geoseg run` "
            "wrote, or finish it with the same command"
        )
    manifest = read_object(path, OutputError, "as `geoseg run` writes it")
    missing = sorted(_NEEDED - manifest.keys())
    if missing:
        raise OutputError(
            f"{path}: says nothing of {', '.join(missing)}; was it written by another version? Run it again"
        )
    return manifest


def _scene(identity: dict[str, Any]) -> tuple[ScenePicture | None, str]:
    """Return the picture of the scene, if it is still there, and what is to be said of it."""
    try:
        scene, changed = reopen_scene(identity)
        picture = scene_picture(scene)
    except SceneError as error:
        return None, f"The scene could not be read any more, so the map shows the classes alone ({error})."
    return picture, "The files of the scene have been written to since the run." if changed else ""
