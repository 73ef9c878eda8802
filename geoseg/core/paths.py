"""Paths as users write them, and as libraries of vector files read them."""

import contextlib
import errno
import glob
import os
import re
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TypeVar

from geoseg.core.files import is_stream

P = TypeVar("P", bound=str | Path)

_PARSED = re.compile(r"[!?;\x00-\x1f]")
"""What pyogrio takes for an archive, a query or parameters in a path, or removes."""


def at_home(place: P) -> P:
    """Return a path with `~` or `~user` at its begin as the user's home folder; all else stays.

    Examples
    --------
    >>> at_home("~/maps") == str(Path.home() / "maps")
    True
    >>> at_home("maps/~"), at_home("s3://bucket/~")
    ('maps/~', 's3://bucket/~')
    """
    text = str(place)
    if text != "~" and not re.match(r"~[^/\s]*/", text):
        return place
    return type(place)(os.path.expanduser(text))  # noqa: PTH111 (unlike Path's, never fails)


@contextlib.contextmanager
def plain_path(path: Path | str) -> Iterator[str]:
    """Yield a path to a local file that pyogrio gives to GDAL as it is, whatever characters it has.

    pyogrio reads `folder!/file` as a file in an archive, for example. The folder of such a path gets another
    name for a while, by a link, and so does a file that exists. Paths of GDAL (`/vsi...`), URIs, and files in
    archives (`data.zip!labels.shp`) stay.

    Raises
    ------
    OSError
        When it is a pipe or a device, which GDAL would wait for.
    """
    text = str(path)
    if text.startswith("/vsi") or "://" in text:
        yield text
        return
    file = Path(text).absolute()
    if is_stream(file):
        raise OSError(errno.EINVAL, "is a pipe or a device, and no file", text)
    odd_name = bool(_PARSED.search(file.name))
    if not _PARSED.search(str(file)) or not file.parent.is_dir() or (odd_name and not file.exists()):
        # The colon of a relative path may look like the name of a driver.
        yield str(file) if ":" in text else text
        return
    with tempfile.TemporaryDirectory(prefix="geoseg-") as folder:
        link = Path(folder) / "folder"
        if not odd_name:
            link.symlink_to(file.parent, target_is_directory=True)
        else:
            # With its companions: a shapefile is several files.
            link.mkdir()
            for one in file.parent.glob(f"{glob.escape(file.stem)}.*"):
                (link / _PARSED.sub("_", one.name)).symlink_to(one)
        yield str(link / _PARSED.sub("_", file.name))
