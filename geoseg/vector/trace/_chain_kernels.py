"""Loops over pixel edges and chains of them: traced within a block, joined across its border."""

import numpy as np

from geoseg.core.compiled import compiled
from geoseg.vector.trace._run_kernels import enlarged
from geoseg.vector.trace.chains import JOINT, LOOP, NODE

E, S, W, N = (np.uint8(1 << d) for d in range(4))
"""Bits of the directions in which an edge leaves a corner."""
_IS_NODE = np.array([(bits >> 4).bit_count() > 2 for bits in range(256)])
_IS_LEFT = np.array([bits & 15 > 0 for bits in range(256)])
_IS_BEGIN = _IS_LEFT & (_IS_NODE | np.array([(bits & 15).bit_count() != 2 for bits in range(256)]))
"""By the bits of a corner (see `find_edges`): whether an edge is left to follow, and a chain begins."""
_FOLLOW = np.uint64(0x0F0F0F0F0F0F0F0F)
"""The bits of eight corners that mark edges left to follow."""


@compiled
def find_edges(values):
    """Return the edges of each corner: all in the upper four bits, those left to follow in the lower four.

    Rows are padded to words of eight corners.
    """
    rows, cols = values.shape[0] - 1, values.shape[1] - 1
    edges = np.empty((rows, (cols + 7) // 8 * 8), np.uint8)
    for y in range(rows):
        edges[y, cols:] = 0
        for x in range(cols):
            nw, ne, sw, se = values[y, x], values[y, x + 1], values[y + 1, x], values[y + 1, x + 1]
            edges[y, x] = 17 * ((ne != se) | (sw != se) << 1 | (nw != sw) << 2 | (nw != ne) << 3)
    return edges


@compiled
def trace_chains(values, edges, starts, rows, labels, origin):
    """Return the fields of `Chains`: follow the edges marked in `edges`, and clear the marks on the way."""
    words = edges.view(np.uint64)
    vertices = np.empty((edges.size // 8, 2), np.int32)
    offsets = np.zeros(1024, np.int64)
    sides, ends = np.empty((1024, 2), np.int32), np.empty((1024, 2), np.uint8)
    places = np.empty(edges.shape[1] + 1, np.int64)
    chains = n = 0
    # First the chains that begin at nodes and joints; the edges left then are loops.
    for loops in range(2):
        begins = _IS_LEFT if loops else _IS_BEGIN
        for y in range(words.shape[0]):
            for x in places[: _choose(edges[y], words[y], begins, places)]:
                # In this order an arc that returns to its node begins with the smaller of the two corners
                # beside the node, as `join_chains` expects.
                for d in (3, 2, 0, 1):
                    if not edges[y, x] >> d & 1:
                        continue
                    if chains + 1 == len(offsets):
                        offsets, sides, ends = enlarged(offsets, 0), enlarged(sides, 0), enlarged(ends, 0)
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
                            vertices = enlarged(vertices, 0)
                        if _IS_NODE[cell]:
                            edges[cy, cx] = cell
                            break
                        edges[cy, cx] = cell & 240  # no third edge leaves the corner
                        onward = cell & 15
                        if onward == 0:
                            if loops == 0:
                                ends[chains, 1] = JOINT
                            break
                        turned = (onward >> 1) - (onward >> 3)
                        vertices[n, 0], vertices[n, 1] = origin[0] + cy, origin[1] + cx
                        n += turned != heading  # without a turn the next vertex overwrites it
                        heading = turned
                    vertices[n, 0], vertices[n, 1] = origin[0] + cy, origin[1] + cx
                    n += 1
                    chains += 1
                    offsets[chains] = n
    return vertices[:n].copy(), offsets[: chains + 1].copy(), sides[:chains].copy(), ends[:chains].copy()


@compiled
def _choose(corners, words, chosen, places):
    """Write the columns of corners with `chosen` bits to `places`; return their number.

    `words` are the bytes of `corners`, eight at a time.
    """
    count = 0
    for i in range(len(words)):
        if words[i] & _FOLLOW:
            for x in range(8 * i, 8 * i + 8):
                places[count] = x
                count += chosen[corners[x]]
    return count


@compiled
def _side(values, starts, rows, labels, y, x, d, left):
    """Return the side (see `TracedBlock.chains`) left or right of the edge from a corner in direction d."""
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


@compiled
def join_chains(vertices, offsets, sides, ends, mate):
    """Return the fields of `Chains`, joined; `mate` is the end of a chain that each end meets, or -1.

    End 2 i is the beginning of chain i, 2 i + 1 its end.
    """
    count = len(sides)
    out = np.empty_like(vertices)
    out_offsets = np.zeros(count + 1, np.int64)
    out_sides = np.empty_like(sides)
    out_ends = np.full((count, 2), NODE, np.uint8)
    done = np.zeros(count, np.bool_)
    n = 0
    arcs = 0
    for loops in range(2):
        for end in range(2 * count):
            # The first pass starts at ends without a mate; the chains left then close on themselves.
            if done[end // 2] or (loops == 0 and mate[end] >= 0):
                continue
            start = n
            entered = end
            left, right = sides[end // 2, end % 2], sides[end // 2, 1 - end % 2]
            while True:
                chain = entered // 2
                done[chain] = True
                a, b = offsets[chain], offsets[chain + 1]
                for k in range(b - a):
                    v = b - 1 - k if entered % 2 else a + k
                    if k == 0 and n > start:
                        continue  # the joint is the last vertex already
                    y, x = vertices[v, 0], vertices[v, 1]
                    if n > start + 1 and _straight(out[n - 2], out[n - 1], y, x):
                        n -= 1
                    out[n, 0], out[n, 1] = y, x
                    n += 1
                leaving = chain * 2 + 1 - entered % 2
                if mate[leaving] < 0:
                    break
                entered = mate[leaving]
                if entered == end:
                    break
            out_sides[arcs, 0], out_sides[arcs, 1] = left, right
            if loops == 1 or ends[end] == LOOP:
                out_ends[arcs] = LOOP
                n = _rotate(out, start, n)
            else:
                out_ends[arcs, 0], out_ends[arcs, 1] = ends[end], ends[leaving]
            if JOINT not in (out_ends[arcs, 0], out_ends[arcs, 1]) and _backward(out, start, n):
                for k in range((n - start) // 2):
                    for axis in range(2):
                        i, j = start + k, n - 1 - k
                        out[i, axis], out[j, axis] = out[j, axis], out[i, axis]
                out_sides[arcs, 0], out_sides[arcs, 1] = right, left
            arcs += 1
            out_offsets[arcs] = n
    return out[:n].copy(), out_offsets[: arcs + 1].copy(), out_sides[:arcs].copy(), out_ends[:arcs].copy()


@compiled
def _straight(a, b, y, x):
    return (a[0] == b[0] and b[0] == y) or (a[1] == b[1] and b[1] == x)


@compiled
def _rotate(out, start, n):
    """Rotate a closed chain to its first corner in scan order, which is a turn; return its new end."""
    size = n - 1 - start
    ring = out[start : n - 1].copy()
    # The joint at which it was opened need not be a turn.
    if _straight(ring[size - 1], ring[0], ring[1, 0], ring[1, 1]):
        ring = ring[1:]
        size -= 1
    first = 0
    for k in range(1, size):
        if ring[k, 0] < ring[first, 0] or (ring[k, 0] == ring[first, 0] and ring[k, 1] < ring[first, 1]):
            first = k
    for k in range(size + 1):
        out[start + k] = ring[(first + k) % size]
    return start + size + 1


@compiled
def _backward(out, start, n):
    """Return whether an arc runs against its canonical direction."""
    a, b = out[start], out[n - 1]
    if a[0] == b[0] and a[1] == b[1]:
        a, b = out[start + 1], out[n - 2]
    return a[0] > b[0] or (a[0] == b[0] and a[1] > b[1])
