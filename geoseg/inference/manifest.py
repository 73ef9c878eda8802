"""The run folder: who may write into it, how a run resumes, and how results appear."""

import contextlib
import json
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from geoseg.core.errors import OutputError
from geoseg.core.files import saying_why, write_atomic
from geoseg.core.folder import difference, lock, read_json

MANIFEST = "run.json"
STAGING = "staging"
_PLAN = "plan.json"


@dataclass(frozen=True)
class RunFolder:
    """The folder of one run, locked by this process."""

    folder: Path
    resumed: bool
    """Whether an unfinished run of the same plan was found."""

    @property
    def staging(self) -> Path:
        """Where blocks and unfinished outputs lie."""
        return self.folder / STAGING

    def publish(self, files: list[Path], manifest: dict[str, Any]) -> None:
        """Move finished outputs from staging into the folder; the manifest comes last.

        While the manifest is missing the run counts as unfinished: whenever this is interrupted, the next
        run makes the outputs again from the staged blocks.
        """
        path = self.folder / MANIFEST
        surplus = set(_outputs(path)) - {f.name for f in files}
        path.unlink(missing_ok=True)
        for old in surplus:
            (self.folder / old).unlink(missing_ok=True)
        for file in files:
            with saying_why(self.folder / file.name):
                file.replace(self.folder / file.name)
        write_atomic(path, (json.dumps(manifest, indent=2, ensure_ascii=False) + "\n").encode())
        shutil.rmtree(self.staging, ignore_errors=True)


@contextlib.contextmanager
def open_run_folder(
    folder: Path, identity: dict[str, Any], outputs: list[str], *, overwrite: bool
) -> Iterator[RunFolder]:
    """Lock a run folder and decide whether the run is new, resumed or refused.

    Parameters
    ----------
    folder
        The folder; made when it does not exist.
    identity
        All that decides the bytes of the map.
    outputs
        Names of the files that the run will write.
    overwrite
        Replace a finished run, the unfinished run of another plan, or files of the same names.

    Raises
    ------
    OutputError
        When the folder cannot be written, is in use, or holds something that must not be overwritten.
    """
    with saying_why(folder):
        folder.mkdir(parents=True, exist_ok=True)
    with lock(folder):
        resumed = _decide(folder, identity, outputs, overwrite=overwrite)
        with saying_why(folder / STAGING):
            (folder / STAGING).mkdir(exist_ok=True)
        if not resumed:
            write_atomic(folder / STAGING / _PLAN, json.dumps(identity).encode())
        yield RunFolder(folder, resumed)


def _decide(folder: Path, identity: dict[str, Any], outputs: list[str], *, overwrite: bool) -> bool:
    staged, finished = read_json(folder / STAGING / _PLAN), read_json(folder / MANIFEST)
    if staged == identity and (overwrite or finished is None or finished.get("identity") != identity):
        return True
    strangers = [name for name in (*outputs, MANIFEST) if (folder / name).exists()]
    if staged is None and any(not p.name.startswith(".") for p in (folder / STAGING).glob("*")):
        # Never deleted, whatever is asked for: it may be anybody's.
        raise OutputError(
            f"{folder / STAGING}: is not the staging of a geoseg run; move it away, or choose another folder "
            "with --output"
        )
    if staged is not None and staged != identity and finished is None and not overwrite:
        raise OutputError(
            f"{folder}: holds an unfinished run of another plan ({difference(staged, identity)}); finish "
            "that one, choose another folder with --output, or discard it with --overwrite"
        )
    if finished is not None and not overwrite:
        raise OutputError(
            f"{folder}: holds a finished run ({finished.get('name')}, {finished.get('finished')}); choose "
            "another folder with --output, or replace it with --overwrite"
        )
    if finished is None and staged is None and strangers and not overwrite:
        raise OutputError(
            f"{folder}: has a {strangers[0]} that is not of a geoseg run; choose another folder with "
            "--output, or replace it with --overwrite"
        )
    shutil.rmtree(folder / STAGING, ignore_errors=True)
    return False


def _outputs(manifest: Path) -> list[str]:
    """Return the names of the files that a finished run wrote."""
    return [Path(o).name for o in (read_json(manifest) or {}).get("outputs", {})]
