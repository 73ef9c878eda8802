"""Whether polygons form a coverage, decided by their edges.

The number of polygons over a point is the winding number of all edges around it. Edges that two neighbours
share cancel out. So when every edge except the outline is shared, valid polygons cover each point within the
outline exactly once: no gap, no overlap, no sliver. (`shapely.coverage_is_valid` checks the same, but takes
minutes when a polygon has thousands of neighbours.)
"""

from dataclasses import dataclass

import numpy as np
import shapely
from numpy.typing import NDArray


@dataclass(frozen=True)
class Edges:
    """Edges of polygons that break the coverage, or belong to its outline."""

    lonely: NDArray[np.float64]
    """Both ends (x, y, x, y) of the edges that only one polygon has, shape (N, 4)."""
    wrong: NDArray[np.float64]
    """Midpoints (x, y) of the edges with two polygons on one side, or more than two in all, shape (M, 2)."""

    @property
    def middles(self) -> NDArray[np.float64]:
        """Midpoints (x, y) of the edges that only one polygon has, shape (N, 2)."""
        return _middles(self.lonely)


def unshared_edges(geometry: NDArray[np.object_]) -> Edges:
    """Return the edges that are not shared: no other polygon has the same edge in reverse.

    Parameters
    ----------
    geometry
        Valid polygons or multipolygons.
    """
    rings = shapely.get_rings(shapely.orient_polygons(shapely.get_parts(geometry)))
    xy, ring = shapely.get_coordinates(rings, return_index=True)
    inside = ring[1:] == ring[:-1]
    start, stop = xy[:-1][inside], xy[1:][inside]
    forward = (start[:, 0] < stop[:, 0]) | ((start[:, 0] == stop[:, 0]) & (start[:, 1] < stop[:, 1]))
    low, high = np.where(forward[:, None], start, stop), np.where(forward[:, None], stop, start)
    line = np.hstack([low, high])
    order = np.lexsort(line.T)
    line, sign = line[order], np.where(forward[order], 1, -1)
    if not len(line):
        return Edges(np.empty((0, 4)), np.empty((0, 2)))
    first = np.flatnonzero(np.r_[True, (line[1:] != line[:-1]).any(axis=1)])
    count, balance = np.diff(np.r_[first, len(line)]), np.add.reduceat(sign, first)
    wrong = (count > 2) | ((count == 2) & (balance != 0))
    return Edges(line[first][count == 1], _middles(line[first][wrong]))


def _middles(line: NDArray[np.float64]) -> NDArray[np.float64]:
    return (line[:, :2] + line[:, 2:]) / 2
