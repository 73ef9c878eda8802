"""Files: atomic writes, hashes, JSON objects, and errors of the operating system as messages."""

import contextlib
import errno
import glob
import hashlib
import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

from geoseg.core.errors import ELSEWHERE, GeosegError, OutputError, one_line
from geoseg.core.parsing import open_regular, parse_json, read_bytes

_DISCARDED = ".discarded"


def sha256(path: Path) -> str:
    """Return the sha256 of a file's bytes in hexadecimal digits; a pipe or a device is an OSError."""
    try:
        opened = open_regular(path)
    except ValueError as error:
        raise OSError(errno.EINVAL, str(error), str(path)) from None
    with opened as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def output_entry(path: Path) -> dict[str, Any]:
    """Return the entry of an output in `run.json`: its size and the sha256 of its bytes."""
    return {"bytes": path.stat().st_size, "sha256": sha256(path)}


def read_object(path: Path, error: type[GeosegError], expected: str) -> dict[str, Any]:
    """Return the object in a JSON file; an error says what was `expected` in it."""
    try:
        data = read_bytes(path)
    except (OSError, ValueError) as cause:
        raise error(f"{path}: cannot be read: {one_line(cause)}") from cause
    return as_object(data, path, error, expected)


def read_json(path: Path) -> dict[str, Any] | None:
    """Return the object in a JSON file, None when the file is missing or damaged."""
    try:
        content = parse_json(read_bytes(path))
    except (OSError, ValueError):
        return None
    return content if isinstance(content, dict) else None


def as_object(data: bytes, place: Path | str, error: type[GeosegError], expected: str) -> dict[str, Any]:
    """Return the object in JSON bytes; an error names the `place` and what was `expected` there."""
    try:
        content = parse_json(data.decode())
    except ValueError as cause:
        raise error(f"{place}: cannot be read: {one_line(cause)}") from cause
    if not isinstance(content, dict):
        raise error(f"{place}: an object {expected} is expected")
    return content


def streams_in(folder: Path) -> Iterator[Path]:
    """Yield the pipes, sockets and devices in a folder and its folders: to open one may take for ever."""
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                yield from streams_in(Path(entry))
            elif is_stream(Path(entry)) if entry.is_symlink() else not entry.is_file():
                yield Path(entry)


def is_stream(path: Path) -> bool:
    """Return whether a path is a pipe, a socket or a device."""
    return path.exists() and not (path.is_file() or path.is_dir())


def write_atomic(path: Path, data: bytes) -> None:
    """Write a file so that it appears complete or not at all.

    Raises
    ------
    OutputError
        When the disk is full or not writable.
    """
    if not path.name:
        raise OutputError(f"{path}: is a folder; give the name of a file in it")
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    with as_output_error(path):
        try:
            with temporary.open("wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)


def give_usual_mode(path: Path) -> None:
    """Give a file that a library made the mode that the user's umask asks for, as all other files have it.

    SQLite, for example, lets the group read at most.
    """
    # Reading the umask sets it, for all threads of the process: a new file tells, too.
    probe = path.with_name(f".{path.name}.{os.getpid()}.mode")
    handle = os.open(probe, os.O_CREAT | os.O_WRONLY, 0o666)
    try:
        path.chmod(os.fstat(handle).st_mode & 0o777)
    finally:
        os.close(handle)
        probe.unlink()


def discard(folder: Path) -> None:
    """Delete a folder and all in it; whenever the process is killed, it is there whole or not at all.

    It is renamed first. A renamed folder that a killed process left is deleted, too, see `delete_discarded`.
    What cannot be deleted stays.
    """
    delete_discarded(folder)
    with contextlib.suppress(OSError):
        if folder.is_dir():
            aside = tempfile.mkdtemp(prefix=f".{folder.name}.", suffix=_DISCARDED, dir=folder.parent)
            folder.replace(aside)
    delete_discarded(folder)


def delete_discarded(folder: Path) -> None:
    """Delete what processes that were killed while they discarded this folder left of it."""
    for aside in folder.parent.glob(f".{glob.escape(folder.name)}.*{_DISCARDED}"):
        shutil.rmtree(aside, ignore_errors=True)


@contextlib.contextmanager
def as_output_error(place: Path | str, what: Literal["written", "read"] = "written") -> Iterator[None]:
    """Turn an OSError within the block into an OutputError: one line that says what to do.

    The place is a path, or a URI in an object store.
    """
    try:
        yield
    except OSError as error:
        raise unusable_place(place, error, what) from error


def unusable_place(
    place: Path | str, reason: str | BaseException, what: Literal["written", "read"] = "written"
) -> OutputError:
    """Return the error for a file that cannot be written or read, with the advice that its cause calls for.

    Parameters
    ----------
    place
        The path, or the URI in an object store.
    reason
        The error, or what a library said.
    what
        What failed.
    """
    number = reason.errno if isinstance(reason, OSError) else None
    text = reason if isinstance(reason, str) else getattr(reason, "strerror", None) or one_line(reason)
    if number in _FULL or _FULL_IN_WORDS.search(text):
        remedy = f"({_free_mb(place):.0f} MB free); make room and run the same command again, {_KEPT}"
        return OutputError(f"{place}: cannot be {what}: {text} {remedy}")
    if number in (errno.EMFILE, errno.ENFILE) or "oo many open files" in text:
        remedy = "allow more: ulimit -n 1024"
    elif number in _SILENT:
        remedy = f"run the same command again when it answers, {_KEPT}"
    elif number is None:
        remedy = f"make room or check the disk, and run the same command again, {_KEPT}"
    elif what == "read":
        remedy = "see that it is the right place, and may be read"
    else:
        remedy = ELSEWHERE
    return OutputError(f"{place}: cannot be {what}: {text}; {remedy}")


_KEPT = "finished blocks are kept"
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_SILENT = (errno.EHOSTUNREACH, errno.ETIMEDOUT, errno.ECONNRESET, errno.EIO)
_FULL_IN_WORDS = re.compile(r"no space left|disk is full|quota|file too large", re.IGNORECASE)


def _free_mb(place: Path | str) -> float:
    folder = next((p for p in Path(place).parents if p.exists()), Path())
    return shutil.disk_usage(folder).free / 1e6
