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
from numba import njit
from numpy.typing import NDArray

from geoseg.vector.trace.chains import JOINT, LOOP, NODE, Chains
from geoseg.vector.trace.components import Runs, grown

_E, _S, _W, _N = (np.uint8(1 << d) for d in range(4))
_IS_CORNER = np.array([bits >> 4 not in (0, _E | _W, _N | _S) for bits in range(256)])
_IS_NODE = np.array([(bits >> 4).bit_count() > 2 for bits in range(256)])
_IS_LEFT = np.array([bits & 15 > 0 for bits in range(256)])
_IS_BEGIN = _IS_LEFT & (_IS_NODE | np.array([(bits & 15).bit_count() != 2 for bits in range(256)]))
"""Of the bits of `Traced.edges`: whether edges of a corner are left to follow, and a chain begins there."""
_FOLLOW = np.uint64(0x0F0F0F0F0F0F0F0F)
"""Bits of eight corners that say whether edges are left to follow."""


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
    padded = _edges(values)
    edges = padded[:, : values.shape[1] - 1]
    _disown(edges, last)
    chains = Chains(*_trace(values, padded, runs.starts, runs.rows, runs.labels, origin))
    return Traced(chains, runs, edges)


@njit(nogil=True, cache=True)
def _edges(values):
    """Return the edges of each corner: in the upper four bits, and in the lower ones those to be followed.

    Rows are filled up to words of eight corners.
    """
    rows, cols = values.shape[0] - 1, values.shape[1] - 1
    edges = np.empty((rows, (cols + 7) // 8 * 8), np.uint8)
    for y in range(rows):
        edges[y, cols:] = 0
        for x in range(cols):
            nw, ne, sw, se = values[y, x], values[y, x + 1], values[y + 1, x], values[y + 1, x + 1]
            edges[y, x] = 17 * ((ne != se) | (sw != se) << 1 | (nw != sw) << 2 | (nw != ne) << 3)
    return edges


def _disown(edges: NDArray[np.uint8], last: tuple[bool, bool]) -> None:
    """Let edges that do not belong to the block not be followed."""
    edges[0] &= ~_N
    edges[-1] &= ~_S if last[0] else ~(_E | _S | _W)
    edges[:, 0] &= ~_W
    edges[:, -1] &= ~_E if last[1] else ~(_N | _E | _S)


@njit(nogil=True, cache=True)
def _trace(values, edges, starts, rows, labels, origin):
    """Follow all edges that `edges` says to, which loses them on the way."""
    words = edges.view(np.uint64)
    vertices = np.empty((edges.size // 8, 2), np.int32)
    offsets = np.zeros(1024, np.int64)
    sides, ends = np.empty((1024, 2), np.int32), np.empty((1024, 2), np.uint8)
    places = np.empty(edges.shape[1] + 1, np.int64)
    chains = n = 0
    # First what begins at nodes and joints; what is left then are loops.
    for loops in range(2):
        begins = _IS_LEFT if loops else _IS_BEGIN
        for y in range(words.shape[0]):
            for x in places[: _choose(edges[y], words[y], begins, places)]:
                # In this order an arc that comes back to its node begins with the smaller of its two corners
                # beside it, as `join` wants it.
                for d in (3, 2, 0, 1):
                    if not edges[y, x] >> d & 1:
                        continue
                    if chains + 1 == len(offsets):
                        offsets, sides, ends = grown(offsets, 0), grown(sides, 0), grown(ends, 0)
                    sides[chains, 0] = _side(values, starts, rows, labels, y, x, d, True)
                    sides[chains, 1] = _side(values, starts, rows, labels, y, x, d, False)
                    ends[chains] = LOOP if loops else NODE
                    if not loops and not _IS_NODE[edges[y, x]]:
                        ends[chains, 0] = JOINT
                    edges[y, x] &= ~(1 << d)
                    vertices[n, 0], vertices[n, 1] = origin[0] + y, origin[1] + x
                    n += 1
                    cy, cx, heading = y, x, d
                    while True:
                        cy += (heading == 1) - (heading == 3)
                        cx += (heading == 0) - (heading == 2)
                        cell = edges[cy, cx] & ~(1 << (heading + 2) % 4)
                        if n + 1 >= len(vertices):
                            vertices = grown(vertices, 0)
                        if _IS_NODE[cell]:
                            edges[cy, cx] = cell
                            break
                        edges[cy, cx] = cell & 240  # the corner has no third edge
                        onward = cell & 15
                        if onward == 0:
                            if loops == 0:
                                ends[chains, 1] = JOINT
                            break
                        turned = (onward >> 1) - (onward >> 3)
                        vertices[n, 0], vertices[n, 1] = origin[0] + cy, origin[1] + cx
                        n += turned != heading  # without a turn the next one takes its place
                        heading = turned
                    vertices[n, 0], vertices[n, 1] = origin[0] + cy, origin[1] + cx
                    n += 1
                    chains += 1
                    offsets[chains] = n
    return vertices[:n].copy(), offsets[: chains + 1].copy(), sides[:chains].copy(), ends[:chains].copy()


@njit(nogil=True, cache=True)
def _choose(corners, words, chosen, places):
    """Write down which corners of a row have chosen bits, and return how many; `words` are the same bytes."""
    count = 0
    for i in range(len(words)):
        if words[i] & _FOLLOW:
            for x in range(8 * i, 8 * i + 8):
                places[count] = x
                count += chosen[corners[x]]
    return count


@njit(nogil=True, cache=True)
def _side(values, starts, rows, labels, y, x, d, left):
    """Return what lies left or right of the edge that leaves a corner in a direction."""
    # Heading E the upper pixel is on the left, heading S the eastern one, and so on.
    east = d == 0 or (d == 1 and left) or (d == 3 and not left)
    south = d == 1 or (d == 0 and not left) or (d == 2 and left)
    py, px = y - 1 + south, x - 1 + east
    if values[py + 1, px + 1] < 0:
        return 0
    if py < 0:
        return -1 - px
    cols = values.shape[1] - 2
    if px < 0:
        return -1 - cols - py
    # The last run that begins at the pixel or before it.
    pixel = py * cols + px
    low, high = rows[py], rows[py + 1]
    while high - low > 1:
        middle = (low + high) // 2
        if starts[middle] <= pixel:
            low = middle
        else:
            high = middle
    return labels[low]
