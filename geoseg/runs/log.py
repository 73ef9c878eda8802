"""`events.jsonl`: the event log of a run, one JSON object a line, to follow it live or to draw it later.

Each line is appended whole and at once, so the log of a killed run lacks only the last moment. Every start
writes a line `run` with the version of this form. `geoseg.inference.events` lists the events of tasks; the
run adds `mask` (the blocks of a network that masks the scene come next), `done` (a block, and how many of
the scene are done), `output` (a file, with `began` and `seconds`), `warning`, and as its last line
`finished`, `failed` or `interrupted`.
"""

import contextlib
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Self

from geoseg.core.files import as_output_error
from geoseg.core.parsing import parse_json
from geoseg.core.run_files import RunFile
from geoseg.core.secrets import redacted
from geoseg.inference.events import Fact
from geoseg.runs.folder import RunFolder

FORM = 1
"""Version of the form; readers skip events and keys that they do not know."""


@contextlib.contextmanager
def event_log(folder: RunFolder) -> Iterator["EventLog"]:
    """Open the event log of a run folder; in an object store the file appears when the run ends."""
    if folder.store.local is not None:
        with EventLog(folder.store.local / RunFile.EVENTS, resumed=folder.resumed) as log:
            yield log
        return
    path = folder.workspace / RunFile.EVENTS
    if folder.resumed:
        path.write_bytes(folder.store.read(RunFile.EVENTS) or b"")
    try:
        with EventLog(path, resumed=folder.resumed) as log:
            yield log
    finally:
        folder.store.write(RunFile.EVENTS, path.read_bytes())


class EventLog:
    """The event log of a run folder, open for appending.

    Parameters
    ----------
    path
        The file.
    resumed
        Whether to append to the file of an earlier start.
    """

    def __init__(self, path: Path, *, resumed: bool) -> None:
        self.path = path
        with as_output_error(path):
            # Unbuffered: even when the process is killed, a line is written whole or not at all.
            self._file = path.open("ab" if resumed else "wb", buffering=0)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: object) -> None:
        if error is None:
            self.add("finished")
        elif isinstance(error, KeyboardInterrupt):
            self.add("interrupted")
        else:
            self.add("failed", why=str(error))
        self._file.close()

    def add(self, event: str, **facts: Any) -> None:
        """Write an event of this process."""
        self.write({"time": round(time.time(), 4), "event": event, **facts})

    def write(self, fact: Fact) -> None:
        """Write an event.

        Raises
        ------
        OutputError
            When the line cannot be written, as on a full disk.
        """
        line = json.dumps(redacted(fact), ensure_ascii=False, separators=(",", ":")) + "\n"
        with as_output_error(self.path):
            self._file.write(line.encode())


def read_events(path: Path) -> list[Fact]:
    """Return the events of a file."""
    return parse_events(path.read_bytes())


def parse_events(data: bytes) -> list[Fact]:
    """Return the events in the content of a log; a truncated last line is left out."""
    events = []
    for line in data.splitlines():
        try:
            events.append(parse_json(line))
        except ValueError:
            continue
    return events
