"""What keeps moving boundaries apart: no corner of another may lie where a line is moved over."""

import contextlib
import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO

import numpy as np
from numba import njit
from numpy.typing import NDArray
from rasterio.windows import Window

from geoseg.core.files import as_output_error


@dataclass(frozen=True)
class Corners:
    """Where boundaries turn, branch or cross, in a part of the map: what the guard looks at."""

    bits: NDArray[np.uint8]
    """One bit a corner, eight in a byte along a row, the first in the highest bit; shape (rows, bytes)."""
    origin: tuple[int, int]
    """Corner (y, x) of the first bit."""

    @classmethod
    def pack(cls, found: NDArray[np.bool_], origin: tuple[int, int]) -> "Corners":
        """Pack corners, shape (rows, cols)."""
        return cls(np.packbits(found, axis=1), origin)

    def add(self, found: "Corners", cols: int) -> None:
        """Put the corners of a block in, `cols` in a row; the last ones are its neighbours' too."""
        row, (at, shift) = found.origin[0], divmod(found.origin[1], 8)
        plane = np.unpackbits(found.bits, axis=1, count=cols)
        packed = np.packbits(np.pad(plane, ((0, 0), (shift, 0))), axis=1)
        self.bits[row : row + len(packed), at : at + packed.shape[1]] |= packed


NO_CORNERS = Corners(np.empty((0, 0), np.uint8), (0, 0))


def _fill(file: IO[bytes], size: tuple[int, int]) -> None:
    # Written, not only made long: a hole that the disk cannot fill later would kill the process.
    for _ in range(size[0]):
        file.write(bytes(size[1]))
    file.flush()


def _size(shape: tuple[int, int]) -> tuple[int, int]:
    """Return rows and bytes in a row of the corners of a map."""
    return shape[0] + 1, math.ceil((shape[1] + 1) / 8)


@contextlib.contextmanager
def open_corners(shape: tuple[int, int], folder: Path) -> Iterator[Corners]:
    """Give room for all corners of a map, in a temporary file that the memory of a process need not hold.

    Parameters
    ----------
    shape
        Rows and columns of the map.
    folder
        Where the file lies.

    Raises
    ------
    OutputError
        When there is no room.
    """
    size = _size(shape)
    with contextlib.ExitStack() as stack:
        with as_output_error(folder):
            file = stack.enter_context(TemporaryFile(dir=folder))
            _fill(file, size)
        yield Corners(np.memmap(file, np.uint8, "r+", shape=size), (0, 0))


def write_obstacles(path: Path, corners: Iterable[tuple[int, int]], shape: tuple[int, int]) -> None:
    """Write corners (y, x) of a map of `shape` as a file of one bit for each corner.

    Raises
    ------
    OutputError
        When the file cannot be written.
    """
    size = _size(shape)
    with as_output_error(path), path.open("wb") as file:
        _fill(file, size)
    bits = np.memmap(path, np.uint8, "r+", shape=size)
    for y, x in corners:
        bits[y, x >> 3] |= 128 >> (x & 7)
    bits.flush()


