"""Simplifying and smoothing arcs so that polygons stay a coverage.

An arc is simplified once, so both its neighbours keep the same line. A vertex b between a and c is removed
only when the closed triangle a b c holds no corner of another arc, as traced, and no vertex that its own
arc still has. Such a step moves the line over empty ground: it cannot cross or touch another line, whatever
is done to that one, so arcs are worked on in any order, in parallel, and the result needs no repair.

What to remove is decided by one of two measures:

- Visvalingam and Whyatt 1993: the vertex with the smallest triangle first, while triangles are smaller than
  the square of the tolerance;
- Douglas and Peucker 1973: what lies within the tolerance of the line that remains. Where the guard forbids a
  removal the vertex stays.
"""

import heapq

import numpy as np
from numba import njit
from numpy.typing import NDArray

from geoseg.vector.recipe import Generalize
from geoseg.vector.shape.guard import Corners, is_free, on_frame
from geoseg.vector.shape.smooth import smooth
from geoseg.vector.trace.arcs import Arcs, arcs_of
from geoseg.vector.trace.chains import LOOP, Chains, offsets_of


def generalize(chains: Chains, corners: Corners, how: Generalize, shape: tuple[int, int]) -> Arcs:
    """Return complete chains as arcs, simplified and smoothed.

    Parameters
    ----------
    chains
        Complete arcs in their canonical direction.
    corners
        All corners of the map within the bounds of the chains.
    how
        What to do.
    shape
        Rows and columns of the map: lines along its frame stay.
    """
    arcs = arcs_of(chains)
    if not how.needs_corners or not len(chains):
        return arcs
    around = (corners.bits, corners.origin[0], corners.origin[1])
    loops = chains.ends[:, 0] == LOOP
    kept = np.ones(len(chains.vertices), np.bool_)
    if how.tolerance > 0:
        visvalingam = how.method == "visvalingam"
        kept = _thin(
            chains.vertices, chains.offsets, loops, around, *shape,
            2.0 * how.tolerance**2 if visvalingam else np.inf, 0.0 if visvalingam else how.tolerance,
        )  # fmt: skip
    if how.smooth > 0:
        vertices, offsets = smooth(chains.vertices, chains.offsets, loops, kept, around, *shape, how.smooth)
        return arcs.moved(vertices, offsets)
    lengths = np.add.reduceat(kept, chains.offsets[:-1], dtype=np.int64)
    return arcs.moved(_closed(chains, kept), offsets_of(lengths))


def _closed(chains: Chains, kept: NDArray[np.bool_]) -> NDArray[np.int32]:
    """Return the vertices kept; a loop that lost its first one ends with the first that it kept."""
    vertices = chains.vertices.copy()
    lost = np.flatnonzero(~kept[chains.offsets[:-1]])
    for i in lost.tolist():
        a, b = chains.offsets[i], chains.offsets[i + 1]
        vertices[b - 1] = vertices[a + np.argmax(kept[a:b])]
    return vertices[kept]


@njit(nogil=True, cache=True)
def _thin(vertices, offsets, loops, corners, height, width, limit, tolerance):
    """Return which vertices stay.

    Smallest triangles go first, while twice their area is below `limit`; with a `tolerance` above 0 what
    Douglas and Peucker keep stays.
    """
    kept = np.ones(len(vertices), np.bool_)
    longest = 0
    for i in range(len(offsets) - 1):
        longest = max(longest, offsets[i + 1] - offsets[i])
    before, after = np.empty(longest, np.int64), np.empty(longest, np.int64)
    needed = np.zeros(longest, np.bool_)
    for i in range(len(offsets) - 1):
        a, b = offsets[i], offsets[i + 1]
        if b - a > 2 and not on_frame(vertices, a, height, width):
            if tolerance > 0:
                _douglas_peucker(vertices, a, b, tolerance, needed)
            _thin_one(
                vertices, a, b, loops[i], kept, before, after, needed, corners, limit
            )  # fmt: skip
    return kept


