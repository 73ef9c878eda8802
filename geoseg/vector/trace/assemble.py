"""From arcs to the rings of regions."""

from dataclasses import dataclass

import numpy as np
from numba import njit
from numpy.typing import NDArray

from geoseg.vector.trace.arcs import Arcs, Vertices
from geoseg.vector.trace.chains import offsets_of


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
    which = np.flatnonzero(wanted.any(axis=1))
    first, last = arcs.offsets[which], arcs.offsets[which + 1] - 1
    # Each arc has two ways along it: first all forwards, with their left side; then all backwards.
    region = wanted[which].T.reshape(-1)
    shift = np.uint64(64 - max(1, len(region).bit_length()))
    follow = _followers(region, arcs.corners[which], arcs.headings[which], shift)
    starts, regions, areas, lengths = _rings(follow, region, arcs.area2[which], last - first)
    # By region, its shell before its holes, those by their appearance.
    order = np.lexsort((areas < 0, regions))
    found, polygons = np.unique(regions[order], return_index=True)
    offsets = offsets_of(lengths[order])
    vertices = _draw(arcs.vertices, first, last, follow, starts[order], offsets)
    return Rings(vertices, offsets, np.append(polygons, len(regions)), found.astype(np.int32))


@njit(nogil=True, cache=True)
def _followers(region, corners, headings, shift):
    """Return which way goes on where one ends, for the region on their left, shape as `region`.

    `shift` leaves so many bits of 64 that ways seldom share a place in a table.
    """
    count = len(corners)
    follow = np.empty(2 * count, np.int32)
    # Ways by the corner at which they begin: in each place of a table a linked list.
    head = np.full(1 << (64 - np.int64(shift)), -1, np.int32)
    following = np.empty(2 * count, np.int32)
    for way in range(2 * count):
        if region[way]:
            place = _place(corners[way % count, way // count], shift)
            following[way] = head[place]
            head[place] = way
    for way in range(2 * count):
        if not region[way]:
            continue
        arc, backward = way % count, way // count
        corner = corners[arc, 1 - backward]
        # Backwards the first edge is the last, and heads the other way.
        right = (headings[arc, 1 - backward] + 2 * backward + 1) % 4
        candidate = head[_place(corner, shift)]
        # At most two ways leave a corner with the same region on their left.
        while candidate >= 0:
            arc, backward = candidate % count, candidate // count
            if region[candidate] == region[way] and corners[arc, backward] == corner:
                follow[way] = candidate
                if (headings[arc, backward] + 2 * backward) % 4 == right:
                    break
            candidate = following[candidate]
    return follow


@njit(nogil=True, cache=True)
def _place(corner, shift):
    """Return where in a table a corner has its place, spread by multiplication (Knuth 1973)."""
    return np.uint64(corner) * np.uint64(0x9E3779B97F4A7C15) >> shift


@njit(nogil=True, cache=True)
def _rings(follow, region, area2, edges):
    """Return for each ring a way that it can begin with, its region, twice its area and its vertices."""
    count = len(area2)
    done = np.zeros(2 * count, np.bool_)
    starts, regions = np.empty(2 * count, np.int64), np.empty(2 * count, np.int32)
    areas, lengths = np.zeros(2 * count, np.int64), np.ones(2 * count, np.int64)
    rings = 0
    for way in range(2 * count):
        if done[way] or not region[way]:
            continue
        starts[rings], regions[rings] = way, region[way]
        current = way
        while not done[current]:
            done[current] = True
            arc = current % count
            areas[rings] += area2[arc] if current < count else -area2[arc]
            lengths[rings] += edges[arc]
            current = follow[current]
        rings += 1
    return starts[:rings].copy(), regions[:rings].copy(), areas[:rings].copy(), lengths[:rings].copy()


@njit(nogil=True, cache=True)
def _draw(vertices, first, last, follow, starts, offsets):
    """Return the vertices of rings, each closed, from those that each arc has from `first` to `last`."""
    count = len(first)
    out = np.empty((offsets[-1], 2), vertices.dtype)
    for ring in range(len(starts)):
        n = offsets[ring]
        current = starts[ring]
        while True:
            arc = current % count
            begin, step = (first[arc], 1) if current < count else (last[arc], -1)
            for k in range(last[arc] - first[arc]):
                out[n + k, 0], out[n + k, 1] = vertices[begin + step * k, 0], vertices[begin + step * k, 1]
            n += last[arc] - first[arc]
            current = follow[current]
            if current == starts[ring]:
                break
        out[n] = out[offsets[ring]]
    return out
