"""Arcs: complete boundaries between two regions, as polygons are assembled from."""

from dataclasses import dataclass, replace

import numpy as np
from numba import njit
from numpy.typing import NDArray

from geoseg.vector.trace.chains import Chains, offsets_of, take

Vertices = NDArray[np.int32] | NDArray[np.float64]


@dataclass(frozen=True)
class Arcs:
    """Arcs with what their pixel edges said before anything was simplified.

    Which arc follows which around a region, and which ring is its shell, is decided by pixel edges, in whole
    numbers; moving vertices cannot change it.
    """

    vertices: Vertices
    """(y, x) in pixels from the map's north-west corner, shape (V, 2)."""
    offsets: NDArray[np.int64]
    """Arc i has vertices[offsets[i]:offsets[i + 1]], shape (A + 1,)."""
    sides: NDArray[np.int32]
    """Region left and right when y points down, 0 for none, shape (A, 2)."""
    corners: NDArray[np.int64]
    """First and last corner as y << 32 | x; those of a loop are its first, shape (A, 2)."""
    headings: NDArray[np.int8]
    """Direction (E, S, W, N as 0 to 3) of the first and the last pixel edge, shape (A, 2)."""
    area2: NDArray[np.int64]
    """Twice the area that the arc sweeps, seen from the map's corner, left side positive, shape (A,)."""

    def __len__(self) -> int:
        return len(self.sides)

    def moved(self, vertices: Vertices, offsets: NDArray[np.int64]) -> "Arcs":
        """Return the same arcs with other vertices."""
        return replace(self, vertices=vertices, offsets=offsets)

    def renumbered(self, number: NDArray[np.int32]) -> "Arcs":
        """Return the same arcs, region i called number[i]; negative ones count from the end."""
        return replace(self, sides=number[self.sides])

    def bounding(self) -> "Arcs":
        """Return those that have a region on a side."""
        chosen = self.sides.any(axis=1)
        vertices, offsets = take(self.vertices, self.offsets, np.flatnonzero(chosen))
        return Arcs(
            vertices,
            offsets,
            self.sides[chosen],
            self.corners[chosen],
            self.headings[chosen],
            self.area2[chosen],
        )


def arcs_of(chains: Chains) -> Arcs:
    """Return complete chains as arcs."""
    corners, headings, area2 = _ends(chains.vertices, chains.offsets)
    return Arcs(chains.vertices, chains.offsets, chains.sides, corners, headings, area2)


def concatenate(many: list[Arcs]) -> Arcs:
    """Return all arcs of many."""
    return Arcs(
        np.concatenate([a.vertices for a in many]),
        offsets_of(np.concatenate([np.diff(a.offsets) for a in many])),
        np.concatenate([a.sides for a in many]),
        np.concatenate([a.corners for a in many]),
        np.concatenate([a.headings for a in many]),
        np.concatenate([a.area2 for a in many]),
    )


@njit(nogil=True, cache=True)
def _ends(vertices, offsets):
    count = len(offsets) - 1
    corners = np.empty((count, 2), np.int64)
    headings = np.empty((count, 2), np.int8)
    area2 = np.zeros(count, np.int64)
    for i in range(count):
        a, b = offsets[i], offsets[i + 1] - 1
        corners[i, 0] = np.int64(vertices[a, 0]) << 32 | np.int64(vertices[a, 1])
        corners[i, 1] = np.int64(vertices[b, 0]) << 32 | np.int64(vertices[b, 1])
        headings[i, 0] = _heading(vertices[a], vertices[a + 1])
        headings[i, 1] = _heading(vertices[b - 1], vertices[b])
        for k in range(a, b):
            y0, x0 = np.int64(vertices[k, 0]), np.int64(vertices[k, 1])
            y1, x1 = np.int64(vertices[k + 1, 0]), np.int64(vertices[k + 1, 1])
            area2[i] += y0 * x1 - y1 * x0
    return corners, headings, area2


@njit(nogil=True, cache=True)
def _heading(start, end):
    if start[0] == end[0]:
        return 0 if end[1] > start[1] else 2
    return 1 if end[0] > start[0] else 3
