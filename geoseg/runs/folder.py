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
    store.check()
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


def why_refused(
    place: Path | str, identity: dict[str, Any], outputs: list[str], *, overwrite: bool
) -> str | None:
    """Return why a run would not write into a place, see `open_run_folder`; None: it would.

    Nothing is written.
    """
    store = open_store(place)
    store.check()
    found = _Found.read(store)
    return (
        None
        if found.resumes(identity, overwrite=overwrite)
        else found.refusal(store, identity, outputs, overwrite=overwrite)
    )


@dataclass(frozen=True)
class _Found:
    """What lies in the place of a run."""

    staged: dict[str, Any] | None
    """Identity of an unfinished run."""
    finished: dict[str, Any] | None
    """Record of a finished run."""
    present: frozenset[str]
    unknown: bool
    """Whether the staging folder is not of geoseg."""

    @classmethod
    def read(cls, store: Store) -> "_Found":
        staging = store.child(STAGING)
        staged = _object_in(staging, _PLAN)
        with as_output_error(store.at(), "read"):
            present = frozenset(store.names())
            unknown = staged is None and any(not name.startswith(".") for name in staging.names())
        return cls(staged, _object_in(store, RunFile.RECORD), present, unknown)

    def resumes(self, identity: dict[str, Any], *, overwrite: bool) -> bool:
        """Return whether a run of this identity goes on where another one stopped."""
        other = overwrite or self.finished is None or self.finished.get("identity") != identity
        return self.staged == identity and other

    def refusal(
        self, store: Store, identity: dict[str, Any], outputs: list[str], *, overwrite: bool
    ) -> str | None:
        """Return why a new run must not write here; None: it may."""
        if self.unknown:
            # Never deleted, not even with --overwrite: the files may not be geoseg's.
            return (
                f"{store.child(STAGING).at()}: is not the staging of a geoseg run; move it away, or choose "
                "another folder with --output"
            )
        if overwrite:
            return None
        if self.finished is not None:
            return (
                f"{store.at()}: holds a finished run ({self.finished.get('name')}, "
                f"{self.finished.get('finished')}); choose another folder with --output, or replace it with "
                "--overwrite"
            )
        if self.staged is not None:
            return (
                f"{store.at()}: holds an unfinished run of another plan "
                f"({difference(self.staged, identity)}); finish that one, choose another folder with "
                "--output, or discard it with --overwrite"
            )
        strangers = [name for name in (*outputs, RunFile.RECORD) if name in self.present]
        if strangers:
            return (
                f"{store.at()}: has a {strangers[0]} that is not of a geoseg run; choose another folder with "
                "--output, or replace it with --overwrite"
            )
        return None


def _decide(store: Store, identity: dict[str, Any], outputs: list[str], *, overwrite: bool) -> bool:
    """Return whether the run is resumed; clear what it may replace, or raise OutputError."""
    staging = store.child(STAGING)
    staging.tidy()
    found = _Found.read(store)
    if found.resumes(identity, overwrite=overwrite):
        return True
    refused = found.refusal(store, identity, outputs, overwrite=overwrite)
    if refused is not None:
        raise OutputError(refused)
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
