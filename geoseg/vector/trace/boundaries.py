"""The boundaries in a block, as chains of pixel edges.

An *edge* is the side of a pixel between two different values. A corner where three or four edges meet is a
*node*; a chain of edges between nodes, or one that closes without any, is an *arc*. Whether a corner is a
node depends on the four pixels around it alone, so blocks with a halo of one pixel agree on it.

A block owns the upper and left edges of its pixels; the last blocks also own the frame of the map. Where a
chain leaves the edges of its block it ends in a *joint*, where `join` connects it to the next one.

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
class TracedBlock:
    """The boundaries of a block."""

    chains: Chains
    """Their `sides` are labels of this block, or stand for pixels outside it: -1 - k for pixel k of the line
    above the block, -1 - cols - k for pixel k of the column left of it."""
    runs: Runs
    edges: NDArray[np.uint8]
    """The edges at each corner, 16 << d for direction d, shape (rows + 1, cols + 1)."""

    def corners(self) -> NDArray[np.bool_]:
        """Return the corners where a boundary turns, branches or crosses another, shape of `edges`."""
        return _IS_CORNER[self.edges]


def trace(values: NDArray[np.signedinteger], origin: tuple[int, int], last: tuple[bool, bool]) -> TracedBlock:
    """Trace the boundaries of a block.

    Parameters
    ----------
    values
        The block with a halo of one pixel on all sides, shape (rows + 2, cols + 2); `NONE` for nodata,
        `OUTSIDE` beyond the map.
    origin
        Row and column of the block's first pixel on the map.
    last
        Whether the block is in the last row and in the last column of blocks.
    """
    runs = Runs.of(values, 1)
    padded = _chain_kernels.find_edges(values)
    edges = padded[:, : values.shape[1] - 1]
    _keep_own(edges, last)
    chains = Chains(*_chain_kernels.trace_chains(values, padded, runs.starts, runs.rows, runs.labels, origin))
    return TracedBlock(chains, runs, edges)


def _keep_own(edges: NDArray[np.uint8], last: tuple[bool, bool]) -> None:
    """Clear the lower bits of edges that neighbouring blocks own, so that they are not followed here."""
    edges[0] &= ~N
    edges[-1] &= ~S if last[0] else ~(E | S | W)
    edges[:, 0] &= ~W
    edges[:, -1] &= ~E if last[1] else ~(N | E | S)
