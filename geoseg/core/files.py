"""Files that appear complete or not at all, and errors of the disk in words."""

import contextlib
import errno
import hashlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from geoseg.core.errors import OutputError


def sha256(path: Path) -> str:
    """Return the sha256 of a file's bytes in hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def write_atomic(path: Path, data: bytes) -> None:
    """Write a file so that it appears complete or not at all.

    Raises
    ------
    OutputError
        When the disk is full or not writable.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    with saying_why(path):
        try:
            with temporary.open("wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)


@contextlib.contextmanager
def saying_why(path: Path) -> Iterator[None]:
    """Turn errors of the operating system into one line that says what to do."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            free = shutil.disk_usage(path.parent).free / 1e6
            raise OutputError(
                f"{path}: cannot be written: {os.strerror(error.errno)} ({free:.0f} MB free); make room and "
                "run the same command again, finished blocks are kept"
            ) from error
        raise OutputError(
            f"{path}: cannot be written: {error.strerror or error}; choose another folder with --output"
        ) from error
