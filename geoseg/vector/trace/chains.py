"""Chains of pixel edges: pieces of the boundary between two regions."""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from geoseg.vector.trace import _arc_kernels

NODE, JOINT, LOOP = 0, 1, 2
"""Ends of chains: at a corner where three or four edges meet, at the border of a block, or none at all."""


@dataclass(frozen=True)
class Chains:
    """Chains of pixel edges."""

    vertices: NDArray[np.int32]
    """Corners (y, x) of the map where chains begin, turn and end, shape (V, 2)."""
    offsets: NDArray[np.int64]
    """Chain i has vertices[offsets[i]:offsets[i + 1]], shape (C + 1,)."""
    sides: NDArray[np.int32]
    """Region left and right of it, with y pointing down; 0 for none; shape (C, 2)."""
    ends: NDArray[np.uint8]
    """Kind of the first and the last vertex: `NODE`, `JOINT` or `LOOP`; shape (C, 2)."""

    def __len__(self) -> int:
        return len(self.sides)

    def renumbered(self, number: NDArray[np.int32]) -> "Chains":
        """Return the chains with region i renamed to number[i]; negative regions count from the end."""
        return replace(self, sides=number[self.sides])

    def take(self, chosen: NDArray[np.bool_]) -> "Chains":
        """Return the chosen chains, shape of `chosen` (C,)."""
        vertices, offsets = _arc_kernels.take_parts(self.vertices, self.offsets, np.flatnonzero(chosen))
        return Chains(vertices, offsets, self.sides[chosen], self.ends[chosen])

    @classmethod
    def concatenate(cls, many: "list[Chains]") -> "Chains":
        """Return the chains of all parts, one after another."""
        return cls(
            np.concatenate([c.vertices for c in many]),
            offsets_of(np.concatenate([np.diff(c.offsets) for c in many])),
            np.concatenate([c.sides for c in many]),
            np.concatenate([c.ends for c in many]),
        )


def offsets_of(lengths: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return where parts of these lengths begin and end, one after another; shape (N + 1,)."""
    return np.concatenate([np.zeros(1, np.int64), np.cumsum(lengths, dtype=np.int64)])


NO_CHAINS = Chains(
    np.empty((0, 2), np.int32), np.zeros(1, np.int64), np.empty((0, 2), np.int32), np.empty((0, 2), np.uint8)
)
