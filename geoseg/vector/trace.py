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

from dataclasses import dataclass, replace

import numpy as np
from numba import njit
from numpy.typing import NDArray

from geoseg.vector.labels import label

NODE, JOINT, LOOP = 0, 1, 2
"""What a chain ends in; a loop has no end."""

_E, _S, _W, _N = (np.uint8(1 << d) for d in range(4))
_IS_CORNER = np.array([bits not in (0, _E | _W, _N | _S) for bits in range(16)])


@dataclass(frozen=True)
class Chains:
    """Chains of pixel edges."""

    vertices: NDArray[np.int32]
    """Corners (y, x) of the map where chains begin, turn and end, shape (V, 2)."""
    offsets: NDArray[np.int64]
    """Chain i has vertices[offsets[i]:offsets[i + 1]], shape (C + 1,)."""
    sides: NDArray[np.int32]
    """Region left and right when y points down, 0 for none, shape (C, 2)."""
    ends: NDArray[np.uint8]
    """What the first and the last vertex are, `NODE`, `JOINT` or `LOOP`, shape (C, 2)."""

    def __len__(self) -> int:
        return len(self.sides)

    def renumbered(self, number: NDArray[np.int32]) -> "Chains":
        """Return the same chains, region i called number[i]; negative ones count from the end."""
        return replace(self, sides=number[self.sides])

    def take(self, chosen: NDArray[np.bool_]) -> "Chains":
        """Return the chosen ones, shape of `chosen` (C,)."""
        vertices, offsets = take(self.vertices, self.offsets, np.flatnonzero(chosen))
        return Chains(vertices, offsets, self.sides[chosen], self.ends[chosen])


