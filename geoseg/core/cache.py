"""The folder for files that geoseg can make or download again."""

import os
from pathlib import Path


def cache_folder() -> Path:
    """Return the user's cache folder of geoseg, which may not exist yet.

    It is `$GEOSEG_CACHE`, else `geoseg` in the cache folder of the XDG Base Directory Specification.
    """
    if chosen := os.environ.get("GEOSEG_CACHE"):
        return Path(chosen)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "geoseg"
