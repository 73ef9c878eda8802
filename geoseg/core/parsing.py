"""Read files and JSON within limits: what others wrote may be endless, or nested without end."""

import json
import os
import stat
from io import BufferedReader
from pathlib import Path
from typing import Any

MOST_BYTES = 100_000_000
"""Largest file that is read at once."""

MOST_DEPTH = 64
"""Most lists and mappings inside each other. No document of geoseg has more than ten."""


def read_bytes(path: Path, most: int = MOST_BYTES) -> bytes:
    """Return the content of a regular file.

    Raises
    ------
    OSError
        When it cannot be read.
    ValueError
        When it is a pipe or a device, which may never end, or has more than `most` bytes.
    """
    with open_regular(path) as file:
        data = file.read(most + 1)
    if len(data) > most:
        raise ValueError(f"is larger than {most / 1e6:.0f} MB, which no file of this kind is")
    return data


def open_regular(path: Path) -> BufferedReader:
    """Open a regular file to read it.

    Raises
    ------
    OSError
        When it cannot be opened.
    ValueError
        When it is a pipe or a device.
    """
    file = open(path, "rb", opener=_without_waiting)  # noqa: SIM115 (the caller closes it)
    if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
        file.close()
        raise ValueError("is no regular file")
    return file


def parse_json(data: bytes | str) -> Any:
    """Return the value in a JSON text.

    Raises
    ------
    ValueError
        When it is not JSON, or nests deeper than `MOST_DEPTH`.
    """
    try:
        value = json.loads(data)
    except RecursionError:
        raise ValueError(_TOO_DEEP) from None
    below, depth = [value], 0
    while below := [inner for outer in below for inner in _inside(outer)]:
        if (depth := depth + 1) > MOST_DEPTH:
            raise ValueError(_TOO_DEEP)
    return value


_TOO_DEEP = f"more than {MOST_DEPTH} lists and mappings are inside each other"


def _inside(value: Any) -> list[Any]:
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return [v for v in inner if isinstance(v, dict | list)]


def _without_waiting(path: str, flags: int) -> int:
    # A pipe that nobody writes to would be waited for while it is opened.
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))
