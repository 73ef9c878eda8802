"""A lock in an object store, which has none of its own: a lease, an object that its owner renews.

The lease is created by a PUT that fails where one exists. An owner that died on this machine is found by its
process number. An owner that died elsewhere no longer renews, and after a while its lease is taken over by a
PUT that fails if the owner renews it after all. The clocks of two machines are compared only to decide
whether it is worth watching the lease.
"""

import contextlib
import json
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Protocol

import psutil

from geoseg.core.errors import OutputError
from geoseg.core.files import as_output_error
from geoseg.core.parsing import parse_json

NAME = ".geoseg.lock"

RENEW = timedelta(seconds=20)
"""Time between two renewals of a lease."""
SILENCE = timedelta(seconds=120)
"""Time without a renewal after which a lease may be taken over."""


@dataclass(frozen=True)
class ObjectVersion:
    """ETag, size and time of an object, known without reading it."""

    tag: str
    """ETag: it changes with the bytes."""
    bytes: int
    modified: datetime


class ConditionalStore(Protocol):
    """The methods of a store that a lease needs."""

    def at(self, name: str = "") -> str:
        """Return the place of an object."""

    def read(self, name: str) -> bytes | None:
        """Return its bytes."""

    def version(self, name: str) -> ObjectVersion | None:
        """Return its version."""

    def write_if(self, name: str, data: bytes, tag: str | None) -> str | None:
        """Write over the version with this ETag, or a new object; None when another process was first."""

    def delete(self, names: list[str]) -> None:
        """Delete objects."""


@contextlib.contextmanager
def lease(store: ConditionalStore) -> Iterator[Callable[[], None]]:
    """Hold the lease of a store; yields a check that raises OutputError once the lease is lost.

    Raises
    ------
    OutputError
        When another run holds the lease, or the store cannot be written.
    """
    owner = _this_process()
    with as_output_error(store.at(NAME)):
        tag = store.write_if(NAME, _content(owner), None) or _take_over(store, owner)
    keeper = _Keeper(store, owner, tag)
    keeper.start()
    try:
        yield keeper.check
    finally:
        keeper.end()


class _Keeper(threading.Thread):
    """Renews a lease until it is ended or lost."""

    def __init__(self, store: ConditionalStore, owner: dict[str, Any], tag: str) -> None:
        super().__init__(name="geoseg-lease", daemon=True)
        self.store, self.owner, self.tag = store, owner, tag
        self.ended, self.turn = threading.Event(), threading.Lock()
        self.lost = False

    def run(self) -> None:
        while not self.ended.wait(RENEW.total_seconds()):
            # A store that does not answer now may answer at the next renewal.
            with contextlib.suppress(OSError):
                self.renew()

    def renew(self) -> None:
        with self.turn:
            if self.lost or self.ended.is_set():
                return
            tag = self.store.write_if(NAME, _content(self.owner), self.tag)
            # The renewal may have succeeded although its response was lost.
            tag = tag or self._own_tag()
            self.lost = tag is None
            self.tag = tag or self.tag

    def check(self) -> None:
        with as_output_error(self.store.at(NAME)):
            self.renew()
        if self.lost:
            raise OutputError(
                f"{self.store.at()}: another run took this one for dead, as it said nothing for "
                f"{SILENCE.total_seconds():.0f} s, and writes here now; nothing was published"
            )

    def end(self) -> None:
        self.ended.set()
        with contextlib.suppress(OSError, OutputError):
            if not self.lost and self._own_tag() is not None:
                self.store.delete([NAME])

    def _own_tag(self) -> str | None:
        """Return the ETag of the lease if it is still this owner's, else None."""
        found = self.store.version(NAME)
        card = _read(self.store)
        return found.tag if found and card.get("id") == self.owner["id"] else None


def _take_over(store: ConditionalStore, owner: dict[str, Any]) -> str:
    """Take over the lease of an owner that is dead or silent; return the new ETag.

    Raises
    ------
    OutputError
        When the owner is alive.
    """
    found, other = store.version(NAME), _read(store)
    if found is None:
        tag = store.write_if(NAME, _content(owner), None)
    elif _dead_here(other) or (not _alive_here(other) and _silent(store, found)):
        tag = store.write_if(NAME, _content(owner), found.tag)
    else:
        tag = None
    if tag is not None:
        return tag
    silence = f"{SILENCE.total_seconds():.0f} s"
    who = f"process {other.get('process')} on {other.get('host')}, since {other.get('since')}"
    raise OutputError(
        f"{store.at()}: another geoseg run is writing here ({who}); wait for it, or choose another folder "
        f"with --output. If it died, its lock {NAME} ends by itself after {silence} of silence"
    )


def _silent(store: ConditionalStore, found: ObjectVersion) -> bool:
    """Return whether the owner has not renewed its lease for long, and does not while it is watched."""
    if datetime.now(UTC) - found.modified < SILENCE:
        return False
    time.sleep(2 * RENEW.total_seconds())
    now = store.version(NAME)
    return now is not None and now.tag == found.tag


def _this_process() -> dict[str, Any]:
    return {
        "id": os.urandom(8).hex(),
        "host": socket.gethostname(),
        "process": os.getpid(),
        "started": psutil.Process().create_time(),
        "space": _space(),
        "since": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def _space() -> str | None:
    """Return the space in which a process number is unique: this boot of this machine, and the container."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        return f"{boot} {Path('/proc/self/ns/pid').readlink()}"
    except OSError:
        return None


def _dead_here(owner: dict[str, Any]) -> bool:
    return _is_here(owner) and not _runs(owner)


def _alive_here(owner: dict[str, Any]) -> bool:
    return _is_here(owner) and _runs(owner)


def _is_here(owner: dict[str, Any]) -> bool:
    return owner.get("space") is not None and owner["space"] == _space()


def _runs(owner: dict[str, Any]) -> bool:
    try:
        process = psutil.Process(owner["process"])
        same = abs(process.create_time() - owner["started"]) < 1
        return same and process.status() != psutil.STATUS_ZOMBIE
    except (psutil.NoSuchProcess, KeyError, TypeError, ValueError):
        return False


def _content(owner: dict[str, Any]) -> bytes:
    # The time makes the bytes, and so the ETag, differ from those of the last renewal.
    return json.dumps({**owner, "renewed": datetime.now(UTC).isoformat()}).encode()


def _read(store: ConditionalStore) -> dict[str, Any]:
    try:
        card = parse_json(store.read(NAME) or b"{}")
    except ValueError:
        return {}
    return card if isinstance(card, dict) else {}
