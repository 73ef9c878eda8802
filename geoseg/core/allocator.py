"""How the C library hands out memory."""

import ctypes
import os

_M_ARENA_MAX = -8
"""Of glibc's malloc.h, see mallopt(3)."""

ARENAS = 2


def limit_arenas() -> None:
    """Let the threads of this process and of its children share a few arenas of glibc.

    Each thread has its own by default, which keeps what the thread gave back. The arrays of a run are large
    and few: its threads do not get in each other's way. Does nothing with other C libraries, or where the
    user has set the variable.
    """
    if "MALLOC_ARENA_MAX" in os.environ or os.name != "posix":
        return
    os.environ["MALLOC_ARENA_MAX"] = str(ARENAS)
    libc = ctypes.CDLL(None)
    if hasattr(libc, "mallopt"):
        libc.mallopt(_M_ARENA_MAX, ARENAS)


def release_free_memory() -> None:
    """Return what is free in the arenas to the system: much of it, after a library has compiled something."""
    libc = ctypes.CDLL(None)
    if hasattr(libc, "malloc_trim"):
        libc.malloc_trim(0)