@njit(nogil=True, cache=True)
def _thin_one(vertices, a, b, loop, kept, before, after, needed, corners, limit):
    closed = vertices[a, 0] == vertices[b - 1, 0] and vertices[a, 1] == vertices[b - 1, 1]
    # The last vertex of what closes is its first again.
    count = b - a - 1 if closed else b - a
    for i in range(count):
        before[i], after[i] = i - 1, i + 1
    before[0], after[count - 1] = count - 1, 0
    heap = [(np.int64(0), np.int64(0))]
    heap.pop()
    first = 0 if loop else 1
    last = count if closed else count - 1
    for i in range(first, last):
        area = abs(_twice(vertices, a + before[i], a + i, a + after[i]))
        if area < limit and not needed[i]:
            heapq.heappush(heap, (area, np.int64(i)))
    left = count
    index = np.empty(0, np.int64)
    while heap:
        smallest, k = heapq.heappop(heap)
        p, q = before[k], after[k]
        if not kept[a + k] or smallest != abs(_twice(vertices, a + p, a + k, a + q)):
            continue
        if closed and left == 3:
            break
        if not closed and left == 3 and not _may_be_straight(vertices, a, a + k, b - 1):
            break
        free, index = is_free(vertices, a, a + count, a + p, a + k, a + q, kept, index, corners)
        if not free:
            continue
        kept[a + k] = False
        left -= 1
        after[p], before[q] = q, p
        for n in (p, q):
            if first <= n < last and not needed[n]:
                area = abs(_twice(vertices, a + before[n], a + n, a + after[n]))
                if area < limit:
                    heapq.heappush(heap, (area, np.int64(n)))
    if closed:
        kept[b - 1] = True
    needed[:count] = False


@njit(nogil=True, cache=True)
def _twice(vertices, a, b, c):
    """Return twice the signed area of a triangle, positive when it turns left with y pointing down."""
    ay, ax = np.int64(vertices[a, 0]), np.int64(vertices[a, 1])
    by, bx = np.int64(vertices[b, 0]) - ay, np.int64(vertices[b, 1]) - ax
    cy, cx = np.int64(vertices[c, 0]) - ay, np.int64(vertices[c, 1]) - ax
    return by * cx - bx * cy


@njit(nogil=True, cache=True)
def _may_be_straight(vertices, a, b, c):
    """Say whether an arc may lose its last inner vertex.

    Two arcs with the same ends must not both become straight: what lies between them would vanish. Only one
    that lies left of the line may, and none along a row or a column, where another can be straight from the
    beginning.
    """
    return (
        vertices[a, 0] != vertices[c, 0]
        and vertices[a, 1] != vertices[c, 1]
        and _twice(vertices, a, b, c) > 0
    )


@njit(nogil=True, cache=True)
def _douglas_peucker(vertices, a, b, tolerance, needed):
    """Mark the vertices, counted from `a`, that the method keeps."""
    for k in range(b - a):
        needed[k] = False
    needed[0] = True  # of a loop too: the others were measured from it
    stack = [(np.int64(0), np.int64(b - a - 1))]
    while stack:
        low, high = stack.pop()
        best, far = np.int64(-1), tolerance * tolerance
        for k in range(low + 1, high):
            distance = _distance2(vertices, a + low, a + high, a + k)
            if distance > far:
                best, far = np.int64(k), distance
        if best >= 0:
            needed[best] = True
            stack.append((low, best))
            stack.append((best, high))


@njit(nogil=True, cache=True)
def _distance2(vertices, a, b, p):
    """Return the squared distance of a vertex from a segment."""
    ay, ax = float(vertices[a, 0]), float(vertices[a, 1])
    dy, dx = vertices[b, 0] - ay, vertices[b, 1] - ax
    py, px = vertices[p, 0] - ay, vertices[p, 1] - ax
    length2 = dy * dy + dx * dx
    along = 0.0 if length2 == 0 else min(1.0, max(0.0, (py * dy + px * dx) / length2))
    return (py - along * dy) ** 2 + (px - along * dx) ** 2
