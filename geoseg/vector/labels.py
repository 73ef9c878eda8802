"""Connected regions of a block of values."""

import numpy as np
from numba import njit
from numpy.typing import NDArray

NONE, OUTSIDE = -1, -2
"""Values of nodata and of what lies beyond the map. They differ, so that the map's frame is a boundary of
its own where nodata reaches it. Negative, so that they never meet a class."""


@njit(nogil=True, cache=True)
def label(values: NDArray[np.signedinteger]) -> tuple[NDArray[np.int32], int]:
    """Return numbers of the 4-connected regions of equal values, from 1 in scan order of their first pixel.

    Two passes with union-find (Rosenfeld and Pfaltz 1966).

    Parameters
    ----------
    values
        Shape (rows, cols); negative ones belong to no region.

    Returns
    -------
    tuple
        Labels of the same shape, 0 for none, and the number of regions.
    """
    rows, cols = values.shape
    labels = np.zeros((rows, cols), np.int32)
    parent = np.zeros(1024, np.int32)
    count = 0
    for y in range(rows):
        for x in range(cols):
            value = values[y, x]
            if value < 0:
                continue
            up = labels[y - 1, x] if y > 0 and values[y - 1, x] == value else 0
            left = labels[y, x - 1] if x > 0 and values[y, x - 1] == value else 0
            if up == 0 and left == 0:
                count += 1
                if count == len(parent):
                    grown = np.zeros(2 * len(parent), np.int32)
                    grown[:count] = parent
                    parent = grown
                parent[count] = count
                labels[y, x] = count
            elif up == 0 or left == 0 or up == left:
                labels[y, x] = max(up, left)
            else:
                labels[y, x] = unite(parent, up, left)
    number = np.zeros(count + 1, np.int32)
    regions = 0
    for i in range(1, count + 1):
        root = find(parent, i)
        if root == i:
            regions += 1
            number[i] = regions
        else:
            number[i] = number[root]
    for y in range(rows):
        for x in range(cols):
            labels[y, x] = number[labels[y, x]]
    return labels, regions


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
