"""The run folder: its lock, how a run resumes, and how outputs are published.

It is a local folder, or a prefix in an object store. Outputs are made in a local workspace: the staging
folder itself, or a temporary folder from which they are uploaded.
"""

import contextlib
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from geoseg.config.run_record import RunRecord
from geoseg.core.errors import OutputError, difference
from geoseg.core.files import as_output_error
from geoseg.core.parsing import parse_json
from geoseg.core.run_files import RunFile
from geoseg.runs.record import write_record
from geoseg.storage.store import Store, open_store
from geoseg.storage.workspace import workspace

STAGING = "staging"
_PLAN = "plan.json"


@dataclass(frozen=True)
class RunFolder:
    """The folder of one run, locked by this process."""

    store: Store
    workspace: Path
    """The local folder in which outputs are made; the staging folder, unless that is in an object store."""
    resumed: bool
    """Whether an unfinished run of the same plan was found."""
    check_lock: Callable[[], None]
    """Raises OutputError when the lock was lost."""

    @property
    def staging(self) -> Store:
        """The store of the finished blocks."""
        return self.store.child(STAGING)

    def publish(self, files: list[Path], record: RunRecord) -> None:
        """Move finished outputs from the workspace into the folder; write the record last.

        A run without a record counts as unfinished. So after an interruption at any moment, the next run
        makes the outputs again from the staged blocks.

        Raises
        ------
        OutputError
            When the lock was lost, or a file cannot be written.
        """
        self.check_lock()
        surplus = set(_outputs(_object_in(self.store, RunFile.RECORD))) - {f.name for f in files}
        self.store.delete([RunFile.RECORD])
        self.store.delete(sorted(surplus))
        for file in files:
            self.store.adopt(file)
        write_record(self.store, record)
        self.staging.clear(last=_PLAN)


@contextlib.contextmanager
def open_run_folder(
    place: Path | str, identity: dict[str, Any], outputs: list[str], *, overwrite: bool
) -> Iterator[RunFolder]:
    """Lock a run folder and decide whether the run is new, resumed or refused.

    Parameters
    ----------
    place
        The folder, which is created when it does not exist, or the URI of a prefix in an object store.
    identity
        Everything that decides the bytes of the map.
    outputs
        Names of the files that the run will write.
    overwrite
        Replace a finished run, the unfinished run of another plan, or files of the same names.

    Raises
    ------
    OutputError
        When the folder cannot be written, is in use, or holds files that must not be overwritten.
    """
    store = open_store(place)
    store.create()
    with store.lock() as check_lock, contextlib.ExitStack() as stack:
        resumed = _decide(store, identity, outputs, overwrite=overwrite)
        staging = store.child(STAGING)
        staging.create()
        if not resumed:
            staging.write(_PLAN, json.dumps(identity).encode())
        local = staging.local or stack.enter_context(workspace(staging.at()))
        yield RunFolder(store, local, resumed, check_lock)


def finished_identity(place: Path | str) -> dict[str, Any] | None:
    """Return the identity of the finished run in a folder or at a URI; None when there is none."""
    found = _object_in(open_store(place), RunFile.RECORD)
    return None if found is None else found.get("identity")


def _decide(store: Store, identity: dict[str, Any], outputs: list[str], *, overwrite: bool) -> bool:
    staging = store.child(STAGING)
    staging.tidy()
    staged, finished = _object_in(staging, _PLAN), _object_in(store, RunFile.RECORD)
    if staged == identity and (overwrite or finished is None or finished.get("identity") != identity):
        return True
    with as_output_error(store.at(), "read"):
        present = set(store.names())
        unknown = staged is None and any(not name.startswith(".") for name in staging.names())
    strangers = [name for name in (*outputs, RunFile.RECORD) if name in present]
    if unknown:
        # Never deleted, not even with --overwrite: the files may not be geoseg's.
        raise OutputError(
            f"{staging.at()}: is not the staging of a geoseg run; move it away, or choose another folder "
            "with --output"
        )
    if staged is not None and staged != identity and finished is None and not overwrite:
        raise OutputError(
            f"{store.at()}: holds an unfinished run of another plan ({difference(staged, identity)}); finish "
            "that one, choose another folder with --output, or discard it with --overwrite"
        )
    if finished is not None and not overwrite:
        raise OutputError(
            f"{store.at()}: holds a finished run ({finished.get('name')}, {finished.get('finished')}); "
            "choose another folder with --output, or replace it with --overwrite"
        )
    if finished is None and staged is None and strangers and not overwrite:
        raise OutputError(
            f"{store.at()}: has a {strangers[0]} that is not of a geoseg run; choose another folder with "
            "--output, or replace it with --overwrite"
        )
    staging.clear(last=_PLAN)
    return False


def _outputs(record: dict[str, Any] | None) -> list[str]:
    """Return the names of the files that a finished run wrote."""
    return [Path(o).name for o in (record or {}).get("outputs", {})]


def _object_in(store: Store, name: str) -> dict[str, Any] | None:
    """Return the object in a JSON file, None when there is none or it is damaged."""
    with as_output_error(store.at(name), "read"):
        data = store.read(name)
    try:
        content = parse_json(data or b"")
    except ValueError:
        return None
    return content if isinstance(content, dict) else None
