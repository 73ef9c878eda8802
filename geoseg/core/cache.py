"""The folder for files that geoseg can make or download again."""

import os
import tempfile
from pathlib import Path

from geoseg.core.paths import at_home


def cache_folder() -> Path:
    """Return the user's cache folder of geoseg, which may not exist yet.

    It is `$GEOSEG_CACHE`, else `geoseg` in the cache folder of the XDG Base Directory Specification.
    """
    if chosen := os.environ.get("GEOSEG_CACHE"):
        return at_home(Path(chosen))
    if base := os.environ.get("XDG_CACHE_HOME"):
        return Path(base) / "geoseg"
    try:
        return Path.home() / ".cache" / "geoseg"
    except RuntimeError:
        # A user without a home, as in containers that run under any number.
        return Path(tempfile.gettempdir()) / f"geoseg-cache-{os.getuid()}"
