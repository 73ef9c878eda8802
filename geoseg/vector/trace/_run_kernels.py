"""Loops over pixels and runs of pixels: connected regions, and sums over them."""

import numpy as np
from numpy.typing import NDArray

from geoseg.core.compiled import compiled
from geoseg.core.legend import NODATA

_BYTE_OF_BIT = np.uint64(0x0001020304050607)
"""The product with 2^(8 k) has k in its highest byte."""


@compiled
def find_runs(values, margin):
    """Return the fields of `Runs` but the first: starts, rows, labels, values and the number of regions."""
    rows, cols = values.shape[0] - 2 * margin, values.shape[1] - 2 * margin
    starts = np.empty(rows * (cols // 16 + 1) + 1, np.int32)
    labels = np.empty(len(starts), np.int32)
    found = np.empty(len(starts), np.int64)
    first = np.zeros(rows + 1, np.int32)
    parent = np.zeros(1024, np.int32)
    # One byte for each pixel of a row, 1 where a run begins; as words they are tested eight at a time.
    words = np.zeros(cols // 8 + 1, np.uint64)
    begins = words.view(np.uint8)
    begins[0] = 1
    n, count = 0, 0
    for y in range(rows):
        line = values[y + margin, margin : margin + cols]
        for x in range(1, cols):
            begins[x] = line[x] != line[x - 1]
        if n + cols >= len(starts):
            starts, labels, found = (
                enlarged(starts, n + cols),
                enlarged(labels, n + cols),
                enlarged(found, n + cols),
            )
        origin = y * cols
        for i in range(len(words)):
            word = words[i]
            while word:
                lowest = word & (~word + np.uint64(1))
                begin = 8 * i + np.int64(lowest * _BYTE_OF_BIT >> np.uint64(56))
                starts[n], found[n] = origin + begin, line[begin]
                n += 1
                word ^= lowest
        starts[n] = origin + cols
        first[y + 1] = n
        if count + n - first[y] >= len(parent):
            parent = enlarged(parent, count + cols)
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
        root = find_root(parent, i)
        if root == i:
            regions += 1
            number[i] = regions
        else:
            number[i] = number[root]
    for i in range(n):
        labels[i] = number[labels[i]]
    return starts[: n + 1], first, labels[:n], found[:n], regions


@compiled
def enlarged(array, size):
    """Return a copy of an array with room for more than `size` entries, at least twice as many as before."""
    longer = np.empty((max(2 * len(array), size + 1), *array.shape[1:]), array.dtype)
    longer[: len(array)] = array
    return longer


@compiled
def find_root(parent: NDArray[np.int32], i: int) -> int:
    """Return the root of a member of a union-find forest; halve the path to it."""
    while parent[i] != i:
        parent[i] = parent[parent[i]]
        i = parent[i]
    return i


@compiled
def unite(parent: NDArray[np.int32], a: int, b: int) -> int:
    """Join two trees of a union-find forest; return the smaller root, which becomes the root of both."""
    a, b = find_root(parent, a), find_root(parent, b)
    if a < b:
        parent[b] = a
        return a
    parent[a] = b
    return b


@compiled
def unite_all(parent: NDArray[np.int32], a: NDArray[np.int32], b: NDArray[np.int32]) -> None:
    """Join the trees of a[i] and b[i] for every i."""
    for i in range(len(a)):
        unite(parent, a[i], b[i])


@compiled
def find_roots(parent: NDArray[np.int32]) -> NDArray[np.int32]:
    """Return the root of every member, shape of `parent`."""
    found = np.empty_like(parent)
    for i in range(len(parent)):
        found[i] = find_root(parent, i)
    return found


@compiled
def sum_pixels(starts, labels, values, count, percent, threshold, known, levels, measured):
    """Return the fields of `Stats` for the regions of a block.

    `percent` is empty unless `known`, `levels` unless `measured`.
    """
    value, pixels = np.zeros(count, np.int64), np.zeros(count, np.int64)
    total, doubtful = np.zeros(count, np.int64), np.zeros(count, np.int64)
    minimum = np.full(count, 100 if known else 0, np.int64)
    distance = np.zeros(count, np.int64)
    for run in range(len(labels)):
        i = labels[run] - 1
        if i < 0:
            continue
        value[i] = values[run]
        pixels[i] += starts[run + 1] - starts[run]
        if known:
            for k in percent[starts[run] : starts[run + 1]]:
                total[i] += k
                minimum[i] = min(minimum[i], k)
                doubtful[i] += k < threshold
        if measured:
            for k in levels[starts[run] : starts[run + 1]]:
                distance[i] += k
    return value, pixels, total, minimum, doubtful, distance, np.zeros(count, np.bool_)


@compiled
def place_classes(classes, values, top, left, none):
    """Write classes into `values` with its first pixel at (top, left), `none` for nodata; return `values`."""
    rows, cols = classes.shape
    for y in range(rows):
        line = values[top + y, left : left + cols]
        for x in range(cols):
            line[x] = none if classes[y, x] == NODATA else classes[y, x]
    return values
