"""The corners of a map: no line may move over a corner of another one, see `simplify`."""

import contextlib
import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO

import numpy as np
from numpy.typing import NDArray

from geoseg.core.files import as_output_error
from geoseg.core.geometry import Window


@dataclass(frozen=True)
class Corners:
    """The corners where boundaries turn, branch or cross in a part of the map, which the guard tests."""

    bits: NDArray[np.uint8]
    """One bit for each corner, eight in a byte along a row, the first in the highest bit; (rows, bytes)."""
    origin: tuple[int, int]
    """Corner (y, x) of the first bit."""

    @classmethod
    def pack(cls, mask: NDArray[np.bool_], origin: tuple[int, int]) -> "Corners":
        """Pack a mask of corners, shape (rows, cols), whose first one is `origin`."""
        return cls(np.packbits(mask, axis=1), origin)

    def add(self, block: "Corners", cols: int) -> None:
        """Add the corners of a block, `cols` in a row; it shares the outer ones with its neighbours."""
        row, (at, shift) = block.origin[0], divmod(block.origin[1], 8)
        plane = np.unpackbits(block.bits, axis=1, count=cols)
        packed = np.packbits(np.pad(plane, ((0, 0), (shift, 0))), axis=1)
        self.bits[row : row + len(packed), at : at + packed.shape[1]] |= packed


NO_CORNERS = Corners(np.empty((0, 0), np.uint8), (0, 0))


def _fill(file: IO[bytes], size: tuple[int, int]) -> None:
    # Zeros are written: a sparse file that the disk cannot fill later would kill the process.
    for _ in range(size[0]):
        file.write(bytes(size[1]))
    file.flush()


def _size(shape: tuple[int, int]) -> tuple[int, int]:
    """Return the rows of corners of a map, and the bytes of one row."""
    return shape[0] + 1, math.ceil((shape[1] + 1) / 8)


@contextlib.contextmanager
def open_corners(shape: tuple[int, int], folder: Path) -> Iterator[Corners]:
    """Make room for all corners of a map, in a temporary file that is mapped into memory.

    Parameters
    ----------
    shape
        Rows and columns of the map.
    folder
        Folder of the file.

    Raises
    ------
    OutputError
        When there is no room for it.
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
    """Return the mask of obstacles among the corners of a block, shape (rows + 1, cols + 1)."""
    at, shift = divmod(window.cols.start, 8)
    cols = len(window.cols) + 1
    rows = slice(window.rows.start, window.rows.stop + 1)
    bits = np.memmap(path, np.uint8, "r", shape=_size(shape))[rows, at : at + (shift + cols + 7) // 8]
    return np.unpackbits(bits, axis=1, count=shift + cols)[:, shift:].astype(np.bool_)
