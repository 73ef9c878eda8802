"""How files are named in outputs that are shared with others: without the folders of this machine."""

import os
import re
import shlex
from pathlib import Path
from typing import Any

_REMOTE = re.compile(
    r"(?<![a-z0-9+.-])(?!file:)[a-z][a-z0-9+.-]+://|/vsi(curl|s3|gs|az|adls|oss|swift|hdfs|webhdfs)(_streaming)?[/?]",
    re.IGNORECASE,
)
_ABSOLUTE = re.compile(r"(?:file://)?~?/")
_IN_TEXT = re.compile(r"(?<![\w.:/~])(?:file://)?~?(?:/+[^\s/'\":;,<>]+)+/+([^\s/'\":;,<>]+)")


def shared_path(path: str, folder: Path | str | None = None) -> str:
    """Return how a file is named for others.

    Parameters
    ----------
    path
        A path, a URI, or a path of GDAL. Those of other machines stay as they are.
    folder
        Folder of the output that names it. A file is named relative to it when both lie below the current
        folder. Without a folder, relative paths stay as they are.

    Returns
    -------
    str
        The URI, the relative path, or the name of the file alone.

    Examples
    --------
    >>> shared_path("/home/someone/scenes/a.tif")
    'a.tif'
    >>> shared_path("s3://bucket/scenes/a.tif")
    's3://bucket/scenes/a.tif'
    """
    if _REMOTE.search(path):
        return path
    if folder is not None and not _REMOTE.search(str(folder)):
        here, file = Path.cwd(), Path(path.removeprefix("file://")).expanduser().absolute()
        place = Path(os.path.normpath(file))
        near = [p.is_relative_to(here) for p in (place, Path(os.path.normpath(Path(folder).absolute())))]
        if all(near) and here.parent != here:
            return Path(os.path.relpath(place, folder)).as_posix()
    elif folder is None and not _ABSOLUTE.match(path):
        return path
    return re.split(r"[/\\]", path.rstrip("/"))[-1].strip("\"'")


def shared_command(command: str) -> str:
    """Return a command line with the names of files in place of absolute paths."""
    try:
        words = shlex.split(command)
    except ValueError:
        return shared_text(command)
    parts = (word.partition("=") for word in words)
    return shlex.join(f"{_shared_word(key)}{sign}{_shared_word(value)}" for key, sign, value in parts)


def _shared_word(word: str) -> str:
    return shared_path(word) if _ABSOLUTE.match(word) else shared_text(word)


def shared_text(text: str) -> str:
    """Return a text with the names of files in place of absolute paths.

    Examples
    --------
    >>> shared_text("/home/someone/a.tif: has no CRS, see https://example.org/crs")
    'a.tif: has no CRS, see https://example.org/crs'
    """
    return _IN_TEXT.sub(r"\1", text)


def shared_values(value: Any) -> Any:
    """Return a JSON value in which all texts are as `shared_path` has them when they are paths."""
    if isinstance(value, dict):
        return {k: shared_values(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [shared_values(v) for v in value]
    return shared_path(value) if isinstance(value, str) else value
