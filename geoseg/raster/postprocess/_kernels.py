"""Loops over the pixels of a class map: majority filter, closing, connected regions and their borders."""

import math

import numpy as np

from geoseg.core.compiled import compiled
from geoseg.core.legend import NODATA

SMALL, LARGE, CUT = 0, 1, 2
"""States of a region in a window: smaller than the limit, at least as large, or cut by the window's rim."""


@compiled
def majority(classes, half):
    """Return the classes (rows, cols) that are more frequent than any other within `half` pixels.

    Where there is no such class, a pixel keeps its own.
    """
    rows, cols = classes.shape
    out = classes.copy()
    counts, seen = np.zeros(256, np.int64), np.zeros(256, np.bool_)
    for y in range(rows):
        for x in range(cols):
            seen[classes[y, x]] = True
    present = np.flatnonzero(seen[:NODATA]).astype(np.uint8)
    for y in range(rows):
        top, bottom = max(0, y - half), min(rows, y + half + 1)
        counts[:] = 0
        for j in range(min(half, cols)):
            for i in range(top, bottom):
                counts[classes[i, j]] += 1
        for x in range(cols):
            if x + half < cols:
                for i in range(top, bottom):
                    counts[classes[i, x + half]] += 1
            if x - half > 0:
                for i in range(top, bottom):
                    counts[classes[i, x - half - 1]] -= 1
            own = classes[y, x]
            if own == NODATA:
                continue
            best, alone = own, True
            for value in present:
                if counts[value] > counts[best]:
                    best, alone = value, True
                elif counts[value] == counts[best] and value != best:
                    alone = False
            if alone:
                out[y, x] = best
    return out


@compiled
def dilated(mask, radius):
    """Return the pixels (rows, cols) at most `radius` from a pixel of the mask, in a straight line."""
    rows, cols = mask.shape
    nearest = np.empty((rows, cols), np.int32)  # distance along the row
    for y in range(rows):
        last = -radius - 1
        for x in range(cols):
            if mask[y, x]:
                last = x
            nearest[y, x] = x - last
        last = cols + radius + 1
        for x in range(cols - 1, -1, -1):
            if mask[y, x]:
                last = x
            nearest[y, x] = min(nearest[y, x], last - x)
    out = np.zeros((rows, cols), np.bool_)
    for dy in range(-radius, radius + 1):
        reach = np.int64(math.sqrt(radius * radius - dy * dy))
        for y in range(max(0, -dy), min(rows, rows - dy)):
            for x in range(cols):
                out[y, x] |= nearest[y + dy, x] <= reach
    return out


@compiled
def regions(classes):
    """Return the 4-connected regions of equal class: labels from 1 (rows, cols), 0 for nodata; their number.

    Labels are in scan order of the first pixel.
    """
    rows, cols = classes.shape
    labels = np.zeros((rows, cols), np.int32)
    parent = np.zeros(rows * cols + 1, np.int32)
    count = 0
    for y in range(rows):
        for x in range(cols):
            value = classes[y, x]
            if value == NODATA:
                continue
            label = 0
            if x > 0 and classes[y, x - 1] == value:
                label = _root(parent, labels[y, x - 1])
            if y > 0 and classes[y - 1, x] == value:
                above = _root(parent, labels[y - 1, x])
                if label == 0:
                    label = above
                elif label < above:
                    parent[above] = label
                else:
                    parent[label] = above
                    label = above
            if label == 0:
                count += 1
                label = count
                parent[count] = count
            labels[y, x] = label
    number, found = np.zeros(count + 1, np.int32), 0
    for i in range(1, count + 1):
        root = _root(parent, i)  # the smallest label of its region
        if root == i:
            found += 1
            number[i] = found
        else:
            number[i] = number[root]
    for y in range(rows):
        for x in range(cols):
            labels[y, x] = number[labels[y, x]]
    return labels, found


@compiled
def _root(parent, i):
    while parent[i] != i:
        parent[i] = parent[parent[i]]
        i = parent[i]
    return i


