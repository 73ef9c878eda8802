"""Loops over the vertices of arcs, and over the arcs of rings."""

import numpy as np

from geoseg.core.compiled import compiled


@compiled
def take_parts(vertices, offsets, which):
    """Return the vertices of the parts `which`, one after another, and where each begins and ends."""
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


@compiled
def describe_arcs(vertices, offsets):
    """Return `corners`, `headings` and `area2` of `Arcs`."""
    count = len(offsets) - 1
    corners = np.empty((count, 2), np.int64)
    headings = np.empty((count, 2), np.int8)
    area2 = np.zeros(count, np.int64)
    for i in range(count):
        a, b = offsets[i], offsets[i + 1] - 1
        corners[i, 0] = np.int64(vertices[a, 0]) << 32 | np.int64(vertices[a, 1])
        corners[i, 1] = np.int64(vertices[b, 0]) << 32 | np.int64(vertices[b, 1])
        headings[i, 0] = _heading(vertices[a], vertices[a + 1])
        headings[i, 1] = _heading(vertices[b - 1], vertices[b])
        for k in range(a, b):
            y0, x0 = np.int64(vertices[k, 0]), np.int64(vertices[k, 1])
            y1, x1 = np.int64(vertices[k + 1, 0]), np.int64(vertices[k + 1, 1])
            area2[i] += y0 * x1 - y1 * x0
    return corners, headings, area2


@compiled
def _heading(start, end):
    if start[0] == end[0]:
        return 0 if end[1] > start[1] else 2
    return 1 if end[0] > start[0] else 3


@compiled
def find_followers(region, corners, headings, shift):
    """Return for each way the one that follows it around the region on its left, shape of `region`.

    Way i < A goes forwards along arc i, way A + i backwards. A hash of 64 bits, shifted right by `shift`, is
    a slot of the table of ways; it has about as many slots as there are ways.
    """
    count = len(corners)
    follow = np.empty(2 * count, np.int32)
    # Ways by the corner at which they begin: each slot of the table is a linked list.
    head = np.full(1 << (64 - np.int64(shift)), -1, np.int32)
    following = np.empty(2 * count, np.int32)
    for way in range(2 * count):
        if region[way]:
            place = _slot(corners[way % count, way // count], shift)
            following[way] = head[place]
            head[place] = way
    for way in range(2 * count):
        if not region[way]:
            continue
        arc, backward = way % count, way // count
        corner = corners[arc, 1 - backward]
        # Backwards, the first edge is the last one of the arc, in the opposite direction.
        right = (headings[arc, 1 - backward] + 2 * backward + 1) % 4
        candidate = head[_slot(corner, shift)]
        # At most two ways leave a corner with the same region on their left.
        while candidate >= 0:
            arc, backward = candidate % count, candidate // count
            if region[candidate] == region[way] and corners[arc, backward] == corner:
                follow[way] = candidate
                if (headings[arc, backward] + 2 * backward) % 4 == right:
                    break
            candidate = following[candidate]
    return follow


@compiled
def _slot(corner, shift):
    """Return the slot of a corner in the table: multiplicative hashing (Knuth 1973)."""
    return np.uint64(corner) * np.uint64(0x9E3779B97F4A7C15) >> shift


@compiled
def find_rings(follow, region, area2, edges):
    """Return for each ring its first way, its region, twice its area and its number of vertices."""
    count = len(area2)
    done = np.zeros(2 * count, np.bool_)
    starts, regions = np.empty(2 * count, np.int64), np.empty(2 * count, np.int32)
    areas, lengths = np.zeros(2 * count, np.int64), np.ones(2 * count, np.int64)
    rings = 0
    for way in range(2 * count):
        if done[way] or not region[way]:
            continue
        starts[rings], regions[rings] = way, region[way]
        current = way
        while not done[current]:
            done[current] = True
            arc = current % count
            areas[rings] += area2[arc] if current < count else -area2[arc]
            lengths[rings] += edges[arc]
            current = follow[current]
        rings += 1
    return starts[:rings].copy(), regions[:rings].copy(), areas[:rings].copy(), lengths[:rings].copy()


@compiled
def draw_rings(vertices, first, last, follow, starts, offsets):
    """Return the vertices of rings, each closed; arc i has the vertices first[i] to last[i] inclusive."""
    count = len(first)
    out = np.empty((offsets[-1], 2), vertices.dtype)
    for ring in range(len(starts)):
        n = offsets[ring]
        current = starts[ring]
        while True:
            arc = current % count
            begin, step = (first[arc], 1) if current < count else (last[arc], -1)
            for k in range(last[arc] - first[arc]):
                out[n + k, 0], out[n + k, 1] = vertices[begin + step * k, 0], vertices[begin + step * k, 1]
            n += last[arc] - first[arc]
            current = follow[current]
            if current == starts[ring]:
                break
        out[n] = out[offsets[ring]]
    return out
