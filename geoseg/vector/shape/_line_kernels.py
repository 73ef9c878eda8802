"""Loops over the vertices of arcs: the guard, simplification and smoothing, see `simplify`."""

import heapq

import numpy as np

from geoseg.core.compiled import compiled


@compiled
def _on_frame(vertices, a, height, width):
    """Return whether an arc runs along the map's frame: its first edge does only when all its edges do."""
    y0, x0, y1, x1 = vertices[a, 0], vertices[a, 1], vertices[a + 1, 0], vertices[a + 1, 1]
    return (y0 == y1 and y0 in (0, height)) or (x0 == x1 and x0 in (0, width))


@compiled
def _is_free(vertices, start, stop, a, b, c, kept, index, corners):
    """Return whether a closed triangle holds no corner but its own and those that its arc has lost.

    Also returns the arc's index of vertices, which is made when it is first needed.
    """
    top = min(vertices[a, 0], vertices[b, 0], vertices[c, 0])
    bottom = max(vertices[a, 0], vertices[b, 0], vertices[c, 0])
    for y in range(top, bottom + 1):
        low, high = np.int64(1 << 62), np.int64(-1)
        for p, q in ((a, b), (b, c), (c, a)):
            py, px, qy, qx = vertices[p, 0], vertices[p, 1], vertices[q, 0], vertices[q, 1]
            if y < min(py, qy) or y > max(py, qy):
                continue
            if py == qy:
                low, high = min(low, px, qx), max(high, px, qx)
                continue
            rise = np.int64(y - py) * np.int64(qx - px)
            run = np.int64(qy - py)
            low = min(low, px - (-rise // run))
            high = max(high, px + rise // run)
        for x in range(low, high + 1):
            if not _is_corner(corners, y, x):
                continue
            if (
                (y == vertices[a, 0] and x == vertices[a, 1])
                or (y == vertices[b, 0] and x == vertices[b, 1])
                or (y == vertices[c, 0] and x == vertices[c, 1])
            ):
                continue
            hinders, index = _hinders(vertices, start, stop, y, x, kept, index)
            if hinders:
                return False, index
    return True, index


@compiled
def _is_clear(vertices, start, stop, b, py, px, qy, qx, kept, index, corners):
    """Return the same as `_is_free` for the triangle of a vertex b and two points on its edges."""
    by, bx = float(vertices[b, 0]), float(vertices[b, 1])
    for y in range(int(np.ceil(min(by, py, qy))), int(np.floor(max(by, py, qy))) + 1):
        for x in range(int(np.ceil(min(bx, px, qx))), int(np.floor(max(bx, px, qx))) + 1):
            if not _is_corner(corners, y, x) or (y == by and x == bx):
                continue
            one = (py - by) * (x - bx) - (px - bx) * (y - by)
            two = (qy - py) * (x - px) - (qx - px) * (y - py)
            three = (by - qy) * (x - qx) - (bx - qx) * (y - qy)
            if (one >= 0 and two >= 0 and three >= 0) or (one <= 0 and two <= 0 and three <= 0):
                hinders, index = _hinders(vertices, start, stop, y, x, kept, index)
                if hinders:
                    return False, index
    return True, index


@compiled
def _is_corner(corners, y, x):
    bits, row0, col0 = corners
    column = x - col0
    return bits[y - row0, column >> 3] >> (7 - (column & 7)) & 1


@compiled
def _hinders(vertices, start, stop, y, x, kept, index):
    """Return whether a corner is another arc's or a vertex that its own arc still has, and the index."""
    if len(index) == 0:
        index = _index(vertices, start, stop)
    k = _look_up(vertices, index, y, x)
    return k < 0 or kept[k], index


@compiled
def _index(vertices, start, stop):
    """Return a hash table of an arc's vertices, with open addressing."""
    size = 4
    while size < 2 * (stop - start):
        size *= 2
    table = np.full(size, -1, np.int64)
    for k in range(start, stop):
        slot = _hash(vertices[k, 0], vertices[k, 1], size)
        while table[slot] >= 0:
            slot = (slot + 1) % size
        table[slot] = k
    return table


@compiled
def _look_up(vertices, table, y, x):
    """Return the vertex of the arc that lies at a corner, -1 for none."""
    size = len(table)
    slot = _hash(y, x, size)
    while table[slot] >= 0:
        k = table[slot]
        if vertices[k, 0] == y and vertices[k, 1] == x:
            return k
        slot = (slot + 1) % size
    return np.int64(-1)


@compiled
def _hash(y, x, size):
    return (np.int64(y) * 73856093 ^ np.int64(x) * 19349663) & (size - 1)


@compiled
def thin(vertices, offsets, loops, corners, height, width, limit, tolerance):
    """Return the mask of the vertices that stay, shape (V,).

    Vertices with the smallest triangles are removed first, as long as twice the area is below `limit`; with a
    `tolerance` above 0 the vertices that the method of Douglas and Peucker keeps stay, too.
    """
    kept = np.ones(len(vertices), np.bool_)
    longest = 0
    for i in range(len(offsets) - 1):
        longest = max(longest, offsets[i + 1] - offsets[i])
    before, after = np.empty(longest, np.int64), np.empty(longest, np.int64)
    needed = np.zeros(longest, np.bool_)
    for i in range(len(offsets) - 1):
        a, b = offsets[i], offsets[i + 1]
        if b - a > 2 and not _on_frame(vertices, a, height, width):
            if tolerance > 0:
                _douglas_peucker(vertices, a, b, tolerance, needed)
            _thin_one(
                vertices, a, b, loops[i], kept, before, after, needed, corners, limit
            )  # fmt: skip
    return kept


@compiled
def _thin_one(vertices, a, b, loop, kept, before, after, needed, corners, limit):
    closed = vertices[a, 0] == vertices[b - 1, 0] and vertices[a, 1] == vertices[b - 1, 1]
    # A closed arc ends with its first vertex.
    count = b - a - 1 if closed else b - a
    for i in range(count):
        before[i], after[i] = i - 1, i + 1
    before[0], after[count - 1] = count - 1, 0
    heap = [(np.int64(0), np.int64(0))]
    heap.pop()
    first = 0 if loop else 1
    last = count if closed else count - 1
    for i in range(first, last):
        area = abs(_twice(vertices, a + before[i], a + i, a + after[i]))
        if area < limit and not needed[i]:
            heapq.heappush(heap, (area, np.int64(i)))
    left = count
    index = np.empty(0, np.int64)
    while heap:
        smallest, k = heapq.heappop(heap)
        p, q = before[k], after[k]
        if not kept[a + k] or smallest != abs(_twice(vertices, a + p, a + k, a + q)):
            continue
        if closed and left == 3:
            break
        if not closed and left == 3 and not _may_be_straight(vertices, a, a + k, b - 1):
            break
        free, index = _is_free(vertices, a, a + count, a + p, a + k, a + q, kept, index, corners)
        if not free:
            continue
        kept[a + k] = False
        left -= 1
        after[p], before[q] = q, p
        for n in (p, q):
            if first <= n < last and not needed[n]:
                area = abs(_twice(vertices, a + before[n], a + n, a + after[n]))
                if area < limit:
                    heapq.heappush(heap, (area, np.int64(n)))
    if closed:
        kept[b - 1] = True
    needed[:count] = False


@compiled
def _twice(vertices, a, b, c):
    """Return twice the signed area of a triangle, positive when it turns left with y pointing down."""
    ay, ax = np.int64(vertices[a, 0]), np.int64(vertices[a, 1])
    by, bx = np.int64(vertices[b, 0]) - ay, np.int64(vertices[b, 1]) - ax
    cy, cx = np.int64(vertices[c, 0]) - ay, np.int64(vertices[c, 1]) - ax
    return by * cx - bx * cy


@compiled
def _may_be_straight(vertices, a, b, c):
    """Return whether an arc may lose its last inner vertex.

    Two arcs with the same ends must not both become straight: the region between them would vanish. Only the
    arc left of the straight line may, and none along a row or a column, where another arc may be straight
    from the beginning.
    """
    return (
        vertices[a, 0] != vertices[c, 0]
        and vertices[a, 1] != vertices[c, 1]
        and _twice(vertices, a, b, c) > 0
    )


@compiled
def _douglas_peucker(vertices, a, b, tolerance, needed):
    """Mark in `needed` the vertices, counted from `a`, that the method keeps."""
    for k in range(b - a):
        needed[k] = False
    needed[0] = True  # of a loop, too: distances were measured from it
    stack = [(np.int64(0), np.int64(b - a - 1))]
    while stack:
        low, high = stack.pop()
        best, far = np.int64(-1), tolerance * tolerance
        for k in range(low + 1, high):
            distance = _distance2(vertices, a + low, a + high, a + k)
            if distance > far:
                best, far = np.int64(k), distance
        if best >= 0:
            needed[best] = True
            stack.append((low, best))
            stack.append((best, high))


@compiled
def _distance2(vertices, a, b, p):
    """Return the squared distance of a vertex from a segment."""
    ay, ax = float(vertices[a, 0]), float(vertices[a, 1])
    dy, dx = vertices[b, 0] - ay, vertices[b, 1] - ax
    py, px = vertices[p, 0] - ay, vertices[p, 1] - ax
    length2 = dy * dy + dx * dx
    along = 0.0 if length2 == 0 else min(1.0, max(0.0, (py * dy + px * dx) / length2))
    return (py - along * dy) ** 2 + (px - along * dx) ** 2


@compiled
def smooth(vertices, offsets, loops, kept, corners, height, width, reach):
    """Round the corners of arcs; return vertices (y, x) and offsets.

    Each corner becomes a quadratic Bezier curve of four vertices, the limit of Chaikin's corner cutting
    (Chaikin 1974). It begins `reach` before the corner and ends `reach` after it, or in the middle of an edge
    that is shorter. The curve stays within its own triangle; where the triangle holds a corner of another
    arc, or a vertex of its own, the corner stays sharp. So curves cannot meet.
    """
    out = np.empty((4 * len(vertices), 2), np.float64)
    out_offsets = np.zeros(len(offsets), np.int64)
    n = 0
    for i in range(len(offsets) - 1):
        a, b = offsets[i], offsets[i + 1]
        frame = _on_frame(vertices, a, height, width)
        line = a + np.flatnonzero(kept[a:b])
        closed = vertices[a, 0] == vertices[b - 1, 0] and vertices[a, 1] == vertices[b - 1, 1]
        if loops[i]:
            line = line[:-1]  # the last vertex is the first
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
                round_it, index = _is_clear(
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


@compiled
def _towards(vertices, b, a, reach):
    """Return the point at a distance from b towards a, at most half way."""
    by, bx = float(vertices[b, 0]), float(vertices[b, 1])
    dy, dx = vertices[a, 0] - by, vertices[a, 1] - bx
    share = min(0.5, reach / np.sqrt(dy * dy + dx * dx))
    return by + share * dy, bx + share * dx
