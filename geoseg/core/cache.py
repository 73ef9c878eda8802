"""Where things are kept that can be made again."""

import os
from pathlib import Path


def cache_folder() -> Path:
    """Return the user's cache folder of geoseg, which may not exist yet.

    `$GEOSEG_CACHE`, else as the XDG Base Directory Specification says.
    """
    if chosen := os.environ.get("GEOSEG_CACHE"):
        return Path(chosen)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "geoseg"
