"""The folder for files that geoseg can make or download again."""

import contextlib
import os
import stat
import tempfile
from pathlib import Path

from geoseg.core.errors import ConfigError
from geoseg.core.paths import at_home


def cache_folder() -> Path:
    """Return the user's cache folder of geoseg, which may not exist yet.

    It is `$GEOSEG_CACHE`, else `geoseg` in the cache folder of the XDG Base Directory Specification. What
    lies there is trusted, so nobody else should be able to write to it.

    Raises
    ------
    ConfigError
        When the user has no home and somebody else made the folder for temporary files that is used instead.
    """
    if chosen := os.environ.get("GEOSEG_CACHE"):
        return at_home(Path(chosen))
    if base := os.environ.get("XDG_CACHE_HOME"):
        return Path(base) / "geoseg"
    try:
        return Path.home() / ".cache" / "geoseg"
    except RuntimeError:
        # A user without a home, as in containers that run under any number.
        return _private(Path(tempfile.gettempdir()) / f"geoseg-cache-{os.getuid()}")


def _private(folder: Path) -> Path:
    """Make a folder where everybody may make some; refuse one that somebody else made, or can write to."""
    with contextlib.suppress(FileExistsError):
        folder.mkdir(mode=0o700)
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid() or found.st_mode & 0o022:
        raise ConfigError(f"{folder}: is not yours alone, so nothing is cached there; set GEOSEG_CACHE")
    return folder
