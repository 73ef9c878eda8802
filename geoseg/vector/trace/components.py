"""Connected regions of a block of values."""

from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numba import njit
from numpy.typing import NDArray

T = TypeVar("T", bound=np.generic)

NONE, OUTSIDE = -1, -2
"""Values of nodata and of what lies beyond the map. They differ, so that the map's frame is a boundary of
its own where nodata reaches it. Negative, so that they never meet a class."""

_PLACES = np.uint64(0x0001020304050607)
"""Times 2^(8 k) has k in its highest byte."""


@dataclass(frozen=True)
class Runs:
    """The 4-connected regions of equal values of a block, as runs of pixels: each lies in one row.

    Regions have numbers from 1, their *labels*, in scan order of their first pixel.
    """

    shape: tuple[int, int]
    """Rows and columns of the block."""
    starts: NDArray[np.int32]
    """Run i has the pixels starts[i] to starts[i + 1], counted in scan order, shape (R + 1,)."""
    rows: NDArray[np.int32]
    """Row y has the runs rows[y] to rows[y + 1], shape (rows + 1,)."""
    labels: NDArray[np.int32]
    """Region of each run, 0 where values are negative, shape (R,)."""
    values: NDArray[np.int64]
    """Value of each run, shape (R,)."""
    count: int
    """Number of regions."""

    @classmethod
    def of(cls, values: NDArray[np.signedinteger], margin: int = 0) -> "Runs":
        """Find them.

        Union-find over runs (Rosenfeld and Pfaltz 1966; He, Chao and Suzuki 2008).

        Parameters
        ----------
        values
            Shape (rows, cols); negative ones belong to no region.
        margin
            Pixels on each side that do not belong to the block.
        """
        rows, cols = values.shape
        return cls((rows - 2 * margin, cols - 2 * margin), *_runs(values, margin))

    @property
    def lengths(self) -> NDArray[np.int32]:
        """Pixels of each run, shape (R,)."""
        return np.diff(self.starts)

    @property
    def firsts(self) -> NDArray[np.int64]:
        """First run of each region, shape (count,)."""
        before = np.append(0, np.maximum.accumulate(self.labels)[:-1])
        return np.flatnonzero(self.labels > before)

    def painted(self, numbers: NDArray[T]) -> NDArray[T]:
        """Return an image of the block, shape (rows, cols), from what each run has, shape of it (R,)."""
        return np.repeat(numbers, self.lengths).reshape(self.shape)


@njit(nogil=True, cache=True)
def _runs(values, margin):
    rows, cols = values.shape[0] - 2 * margin, values.shape[1] - 2 * margin
    starts = np.empty(rows * (cols // 16 + 1) + 1, np.int32)
    labels = np.empty(len(starts), np.int32)
    found = np.empty(len(starts), np.int64)
    first = np.zeros(rows + 1, np.int32)
    parent = np.zeros(1024, np.int32)
    # One byte for each pixel of a row, 1 where a run begins; in words eight of them are looked at at once.
    words = np.zeros(cols // 8 + 1, np.uint64)
    begins = words.view(np.uint8)
    begins[0] = 1
    n, count = 0, 0
    for y in range(rows):
        line = values[y + margin, margin : margin + cols]
        for x in range(1, cols):
            begins[x] = line[x] != line[x - 1]
        if n + cols >= len(starts):
            starts, labels, found = grown(starts, n + cols), grown(labels, n + cols), grown(found, n + cols)
        origin = y * cols
        for i in range(len(words)):
            word = words[i]
            while word:
                lowest = word & (~word + np.uint64(1))
                begin = 8 * i + np.int64(lowest * _PLACES >> np.uint64(56))
                starts[n], found[n] = origin + begin, line[begin]
                n += 1
                word ^= lowest
        starts[n] = origin + cols
        first[y + 1] = n
        if count + n - first[y] >= len(parent):
            parent = grown(parent, count + cols)
        above = first[max(y - 1, 0)]
        for k in range(first[y], n):
            label = np.int32(0)
            if found[k] >= 0:
                begin, end = starts[k] - cols, starts[k + 1] - cols
                while above < first[y] and starts[above + 1] <= begin:
                    above += 1
                over = above
                while over < first[y] and starts[over] < end:
                    if found[over] == found[k]:
                        label = unite(parent, label, labels[over]) if label else labels[over]
                    over += 1
                if label == 0:
                    count += 1
                    label = np.int32(count)
                    parent[count] = label
            labels[k] = label
    number = np.zeros(count + 1, np.int32)
    regions = 0
    for i in range(1, count + 1):
        root = find(parent, i)
        if root == i:
            regions += 1
            number[i] = regions
        else:
            number[i] = number[root]
    for i in range(n):
        labels[i] = number[labels[i]]
    return starts[: n + 1], first, labels[:n], found[:n], regions


@njit(nogil=True, cache=True)
def grown(array, size):
    """Return an array that begins with another, of more than `size` and of twice its length at least."""
    longer = np.empty((max(2 * len(array), size + 1), *array.shape[1:]), array.dtype)
    longer[: len(array)] = array
    return longer


@njit(nogil=True, cache=True)
def find(parent: NDArray[np.int32], i: int) -> int:
    """Return the root of a member of a union-find forest, and shorten the way to it."""
    while parent[i] != i:
        parent[i] = parent[parent[i]]
        i = parent[i]
    return i


@njit(nogil=True, cache=True)
def unite(parent: NDArray[np.int32], a: int, b: int) -> int:
    """Put two trees of a union-find forest together; the smaller root stays, and is returned."""
    a, b = find(parent, a), find(parent, b)
    if a < b:
        parent[b] = a
        return a
    parent[a] = b
    return b


@njit(nogil=True, cache=True)
def unite_all(parent: NDArray[np.int32], a: NDArray[np.int32], b: NDArray[np.int32]) -> None:
    """Unite the trees of a[i] and b[i] for every i."""
    for i in range(len(a)):
        unite(parent, a[i], b[i])


@njit(nogil=True, cache=True)
def roots(parent: NDArray[np.int32]) -> NDArray[np.int32]:
    """Return the root of every member, shape as `parent`."""
    found = np.empty_like(parent)
    for i in range(len(parent)):
        found[i] = find(parent, i)
    return found
