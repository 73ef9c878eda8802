"""From arcs to the rings of regions."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from geoseg.vector.trace import _arc_kernels
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


def assemble(arcs: Arcs, sides: NDArray[np.int32]) -> Rings:
    """Assemble the rings of regions.

    A 4-connected region has one shell. Where it touches itself in a corner, its rings are separated: with the
    region on its left, a ring turns right there.

    Parameters
    ----------
    arcs
        All arcs that bound the regions, and maybe others.
    sides
        Region left and right of each arc, 0 where no ring of that region is made, shape (A, 2).
    """
    which = np.flatnonzero(sides.any(axis=1))
    first, last = arcs.offsets[which], arcs.offsets[which + 1] - 1
    # Ways along arcs, with the region on their left: all forwards, then all backwards.
    region = sides[which].T.reshape(-1)
    shift = np.uint64(64 - max(1, len(region).bit_length()))
    follow = _arc_kernels.find_followers(region, arcs.corners[which], arcs.headings[which], shift)
    starts, regions, areas, lengths = _arc_kernels.find_rings(follow, region, arcs.area2[which], last - first)
    # By region, the shell before the holes, the holes in the order in which they were found.
    order = np.lexsort((areas < 0, regions))
    found, polygons = np.unique(regions[order], return_index=True)
    offsets = offsets_of(lengths[order])
    vertices = _arc_kernels.draw_rings(arcs.vertices, first, last, follow, starts[order], offsets)
    return Rings(vertices, offsets, np.append(polygons, len(regions)), found.astype(np.int32))
