"""From the chains of blocks to the arcs of the map."""

import numpy as np
from numba import njit

from geoseg.vector.trace.chains import JOINT, LOOP, NODE, Chains


def join(chains: Chains) -> Chains:
    """Join chains where two of them meet in a joint.

    Arcs come out the same whatever the blocks were: from the smaller corner in scan order to the larger one;
    loops begin at their first corner in scan order and go east from it, and what leaves a node and comes back
    to it goes first to the smaller of its two neighbours.

    Parameters
    ----------
    chains
        Whose `sides` are regions of the map, the same number for the same region.
    """
    starts, ends = chains.vertices[chains.offsets[:-1]], chains.vertices[chains.offsets[1:] - 1]
    corners = np.stack([starts, ends], axis=1).reshape(-1, 2).astype(np.int64)
    key = (corners[:, 0] << 32) | corners[:, 1]
    where = np.flatnonzero(chains.ends.reshape(-1) == JOINT)
    order = where[np.argsort(key[where], kind="stable")]
    mate = np.full(2 * len(chains), -1, np.int64)
    same = key[order[1:]] == key[order[:-1]]
    first, second = order[:-1][same], order[1:][same]
    mate[first], mate[second] = second, first
    return Chains(*_join(chains.vertices, chains.offsets, chains.sides, chains.ends.reshape(-1), mate))


@njit(nogil=True, cache=True)
def _join(vertices, offsets, sides, ends, mate):
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
            # In the first pass from ends that nothing follows; what is left then closes on itself.
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
                        continue  # the joint is there already
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


@njit(nogil=True, cache=True)
def _straight(a, b, y, x):
    return (a[0] == b[0] and b[0] == y) or (a[1] == b[1] and b[1] == x)


@njit(nogil=True, cache=True)
def _rotate(out, start, n):
    """Let a closed chain begin at its first corner in scan order, which is a turn; return its new end."""
    size = n - 1 - start
    ring = out[start : n - 1].copy()
    # A joint in which it was opened may be no turn.
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


@njit(nogil=True, cache=True)
def _backward(out, start, n):
    """Say whether an arc runs against its canonical direction."""
    a, b = out[start], out[n - 1]
    if a[0] == b[0] and a[1] == b[1]:
        a, b = out[start + 1], out[n - 2]
    return a[0] > b[0] or (a[0] == b[0] and a[1] > b[1])
