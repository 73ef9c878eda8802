"""The boundaries within a block, as chains of pixel edges.

An *edge* is the side of a pixel between two different values. A corner where three or four edges meet is a
*node*; a chain of edges between nodes, or one that closes without any, is an *arc*. Whether a corner is a
node depends on the four pixels around it alone, so blocks with a halo of one pixel agree on it.

A block owns the upper and left edges of its pixels; the last blocks also own the frame of the map. Where a
chain leaves the edges that a block owns it ends in a *joint*, and `join` goes on there.

    corner (y, x) has the pixels     NW | NE      and the directions E = 0, S = 1, W = 2, N = 3
                                     ---+---
                                     SW | SE
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from geoseg.vector.trace import _chain_kernels
from geoseg.vector.trace._chain_kernels import E, N, S, W
from geoseg.vector.trace.chains import Chains
from geoseg.vector.trace.components import Runs

_IS_CORNER = np.array([bits >> 4 not in (0, E | W, N | S) for bits in range(256)])


@dataclass(frozen=True)
class Traced:
    """What a block's pixels say about boundaries."""

    chains: Chains
    """`sides` are labels of this block, or what lies beyond its upper and left edge: -1 - k for the label of
    pixel k of the line above the block, -1 - cols - k for pixel k of the column left of it."""
    runs: Runs
    edges: NDArray[np.uint8]
    """Which of its four edges exist at each corner, 16 << d for direction d, shape (rows + 1, cols + 1)."""

    def corners(self) -> NDArray[np.bool_]:
        """Return at which corners a boundary turns, branches or crosses another, shape of `edges`."""
        return _IS_CORNER[self.edges]


def trace(values: NDArray[np.signedinteger], origin: tuple[int, int], last: tuple[bool, bool]) -> Traced:
    """Trace the boundaries of a block.

    Parameters
    ----------
    values
        The block with a halo of one pixel on all sides, shape (rows + 2, cols + 2); `NONE` where nothing is
        mapped, `OUTSIDE` beyond the map.
    origin
        Row and column of the block's first pixel on the map.
    last
        Whether the block is in the last row and in the last column of blocks.
    """
    runs = Runs.of(values, 1)
    padded = _chain_kernels.find_edges(values)
    edges = padded[:, : values.shape[1] - 1]
    _disown(edges, last)
    chains = Chains(*_chain_kernels.trace_chains(values, padded, runs.starts, runs.rows, runs.labels, origin))
    return Traced(chains, runs, edges)


def _disown(edges: NDArray[np.uint8], last: tuple[bool, bool]) -> None:
    """Let edges that do not belong to the block not be followed."""
    edges[0] &= ~N
    edges[-1] &= ~S if last[0] else ~(E | S | W)
    edges[:, 0] &= ~W
    edges[:, -1] &= ~E if last[1] else ~(N | E | S)
