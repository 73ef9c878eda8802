"""Loops over regions: the minimum mapping unit, the markers of watersheds, and the numbers of objects."""

import heapq

import numpy as np

from geoseg.core.compiled import compiled
from geoseg.vector.trace._run_kernels import find_root


@compiled
def find_borders(starts, rows, labels):
    """Return the two regions at each border between two runs of a block, shape (E, 2), and its length."""
    pairs, lengths = np.empty((3 * len(labels), 2), np.int64), np.empty(3 * len(labels), np.int64)
    cols = starts[rows[1]]
    count = 0
    for y in range(len(rows) - 1):
        below, stop = rows[y + 1], rows[min(y + 2, len(rows) - 1)]
        for k in range(rows[y], rows[y + 1]):
            # The next run in the row, then the runs below.
            if k + 1 < rows[y + 1] and labels[k] and labels[k + 1]:
                pairs[count, 0], pairs[count, 1], lengths[count] = labels[k], labels[k + 1], 1
                count += 1
            begin, end = starts[k] + cols, starts[k + 1] + cols
            while below < stop and starts[below] < end:
                if labels[k] and labels[below] and labels[k] != labels[below]:
                    pairs[count, 0], pairs[count, 1] = labels[k], labels[below]
                    lengths[count] = min(end, starts[below + 1]) - max(begin, starts[below])
                    count += 1
                if starts[below + 1] > end:
                    break
                below += 1
    return pairs[:count], lengths[:count]


@compiled
def join_small(parent, value, pixels, first, pairs, lengths, minimum):
    """Let regions of less than `minimum` pixels join a neighbour, see `mapping_unit`.

    `parent` becomes the union-find forest of the joined regions, `value` holds their class at the root; the
    other arrays are overwritten.
    """
    count = len(parent)
    # The borders of each small region are a linked list: half edge 2 e belongs to pairs[e, 0], 2 e + 1 to
    # pairs[e, 1].
    following = np.full(2 * len(pairs), -1, np.int64)
    head, tail = np.full(count, -1, np.int64), np.full(count, -1, np.int64)
    for half in range(2 * len(pairs)):
        owner = pairs[half // 2, half % 2]
        if pixels[owner] >= minimum:
            continue
        if head[owner] < 0:
            head[owner] = half
        else:
            following[tail[owner]] = half
        tail[owner] = half
    heap = [(np.int64(0), np.int64(0), np.int64(0))]
    heap.pop()
    for i in range(1, count):
        if parent[i] == i and pixels[i] < minimum:
            heapq.heappush(heap, (pixels[i], first[i], np.int64(i)))
    shared = np.zeros(count, np.int64)
    while heap:
        size, _, small = heapq.heappop(heap)
        if parent[small] != small or pixels[small] != size:
            continue
        best, around = np.int64(0), [np.int64(0)]
        around.pop()
        half = head[small]
        while half >= 0:
            other = np.int64(find_root(parent, pairs[half // 2, 1 - half % 2]))
            if other != small:
                if shared[other] == 0:
                    around.append(other)
                shared[other] += lengths[half // 2]
            half = following[half]
        for other in around:
            if best == 0 or (shared[other], pixels[other], -first[other]) > (
                shared[best], pixels[best], -first[best],
            ):  # fmt: skip
                best = other
        for other in around:
            shared[other] = 0
        if best == 0:
            continue
        joined_value = value[best]
        around.append(small)
        root = best
        for other in around:
            if other == best or (value[other] != joined_value and other != small):
                continue
            a, b = (root, other) if root < other else (other, root)
            parent[b] = a
            pixels[a] += pixels[b]
            first[a] = min(first[a], first[b])
            if head[b] >= 0:
                if head[a] < 0:
                    head[a] = head[b]
                else:
                    following[tail[a]] = head[b]
                tail[a] = tail[b]
            root = a
        value[root] = joined_value
        if pixels[root] < minimum:
            heapq.heappush(heap, (pixels[root], first[root], np.int64(root)))


@compiled
def find_peaks(distance, order, depth):
    """Return the maxima whose dynamics exceed `depth`, the highest first.

    The dynamics of a maximum (Grimaud 1992) is the least descent on a path to a higher maximum; of equal ones
    the first in `order` counts as higher. It is found by joining pixels from the highest down (Najman and
    Couprie 2006).

    Parameters
    ----------
    distance
        The heights, with a margin of one pixel, shape (rows, cols).
    order
        Positions of the region's pixels in the flattened array, from the highest down.
    depth
        Dynamics above which a maximum is returned.
    """
    height = distance.ravel()
    steps = (-distance.shape[1], -1, 1, distance.shape[1])
    parent = np.full(len(height), -1, np.int32)  # the root of a joined set is its maximum
    rank = np.empty(len(height), np.int32)
    kept = np.zeros(len(order), np.bool_)
    kept[0] = True
    for i in range(len(order)):
        pixel = order[i]
        parent[pixel], rank[pixel] = pixel, i
        for step in steps:
            if parent[pixel + step] < 0:
                continue
            one, other = _root(parent, pixel), _root(parent, pixel + step)
            if one == other:
                continue
            high, low = (one, other) if rank[one] < rank[other] else (other, one)
            kept[rank[low]] |= height[low] - height[pixel] > depth
            parent[low] = high
    return order[kept]


@compiled
def _root(parent, i):
    while parent[i] != i:
        parent[i] = parent[parent[i]]
        i = parent[i]
    return i


@compiled
def note_first(numbers, first, top, left, width):
    """Lower `first`, the first pixel of each number in scan order of the map, by the pixels of a block."""
    rows, cols = numbers.shape
    for y in range(rows):
        for x in range(cols):
            number = numbers[y, x]
            first[number] = min(first[number], (top + y) * width + left + x)
