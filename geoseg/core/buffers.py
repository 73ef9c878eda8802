"""Memory of large arrays, past malloc.

What malloc gets back it returns to the kernel, which clears every page before it hands it out again, or it
keeps it in pieces that nothing fits into. The blocks of a run need arrays of the same few sizes all the time,
and leave some behind that live long.
"""

import ctypes
import math
import mmap
from collections import deque
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

LEAST, MOST = 1 << 22, 1 << 28
"""Bytes; smaller and larger arrays are left to numpy."""

SPARE = 2
"""Buffers that are kept for later."""

# Each of its methods is one step for all threads. A lock would not do: arrays die wherever the garbage
# collector runs, also in a thread that holds it.
_spare: deque[NDArray[np.uint8]] = deque(maxlen=SPARE)


def empty(shape: tuple[int, ...], dtype: DTypeLike) -> NDArray[Any]:
    """Return what `numpy.empty` does, in used memory where there is some.

    The memory is free for the next array as soon as this one and all its views are gone.
    """
    size = math.prod(shape) * np.dtype(dtype).itemsize
    if not LEAST <= size <= MOST:
        return np.empty(shape, dtype)
    return np.asarray(_Lease(_taken(size)))[:size].view(dtype).reshape(shape)


def lasting(shape: tuple[int, ...], dtype: DTypeLike) -> NDArray[Any]:
    """Return what `numpy.empty` does, in memory that goes back to the kernel when the array dies.

    For arrays that live much longer than those beside them: malloc's heap would be full of holes.
    """
    size = math.prod(shape) * np.dtype(dtype).itemsize
    if size < mmap.PAGESIZE:
        return np.empty(shape, dtype)
    own = mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    return np.frombuffer(own, dtype).reshape(shape)


def clear() -> None:
    """Give up the memory that waits for the next array."""
    _spare.clear()


def release_free_memory() -> None:
    """Return free pages of malloc's arenas to the system: many, after a library has compiled something."""
    libc = ctypes.CDLL(None)
    if hasattr(libc, "malloc_trim"):
        libc.malloc_trim(0)


def _taken(size: int) -> NDArray[np.uint8]:
    """Return a spare buffer that is large enough and not far too large, else a new one."""
    for _ in range(SPARE):
        try:
            buffer = _spare.popleft()
        except IndexError:
            break
        if size <= buffer.size <= 1.5 * size:
            return buffer
        _spare.append(buffer)
    return np.empty(size, np.uint8)


class _Lease:
    """Owns a buffer as long as an array lies in it."""

    def __init__(self, buffer: NDArray[np.uint8]) -> None:
        self.buffer = buffer
        self.__array_interface__ = buffer.__array_interface__

    def __del__(self) -> None:
        _spare.append(self.buffer)
