"""Simplifying and smoothing arcs so that polygons stay a coverage.

An arc is simplified once, so both its regions keep the same line. A vertex b between a and c is removed only
when the closed triangle a b c holds no corner of another arc, as it was traced, and no vertex that its own
arc still has. Such a step moves the line over empty ground: it cannot cross or touch another line, however
that one is simplified. So arcs are simplified in any order, in parallel, and the result needs no repair.

One of two methods chooses the vertices to remove:

- Visvalingam and Whyatt 1993: the vertex with the smallest triangle first, as long as triangles are smaller
  than the square of the tolerance;
- Douglas and Peucker 1973: the vertices within the tolerance of the remaining line. Where the guard forbids a
  removal, the vertex stays.
"""

import numpy as np
from numpy.typing import NDArray

from geoseg.vector.recipe import Generalize
from geoseg.vector.shape import _line_kernels
from geoseg.vector.shape.guard import Corners
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
        Method and tolerances.
    shape
        Rows and columns of the map; lines along its frame do not move.
    """
    arcs = arcs_of(chains)
    if not how.needs_corners or not len(chains):
        return arcs
    around = (corners.bits, corners.origin[0], corners.origin[1])
    loops = chains.ends[:, 0] == LOOP
    kept = np.ones(len(chains.vertices), np.bool_)
    if how.tolerance > 0:
        visvalingam = how.method == "visvalingam"
        kept = _line_kernels.thin(
            chains.vertices, chains.offsets, loops, around, *shape,
            2.0 * how.tolerance**2 if visvalingam else np.inf, 0.0 if visvalingam else how.tolerance,
        )  # fmt: skip
    if how.smooth > 0:
        vertices, offsets = _line_kernels.smooth(
            chains.vertices, chains.offsets, loops, kept, around, *shape, how.smooth
        )
        return arcs.with_vertices(vertices, offsets)
    lengths = np.add.reduceat(kept, chains.offsets[:-1], dtype=np.int64)
    return arcs.with_vertices(_closed(chains, kept), offsets_of(lengths))


def _closed(chains: Chains, kept: NDArray[np.bool_]) -> NDArray[np.int32]:
    """Return the kept vertices; a loop that lost its first vertex ends at its first kept one."""
    vertices = chains.vertices.copy()
    lost = np.flatnonzero(~kept[chains.offsets[:-1]])
    for i in lost.tolist():
        a, b = chains.offsets[i], chains.offsets[i + 1]
        vertices[b - 1] = vertices[a + np.argmax(kept[a:b])]
    return vertices[kept]
