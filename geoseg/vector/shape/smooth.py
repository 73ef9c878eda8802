"""Rounding the corners of arcs."""

import numpy as np
from numba import njit

from geoseg.vector.shape.guard import is_clear, on_frame


@njit(nogil=True, cache=True)
def smooth(vertices, offsets, loops, kept, corners, height, width, reach):
    """Round the corners of arcs; return vertices (y, x) and offsets.

    Each corner becomes a quadratic Bezier curve, which Chaikin's corner cutting tends to (Chaikin 1974),
    drawn with four vertices. It begins and ends `reach` before and after the corner, or in the middle of an
    edge. The curve stays within its own triangle; where that holds a corner of another arc, or a vertex of
    its own, the corner stays as it is: so curves cannot meet.
    """
    out = np.empty((4 * len(vertices), 2), np.float64)
    out_offsets = np.zeros(len(offsets), np.int64)
    n = 0
    for i in range(len(offsets) - 1):
        a, b = offsets[i], offsets[i + 1]
        frame = on_frame(vertices, a, height, width)
        line = a + np.flatnonzero(kept[a:b])
        closed = vertices[a, 0] == vertices[b - 1, 0] and vertices[a, 1] == vertices[b - 1, 1]
        if loops[i]:
            line = line[:-1]  # its first again
        index = np.empty(0, np.int64)
        count = len(line)
        begin = n
        for k in range(count):
            inner = loops[i] or 0 < k < count - 1
            here = line[k]
            round_it = inner and not frame
            if round_it:
                p, q = line[k - 1], line[(k + 1) % count]
                py, px = _towards(vertices, here, p, reach)
                qy, qx = _towards(vertices, here, q, reach)
                round_it, index = is_clear(
                    vertices, a, b - closed, here, py, px, qy, qx, kept, index, corners
                )
            if not round_it:
                out[n, 0], out[n, 1] = vertices[here, 0], vertices[here, 1]
                n += 1
                continue
            for t in (0.0, 1 / 3, 2 / 3, 1.0):
                y = (1 - t) ** 2 * py + 2 * t * (1 - t) * vertices[here, 0] + t * t * qy
                x = (1 - t) ** 2 * px + 2 * t * (1 - t) * vertices[here, 1] + t * t * qx
                # Two corners may share the middle of their edge.
                if n == begin or out[n - 1, 0] != y or out[n - 1, 1] != x:
                    out[n, 0], out[n, 1] = y, x
                    n += 1
        if loops[i] and (out[n - 1, 0] != out[begin, 0] or out[n - 1, 1] != out[begin, 1]):
            out[n, 0], out[n, 1] = out[begin, 0], out[begin, 1]
            n += 1
        out_offsets[i + 1] = n
    return out[:n].copy(), out_offsets


@njit(nogil=True, cache=True)
def _towards(vertices, b, a, reach):
    """Return the point at a distance from b towards a, at most half way."""
    by, bx = float(vertices[b, 0]), float(vertices[b, 1])
    dy, dx = vertices[a, 0] - by, vertices[a, 1] - bx
    share = min(0.5, reach / np.sqrt(dy * dy + dx * dx))
    return by + share * dy, bx + share * dx
