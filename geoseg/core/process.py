"""Settings of a process that belongs to geoseg: the command line, and each worker.

They are variables of the environment, which libraries read when they start. Importing geoseg sets none of
them: in a notebook or a program of somebody else the process is theirs.
"""

import ctypes
import os

GDAL_CACHE_MB = 96
"""Decoded internal tiles that GDAL keeps; its default is 5 % of the machine's memory."""

GDAL_OPEN_FILES = 32
"""Files of a VRT that GDAL keeps open; its default is 100, and each takes memory."""

ARENAS = 2
"""Arenas of glibc's malloc. By default each thread has its own, which keeps what the thread frees. The arrays
of a run are large and few: its threads do not wait for one another here."""

GDAL_NETWORK = {
    "GDAL_HTTP_CONNECTTIMEOUT": "10",
    "GDAL_HTTP_LOW_SPEED_TIME": "30",
    "GDAL_HTTP_LOW_SPEED_LIMIT": "1000",
    "GDAL_HTTP_MAX_RETRY": "2",
    "GDAL_HTTP_RETRY_DELAY": "0.5",
    "GDAL_HTTP_MULTIRANGE": "YES",
}
"""Ends a request after 10 seconds without a connection, or 30 seconds below 1000 bytes a second; GDAL's
default is to wait for ever. A server that is busy is asked three times; beyond that a window is read again,
see `geoseg.inference.retry`."""

GDAL_VARIABLES = {
    "GDAL_CACHEMAX": str(GDAL_CACHE_MB),
    "GDAL_MAX_DATASET_POOL_SIZE": str(GDAL_OPEN_FILES),
    **GDAL_NETWORK,
}

VARIABLES = {
    **GDAL_VARIABLES,
    # Waiting threads of OpenMP sleep instead of spinning: where other processes shared the cores, spinning
    # made small tiles about twenty times slower.
    "OMP_WAIT_POLICY": "PASSIVE",
    # GDAL itself writes warnings of damaged files to stderr, past all that geoseg says; errors are raised.
    "CPL_LOG": os.devnull,
    "MALLOC_ARENA_MAX": str(ARENAS),
}
"""What `configure_process` sets."""

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD, _M_ARENA_MAX = -1, -3, -8
"""Of glibc's malloc.h, see mallopt(3)."""

_LARGEST_KEPT = 32 << 20
"""Bytes: the largest threshold that glibc takes."""


def configure_process() -> None:
    """Set `VARIABLES` in this process and for its children; what the user has set stays.

    To be called before torch is imported, whose OpenMP reads its variable once, and before GDAL opens a file.
    """
    if "MALLOC_ARENA_MAX" not in os.environ:
        # The C library has read the variable already.
        _set_malloc(_M_ARENA_MAX, ARENAS)
    for name, value in VARIABLES.items():
        os.environ.setdefault(name, value)


def keep_freed_memory() -> None:
    """Let malloc keep what it frees, in a process that makes the same large tensors again and again.

    Dask sets `MALLOC_TRIM_THRESHOLD_` for its workers, and with it glibc returns every larger block to the
    kernel, which clears its pages when it hands them out again. A training on a CPU does that in each layer.
    """
    _set_malloc(_M_MMAP_THRESHOLD, _LARGEST_KEPT)
    _set_malloc(_M_TRIM_THRESHOLD, 1 << 30)


def _set_malloc(option: int, value: int) -> None:
    """Set an option of glibc's malloc; other C libraries have none."""
    if os.name == "posix" and hasattr(libc := ctypes.CDLL(None), "mallopt"):
        libc.mallopt(option, value)
