"""Arcs: complete boundaries between two regions, as polygons are assembled from."""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from geoseg.vector.trace import _arc_kernels
from geoseg.vector.trace.chains import Chains, offsets_of

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
        vertices, offsets = _arc_kernels.take_parts(self.vertices, self.offsets, np.flatnonzero(chosen))
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
    corners, headings, area2 = _arc_kernels.describe_arcs(chains.vertices, chains.offsets)
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