@compiled
def sieve_round(classes, labels, count, core, origin, width, cut, limit, longest):
    """Return the classes of the core after one round of the sieve, and whether the window was large enough.

    Parameters
    ----------
    classes, labels, count
        A window of the map, shape (rows, cols), and its regions, see `regions`.
    core
        First row, first column, rows and columns of the core in the window.
    origin, width
        Row and column of the window in the map, and the columns of the map.
    cut
        Whether the map goes on beyond the window in the north, south, west and east.
    limit, longest
        A region of fewer pixels is small, unless it is longer.
    """
    rows, cols = classes.shape
    size, value = np.zeros(count + 1, np.int64), np.zeros(count + 1, np.uint8)
    top, bottom = np.full(count + 1, rows, np.int32), np.zeros(count + 1, np.int32)
    left, right = np.full(count + 1, cols, np.int32), np.zeros(count + 1, np.int32)
    first = np.full(count + 1, -1, np.int64)
    for y in range(rows):
        for x in range(cols):
            i = labels[y, x]
            size[i] += 1
            value[i] = classes[y, x]
            top[i], bottom[i] = min(top[i], y), max(bottom[i], y)
            left[i], right[i] = min(left[i], x), max(right[i], x)
            if first[i] < 0:
                first[i] = (origin[0] + y) * width + origin[1] + x
    state = np.zeros(count + 1, np.uint8)
    for i in range(1, count + 1):
        long = bottom[i] - top[i] >= longest or right[i] - left[i] >= longest
        if size[i] >= limit or long:
            state[i] = LARGE
        elif (
            (cut[0] and top[i] == 0) or (cut[1] and bottom[i] == rows - 1)
            or (cut[2] and left[i] == 0) or (cut[3] and right[i] == cols - 1)
        ):  # fmt: skip
            state[i] = CUT
    near, starts = _neighbours(labels, state, count)
    out = classes[core[0] : core[0] + core[2], core[1] : core[1] + core[3]].copy()
    target = np.full(count + 1, -1, np.int16)  # not decided yet
    for y in range(core[2]):
        for x in range(core[3]):
            i = labels[core[0] + y, core[1] + x]
            if i == 0 or state[i] == LARGE:
                continue
            if state[i] == CUT:
                return out, False
            if target[i] < 0:
                decided = _decide(i, state, value, size, first, near, starts)
                if decided < 0:
                    return out, False
                target[i] = decided
            out[y, x] = target[i]
    return out, True


@compiled
def _neighbours(labels, state, count):
    """Return the regions beyond each pixel edge of every small region, and where those of each begin."""
    rows, cols = labels.shape
    starts = np.zeros(count + 2, np.int64)
    for y in range(rows):
        for x in range(cols):
            i = labels[y, x]
            for dy, dx in ((0, 1), (1, 0)):
                if y + dy < rows and x + dx < cols:
                    j = labels[y + dy, x + dx]
                    if i != j and i and j:
                        starts[i + 1] += state[i] == SMALL
                        starts[j + 1] += state[j] == SMALL
    for i in range(1, count + 2):
        starts[i] += starts[i - 1]
    near, place = np.empty(starts[count + 1], np.int32), starts[:-1].copy()
    for y in range(rows):
        for x in range(cols):
            i = labels[y, x]
            for dy, dx in ((0, 1), (1, 0)):
                if y + dy < rows and x + dx < cols:
                    j = labels[y + dy, x + dx]
                    if i != j and i and j:
                        if state[i] == SMALL:
                            near[place[i]] = j
                            place[i] += 1
                        if state[j] == SMALL:
                            near[place[j]] = i
                            place[j] += 1
    return near, starts


@compiled
def _decide(i, state, value, size, first, near, starts):
    """Return the class of a small region after the round, -1 when the window does not show enough."""
    around = near[starts[i] : starts[i + 1]]
    large = False
    for j in around:
        if state[j] == CUT:
            return -1
        large |= state[j] == LARGE
    if not large:
        for j in around:
            beyond = near[starts[j] : starts[j + 1]]
            joins, unknown = False, False
            for k in beyond:
                joins |= state[k] == LARGE
                unknown |= state[k] == CUT
            if joins:
                return np.int64(value[i])
            if unknown:
                return -1
            if _before(j, i, size, first):
                return np.int64(value[i])
    border = np.zeros(256, np.int64)
    best = np.int64(value[i])  # without a neighbour it stays
    for j in around:
        if not large or state[j] == LARGE:
            border[value[j]] += 1
    for number in range(NODATA):
        if border[number] > border[best]:
            best = np.int64(number)
    return best


@compiled
def _before(j, i, size, first):
    """Return whether a small region joins a neighbour before another one does."""
    if size[j] != size[i]:
        return size[j] < size[i]
    return (_mixed(first[j]), first[j]) < (_mixed(first[i]), first[i])


@compiled
def _mixed(number):
    """Return a number without order (splitmix64): in scan order, regions of one size would form a queue."""
    z = np.uint64(number) + np.uint64(0x9E3779B97F4A7C15)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))
