"""Memory of large arrays, past malloc.

malloc returns freed memory to the kernel, which clears every page before it hands it out again, or keeps it
in pieces that are too small for the next array. The blocks of a run need arrays of the same few sizes again
and again, and some of their arrays live long.
"""

import ctypes
import math
import mmap
from collections import deque
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

LEAST, MOST = 1 << 22, 1 << 28
"""Bytes of an array whose memory is used again; numpy allocates smaller and larger ones."""

SPARE = 2
"""Free buffers that are kept for the next array."""

# Methods of a deque are atomic. A lock could deadlock: the garbage collector may free an array, which returns
# its buffer, in a thread that holds the lock.
_spare: deque[NDArray[np.uint8]] = deque(maxlen=SPARE)


def empty(shape: tuple[int, ...], dtype: DTypeLike) -> NDArray[Any]:
    """Return an uninitialised array, as `numpy.empty` does, in the memory of an earlier one where possible.

    The next array can use the memory once this array and all its views are deleted.
    """
    size = math.prod(shape) * np.dtype(dtype).itemsize
    if not LEAST <= size <= MOST:
        return np.empty(shape, dtype)
    return np.asarray(_Lease(_take(size)))[:size].view(dtype).reshape(shape)


def lasting(shape: tuple[int, ...], dtype: DTypeLike) -> NDArray[Any]:
    """Return an uninitialised array in memory that returns to the kernel when the array is deleted.

    For arrays that live much longer than those allocated around them, which would leave holes in the heap of
    malloc.
    """
    size = math.prod(shape) * np.dtype(dtype).itemsize
    if size < mmap.PAGESIZE:
        return np.empty(shape, dtype)
    own = mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    return np.frombuffer(own, dtype).reshape(shape)


def clear() -> None:
    """Free the buffers that are kept for the next array."""
    _spare.clear()


def release_free_memory() -> None:
    """Return free pages of malloc's arenas to the system: many, after a library has compiled something."""
    libc = ctypes.CDLL(None)
    if hasattr(libc, "malloc_trim"):
        libc.malloc_trim(0)


def _take(size: int) -> NDArray[np.uint8]:
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
    """Owns a buffer while an array uses it; returns it to the spare ones when the array is deleted."""

    def __init__(self, buffer: NDArray[np.uint8]) -> None:
        self.buffer = buffer
        self.__array_interface__ = buffer.__array_interface__

    def __del__(self) -> None:
        _spare.append(self.buffer)
