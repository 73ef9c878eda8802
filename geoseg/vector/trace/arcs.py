"""Arcs: complete boundaries between two regions, from which polygons are assembled."""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from geoseg.vector.trace import _arc_kernels
from geoseg.vector.trace.chains import Chains, offsets_of

Vertices = NDArray[np.int32] | NDArray[np.float64]


@dataclass(frozen=True)
class Arcs:
    """Arcs, with the corners, headings and areas of their pixel edges before simplification.

    These whole numbers decide which arc follows which around a region, and which ring is its shell; moving
    vertices cannot change it.
    """

    vertices: Vertices
    """(y, x) in pixels from the map's north-west corner, shape (V, 2)."""
    offsets: NDArray[np.int64]
    """Arc i has vertices[offsets[i]:offsets[i + 1]], shape (A + 1,)."""
    sides: NDArray[np.int32]
    """Region left and right of it, with y pointing down; 0 for none; shape (A, 2)."""
    corners: NDArray[np.int64]
    """First and last corner as y << 32 | x, the same for a loop; shape (A, 2)."""
    headings: NDArray[np.int8]
    """Direction (E, S, W, N as 0 to 3) of the first and the last pixel edge, shape (A, 2)."""
    area2: NDArray[np.int64]
    """Twice the area between the arc and the map's corner, left side positive, shape (A,)."""

    def __len__(self) -> int:
        return len(self.sides)

    def with_vertices(self, vertices: Vertices, offsets: NDArray[np.int64]) -> "Arcs":
        """Return the arcs with other vertices."""
        return replace(self, vertices=vertices, offsets=offsets)

    def renumbered(self, number: NDArray[np.int32]) -> "Arcs":
        """Return the arcs with region i renamed to number[i]; negative regions count from the end."""
        return replace(self, sides=number[self.sides])

    def bounding_regions(self) -> "Arcs":
        """Return the arcs with a region on at least one side."""
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

    @classmethod
    def concatenate(cls, many: "list[Arcs]") -> "Arcs":
        """Return the arcs of all parts, one after another."""
        return cls(
            np.concatenate([a.vertices for a in many]),
            offsets_of(np.concatenate([np.diff(a.offsets) for a in many])),
            np.concatenate([a.sides for a in many]),
            np.concatenate([a.corners for a in many]),
            np.concatenate([a.headings for a in many]),
            np.concatenate([a.area2 for a in many]),
        )


def arcs_of(chains: Chains) -> Arcs:
    """Return complete chains as arcs."""
    corners, headings, area2 = _arc_kernels.describe_arcs(chains.vertices, chains.offsets)
    return Arcs(chains.vertices, chains.offsets, chains.sides, corners, headings, area2)
