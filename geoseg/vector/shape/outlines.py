"""New outlines of objects, which replace loops of pixel edges."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from geoseg.vector.trace.arcs import Arcs
from geoseg.vector.trace.chains import offsets_of


@dataclass(frozen=True)
class Outline:
    """The new outline of one object."""

    key: int
    """First corner of the object in scan order, as in `Arcs.corners`."""
    ring: NDArray[np.float64]
    """Closed, (y, x) in pixels, in the direction of the loop that it replaces, shape (V, 2)."""
    zone: tuple[tuple[int, int], ...]
    """Corners (y, x) of the rectangle around the object, which no other boundary may move over."""


@dataclass(frozen=True)
class Outlines:
    """The new outlines of a map's objects."""

    keys: NDArray[np.int64]
    """First corner of each object in scan order, as in `Arcs.corners`; ascending, shape (N,)."""
    rings: tuple[NDArray[np.float64], ...]
    """Closed, (y, x) in pixels, in the direction of the loops that they replace."""

    @classmethod
    def of(cls, outlines: list[Outline]) -> "Outlines":
        """Sort outlines by key."""
        ordered = sorted(outlines, key=lambda one: one.key)
        return cls(np.array([one.key for one in ordered], np.int64), tuple(one.ring for one in ordered))

    def replace_in(self, arcs: Arcs) -> Arcs:
        """Return the arcs with new vertices where a loop has a new outline."""
        place = np.searchsorted(self.keys, arcs.corners[:, 0])
        known = np.append(self.keys, -1)[place] == arcs.corners[:, 0]
        if not known.any():
            return arcs
        lengths = np.diff(arcs.offsets)
        longer = lengths.copy()
        longer[known] = [len(self.rings[i]) for i in place[known]]
        offsets = offsets_of(longer)
        vertices = np.empty((offsets[-1], 2), np.float64)
        vertices[np.repeat(~known, longer)] = arcs.vertices[np.repeat(~known, lengths)]
        for i in np.flatnonzero(known).tolist():
            vertices[offsets[i] : offsets[i + 1]] = self.rings[place[i]]
        return arcs.with_vertices(vertices, offsets)


NO_OUTLINES = Outlines(np.empty(0, np.int64), ())
