"""From arcs to the rings of regions."""

from dataclasses import dataclass

import numpy as np
from numba import njit
from numpy.typing import NDArray

from geoseg.vector.arcs import Arcs, Vertices


@dataclass(frozen=True)
class Rings:
    """Closed outlines of regions, shells before their holes."""

    vertices: Vertices
    """(y, x) in pixels; the last vertex of a ring is its first, shape (V, 2)."""
    offsets: NDArray[np.int64]
    """Ring i has vertices[offsets[i]:offsets[i + 1]], shape (R + 1,)."""
    polygons: NDArray[np.int64]
    """Polygon j has the rings polygons[j] to polygons[j + 1], the first is its shell, shape (P + 1,)."""
    regions: NDArray[np.int32]
    """Region of each polygon, ascending, shape (P,)."""


def assemble(arcs: Arcs, wanted: NDArray[np.int32]) -> Rings:
    """Put together the rings of regions that are complete.

    A 4-connected region has one shell. Where it meets itself in a corner its rings part there: with the
    region on the left, turn right.

    Parameters
    ----------
    arcs
        All that bound the wanted regions, and maybe others.
    wanted
        Region left and right of each arc that rings are wanted of, 0 for others, shape (A, 2).
    """
    count = len(arcs)
    region = wanted.T.reshape(-1)  # first all arcs forwards, with their left side; then all backwards
    directed = np.flatnonzero(region)
    arc, backward = directed % max(count, 1), directed >= count
    own = region[directed]
    first, last = arcs.offsets[:-1][arc], arcs.offsets[1:][arc] - 1
    step = np.where(backward, -1, 1)
    begin, end = np.where(backward, last, first), np.where(backward, first, last)
    ends = np.where(backward[:, None], arcs.corners[arc, ::-1], arcs.corners[arc])
    # Backwards the last edge is the first, and heads the other way.
    heading = arcs.headings[arc]
    heading = np.where(backward[:, None], (heading[:, ::-1] + 2) % 4, heading)
    area2 = np.where(backward, -arcs.area2[arc], arcs.area2[arc])
    follow = _followers(own, ends, heading, np.argsort(ends[:, 0], kind="stable"))
    starts, regions, areas = _rings(follow, own, area2)
    # By region, its shell before its holes, those by their appearance.
    order = np.lexsort((areas < 0, regions))
    found, polygons = np.unique(regions[order], return_index=True)
    vertices, offsets = _draw(arcs.vertices, begin, end, step, follow, starts[order])
    return Rings(vertices, offsets, np.append(polygons, len(regions)), found.astype(np.int32))


@njit(nogil=True, cache=True)
def _followers(own, ends, heading, order):
    """Return which directed arc goes on where one ends, for the region on their left.

    `order` sorts the arcs by the corner at which they begin.
    """
    count = len(own)
    follow = np.empty(count, np.int64)
    for i in range(count):
        corner = ends[i, 1]
        low, high = 0, count
        while low < high:
            middle = (low + high) // 2
            if ends[order[middle], 0] < corner:
                low = middle + 1
            else:
                high = middle
        # At most two arcs leave a corner with the same region on their left.
        while low < count and ends[order[low], 0] == corner:
            candidate = order[low]
            if own[candidate] == own[i]:
                follow[i] = candidate
                if heading[candidate, 0] == (heading[i, 1] + 1) % 4:
                    break
            low += 1
    return follow


@njit(nogil=True, cache=True)
def _rings(follow, own, area2):
    """Return for each ring an arc that it can begin with, its region and twice its area."""
    count = len(follow)
    done = np.zeros(count, np.bool_)
    starts, regions, areas = np.empty(count, np.int64), np.empty(count, np.int32), np.zeros(count, np.int64)
    rings = 0
    for i in range(count):
        if done[i]:
            continue
        starts[rings], regions[rings] = i, own[i]
        current = i
        while not done[current]:
            done[current] = True
            areas[rings] += area2[current]
            current = follow[current]
        rings += 1
    return starts[:rings].copy(), regions[:rings].copy(), areas[:rings].copy()


@njit(nogil=True, cache=True)
def _draw(vertices, begin, end, step, follow, starts):
    """Return the vertices of rings, each closed, and where each begins and ends."""
    total = len(starts)
    for i in range(len(begin)):
        total += abs(end[i] - begin[i])
    out = np.empty((total, 2), vertices.dtype)
    offsets = np.zeros(len(starts) + 1, np.int64)
    n = 0
    for ring in range(len(starts)):
        first = n
        current = starts[ring]
        while True:
            k = begin[current]
            while k != end[current]:
                out[n, 0], out[n, 1] = vertices[k, 0], vertices[k, 1]
                n += 1
                k += step[current]
            current = follow[current]
            if current == starts[ring]:
                break
        out[n, 0], out[n, 1] = out[first, 0], out[first, 1]
        n += 1
        offsets[ring + 1] = n
    return out, offsets