def read_obstacles(path: Path, shape: tuple[int, int], window: Window) -> NDArray[np.bool_]:
    """Return where obstacles are among the corners of a block, shape (rows + 1, cols + 1)."""
    at, shift = divmod(window.col_off, 8)
    cols = window.width + 1
    rows = slice(window.row_off, window.row_off + window.height + 1)
    bits = np.memmap(path, np.uint8, "r", shape=_size(shape))[rows, at : at + (shift + cols + 7) // 8]
    return np.unpackbits(bits, axis=1, count=shift + cols)[:, shift:].astype(np.bool_)


@njit(nogil=True, cache=True)
def on_frame(vertices, a, height, width):
    """Say whether a chain runs along the map's frame; it then does so all along."""
    y0, x0, y1, x1 = vertices[a, 0], vertices[a, 1], vertices[a + 1, 0], vertices[a + 1, 1]
    return (y0 == y1 and y0 in (0, height)) or (x0 == x1 and x0 in (0, width))


@njit(nogil=True, cache=True)
def is_free(vertices, start, stop, a, b, c, kept, index, corners):
    """Say whether a closed triangle holds no corner but its own and those that its arc has lost.

    Returns the answer and the arc's index of vertices, which is made when it is first needed.
    """
    top = min(vertices[a, 0], vertices[b, 0], vertices[c, 0])
    bottom = max(vertices[a, 0], vertices[b, 0], vertices[c, 0])
    for y in range(top, bottom + 1):
        low, high = np.int64(1 << 62), np.int64(-1)
        for p, q in ((a, b), (b, c), (c, a)):
            py, px, qy, qx = vertices[p, 0], vertices[p, 1], vertices[q, 0], vertices[q, 1]
            if y < min(py, qy) or y > max(py, qy):
                continue
            if py == qy:
                low, high = min(low, px, qx), max(high, px, qx)
                continue
            rise = np.int64(y - py) * np.int64(qx - px)
            run = np.int64(qy - py)
            low = min(low, px - (-rise // run))
            high = max(high, px + rise // run)
        for x in range(low, high + 1):
            if not _is_corner(corners, y, x):
                continue
            if (
                (y == vertices[a, 0] and x == vertices[a, 1])
                or (y == vertices[b, 0] and x == vertices[b, 1])
                or (y == vertices[c, 0] and x == vertices[c, 1])
            ):
                continue
            hinders, index = _hinders(vertices, start, stop, y, x, kept, index)
            if hinders:
                return False, index
    return True, index


@njit(nogil=True, cache=True)
def is_clear(vertices, start, stop, b, py, px, qy, qx, kept, index, corners):
    """As `is_free`, for the triangle of a vertex b and two points on its edges."""
    by, bx = float(vertices[b, 0]), float(vertices[b, 1])
    for y in range(int(np.ceil(min(by, py, qy))), int(np.floor(max(by, py, qy))) + 1):
        for x in range(int(np.ceil(min(bx, px, qx))), int(np.floor(max(bx, px, qx))) + 1):
            if not _is_corner(corners, y, x) or (y == by and x == bx):
                continue
            one = (py - by) * (x - bx) - (px - bx) * (y - by)
            two = (qy - py) * (x - px) - (qx - px) * (y - py)
            three = (by - qy) * (x - qx) - (bx - qx) * (y - qy)
            if (one >= 0 and two >= 0 and three >= 0) or (one <= 0 and two <= 0 and three <= 0):
                hinders, index = _hinders(vertices, start, stop, y, x, kept, index)
                if hinders:
                    return False, index
    return True, index


@njit(nogil=True, cache=True)
def _is_corner(corners, y, x):
    bits, row0, col0 = corners
    column = x - col0
    return bits[y - row0, column >> 3] >> (7 - (column & 7)) & 1


@njit(nogil=True, cache=True)
def _hinders(vertices, start, stop, y, x, kept, index):
    """Say whether a corner is another arc's, or a vertex that its own arc still has; return the index too."""
    if len(index) == 0:
        index = _index(vertices, start, stop)
    k = _look_up(vertices, index, y, x)
    return k < 0 or kept[k], index


@njit(nogil=True, cache=True)
def _index(vertices, start, stop):
    """Return a hash table of an arc's vertices, with open addressing."""
    size = 4
    while size < 2 * (stop - start):
        size *= 2
    table = np.full(size, -1, np.int64)
    for k in range(start, stop):
        slot = _hash(vertices[k, 0], vertices[k, 1], size)
        while table[slot] >= 0:
            slot = (slot + 1) % size
        table[slot] = k
    return table


@njit(nogil=True, cache=True)
def _look_up(vertices, table, y, x):
    """Return which vertex of the arc lies at a corner, -1 for none."""
    size = len(table)
    slot = _hash(y, x, size)
    while table[slot] >= 0:
        k = table[slot]
        if vertices[k, 0] == y and vertices[k, 1] == x:
            return k
        slot = (slot + 1) % size
    return np.int64(-1)


@njit(nogil=True, cache=True)
def _hash(y, x, size):
    return (np.int64(y) * 73856093 ^ np.int64(x) * 19349663) & (size - 1)