def offsets_of(lengths: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return where parts of these lengths begin and end when they follow each other, shape (N + 1,)."""
    return np.concatenate([np.zeros(1, np.int64), np.cumsum(lengths, dtype=np.int64)])


@njit(nogil=True, cache=True)
def take(vertices, offsets, which):
    """Return the vertices of some parts, one after another, and where each begins and ends."""
    places = np.zeros(len(which) + 1, np.int64)
    for i in range(len(which)):
        places[i + 1] = places[i] + offsets[which[i] + 1] - offsets[which[i]]
    taken = np.empty((places[-1], 2), vertices.dtype)
    for i in range(len(which)):
        start = offsets[which[i]]
        for k in range(places[i + 1] - places[i]):
            taken[places[i] + k, 0] = vertices[start + k, 0]
            taken[places[i] + k, 1] = vertices[start + k, 1]
    return taken, places


def concatenate(many: list[Chains]) -> Chains:
    """Return all chains of many."""
    lengths = np.concatenate([np.diff(c.offsets) for c in many])
    return Chains(
        np.concatenate([c.vertices for c in many]),
        offsets_of(lengths),
        np.concatenate([c.sides for c in many]),
        np.concatenate([c.ends for c in many]),
    )


NO_CHAINS = Chains(
    np.empty((0, 2), np.int32), np.zeros(1, np.int64), np.empty((0, 2), np.int32), np.empty((0, 2), np.uint8)
)


@dataclass(frozen=True)
class Traced:
    """What a block's pixels say about boundaries."""

    chains: Chains
    """`sides` are labels of this block, or what lies beyond its upper and left edge: -1 - k for the label of
    pixel k of the line above the block, -1 - cols - k for pixel k of the column left of it."""
    labels: NDArray[np.int32]
    """Shape (rows, cols)."""
    count: int
    """Number of labels."""
    edges: NDArray[np.uint8]
    """Which of its four edges exist at each corner, bit d for direction d, shape (rows + 1, cols + 1)."""

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
    labels, count = label(values[1:-1, 1:-1])
    edges = _edges(values)
    vertices, offsets, sides, ends = _trace(values, labels, edges, _owned(edges, last))
    chains = Chains(vertices + np.array(origin, np.int32), offsets, sides, ends)
    return Traced(chains, labels, count, edges)


@njit(nogil=True, cache=True)
def _edges(values):
    rows, cols = values.shape[0] - 1, values.shape[1] - 1
    edges = np.empty((rows, cols), np.uint8)
    for y in range(rows):
        for x in range(cols):
            nw, ne, sw, se = values[y, x], values[y, x + 1], values[y + 1, x], values[y + 1, x + 1]
            edges[y, x] = (ne != se) | (sw != se) << 1 | (nw != sw) << 2 | (nw != ne) << 3
    return edges


def _owned(edges: NDArray[np.uint8], last: tuple[bool, bool]) -> NDArray[np.uint8]:
    """Return the edges that belong to the block."""
    owned = edges.copy()
    owned[0] &= ~_N
    owned[-1] &= ~_S if last[0] else ~(_E | _S | _W)
    owned[:, 0] &= ~_W
    owned[:, -1] &= ~_E if last[1] else ~(_N | _E | _S)
    return owned


@njit(nogil=True, cache=True)
def _trace(values, labels, edges, left):
    """Follow all edges in `left`, which loses them on the way."""
    # A corner has at most four edges, and each edge has two corners.
    count = 2 * np.count_nonzero(left)
    vertices = np.empty((2 * count + 2, 2), np.int32)
    offsets = np.zeros(count + 1, np.int64)
    sides = np.empty((count, 2), np.int32)
    ends = np.full((count, 2), NODE, np.uint8)
    chains = 0
    # First what begins at nodes and joints; what is left then are loops.
    for loops in range(2):
        for y in range(left.shape[0]):
            for x in range(left.shape[1]):
                if left[y, x] == 0:
                    continue
                joint = _degree(edges[y, x]) == 2
                if loops == 0 and joint and _degree(left[y, x]) == 2:
                    continue
                # In this order an arc that comes back to its node begins with the smaller of its two corners
                # beside it, as `join` wants it.
                for d in (3, 2, 0, 1):
                    if not left[y, x] >> d & 1:
                        continue
                    n = offsets[chains]
                    sides[chains, 0] = _side(labels, values, y, x, d, True)
                    sides[chains, 1] = _side(labels, values, y, x, d, False)
                    if loops == 1:
                        ends[chains] = LOOP
                    elif joint:
                        ends[chains, 0] = JOINT
                    vertices[n, 0], vertices[n, 1] = y, x
                    n += 1
                    cy, cx, heading = y, x, d
                    while True:
                        left[cy, cx] &= ~(1 << heading)
                        cy += (heading == 1) - (heading == 3)
                        cx += (heading == 0) - (heading == 2)
                        left[cy, cx] &= ~(1 << (heading + 2) % 4)
                        if _degree(edges[cy, cx]) > 2:
                            break
                        onward = left[cy, cx]
                        if onward == 0:
                            if loops == 0:
                                ends[chains, 1] = JOINT
                            break
                        turned = 0
                        while not onward >> turned & 1:
                            turned += 1
                        if turned != heading:
                            vertices[n, 0], vertices[n, 1] = cy, cx
                            n += 1
                            heading = turned
                    vertices[n, 0], vertices[n, 1] = cy, cx
                    chains += 1
                    offsets[chains] = n + 1
    return (
        vertices[: offsets[chains]].copy(),
        offsets[: chains + 1].copy(),
        sides[:chains].copy(),
        ends[:chains].copy(),
    )


@njit(nogil=True, cache=True)
def _degree(bits):
    return (bits & 1) + (bits >> 1 & 1) + (bits >> 2 & 1) + (bits >> 3)


@njit(nogil=True, cache=True)
def _side(labels, values, y, x, d, left):
    """Return what lies left or right of the edge that leaves a corner in a direction."""
    # Heading E the upper pixel is on the left, heading S the eastern one, and so on.
    east = d == 0 or (d == 1 and left) or (d == 3 and not left)
    south = d == 1 or (d == 0 and not left) or (d == 2 and left)
    py, px = y - 1 + south, x - 1 + east
    if values[py + 1, px + 1] < 0:
        return 0
    if py < 0:
        return -1 - px
    if px < 0:
        return -1 - labels.shape[1] - py
    return labels[py, px]
