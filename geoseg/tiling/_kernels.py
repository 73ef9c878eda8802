"""The loops over sums of probabilities, compiled."""

import numpy as np
from numpy.typing import NDArray

from geoseg.core.compiled import compiled
from geoseg.core.legend import NODATA
from geoseg.tiling.taper import UNIT

PROBABILITY_BITS = 14
"""Probabilities are rounded to multiples of 2^-14."""
TOTAL_BITS = PROBABILITY_BITS + 2 * (UNIT.bit_length() - 1)
"""A probability of 1 sums to 2^30."""
LIKELIEST, NOTHING = -1, -2
"""What a pixel becomes that reaches no threshold, see `geoseg.tiling.thresholds`; else a channel."""


def load() -> None:
    """Load numba's compiler, which the first call of any loop waits for."""
    count(np.zeros((1, 1), np.uint8))


# Parts of arrays are passed as the whole array and the first pixel of the part: numba does not know that the
# rows of a view are contiguous, and does not vectorise loops over them.


@compiled
def add(sums, row, col, probabilities, row_weights, col_weights, top, left, rows, cols):
    """Round and weigh a part of a tile (C, rows, cols) from (top, left) on; add it to sums at (row, col)."""
    weights = col_weights[left : left + cols]
    for c in range(sums.shape[0]):
        for i in range(rows):
            line, target = probabilities[c, top + i, left : left + cols], sums[c, row + i, col : col + cols]
            for j in range(cols):
                target[j] += _weighed(line[j], row_weights[top + i], weights[j])


@compiled
def weigh(probabilities, row_weights, col_weights, top, left, out):
    """Write to `out` (C, rows, cols) the values that `add` adds to sums."""
    channels, rows, cols = out.shape
    weights = col_weights[left : left + cols]
    for c in range(channels):
        for i in range(rows):
            line, target = probabilities[c, top + i, left : left + cols], out[c, i]
            for j in range(cols):
                target[j] = _weighed(line[j], row_weights[top + i], weights[j])


@compiled
def _weighed(probability, row_weight, col_weight):
    return np.int32(np.rint(probability * np.float32(1 << PROBABILITY_BITS))) * (row_weight * col_weight)


@compiled
def decide(sums, top, left, ids, planes, least, otherwise):
    """Write the classes and per cent of a part of sums to `planes`, see `Arrays.decide`.

    `least` and `otherwise` are those of `Thresholds`; an empty `least` means none.
    """
    _, rows, cols = planes.shape
    values = np.empty((sums.shape[0], cols), np.int32)
    best, number = np.empty(cols, np.int32), np.empty(cols, np.int32)
    for i in range(rows):
        for c in range(sums.shape[0]):
            values[c] = sums[c, top + i, left : left + cols]
        _decide_row(values, ids, best, number, planes[:, i])
        if len(least):
            _threshold_row(values, ids, least, otherwise, planes[:, i])


@compiled
def decide_weighed(probabilities, row_weights, col_weights, top, left, ids, planes, least, otherwise):
    """Write the result of `decide` for the sums of `weigh`, row by row, so that sums stay in the cache."""
    _, rows, cols = planes.shape
    weights = col_weights[left : left + cols]
    values = np.empty((probabilities.shape[0], cols), np.int32)
    best, number = np.empty(cols, np.int32), np.empty(cols, np.int32)
    for i in range(rows):
        for c in range(probabilities.shape[0]):
            line, target = probabilities[c, top + i, left : left + cols], values[c]
            for j in range(cols):
                target[j] = _weighed(line[j], row_weights[top + i], weights[j])
        _decide_row(values, ids, best, number, planes[:, i])
        if len(least):
            _threshold_row(values, ids, least, otherwise, planes[:, i])


@compiled
def _threshold_row(values, ids, least, otherwise, planes):
    """Write the classes of a row of sums (C, cols) and their per cent over those of `_decide_row`."""
    channels, cols = values.shape
    free = least == 0
    if not free.any():
        free[:] = True
    for j in range(cols):
        best = -1
        for c in range(channels):
            value = np.int64(values[c, j])
            # Ratios of numbers up to 2^30, compared by products up to 2^60.
            if 0 < least[c] <= value and (best < 0 or value * least[best] > values[best, j] * least[c]):
                best = c
        if best < 0 and otherwise == NOTHING:
            planes[:, j] = NODATA
            continue
        if best < 0 and otherwise == LIKELIEST:
            for c in range(channels):
                if free[c] and (best < 0 or values[c, j] > values[best, j]):
                    best = c
        elif best < 0:
            best = otherwise
        planes[0, j] = ids[best]
        planes[1, j] = _percent(values[best, j])


@compiled
def _decide_row(values, ids, best, number, planes):
    """Write the classes and per cent of a row of sums (C, cols); `best` and `number` (cols,) are buffers."""
    channels, cols = values.shape
    best[:], number[:] = values[0], ids[0]
    for c in range(1, channels):
        here = np.int32(ids[c])
        for j in range(cols):
            value, most, kept = values[c, j], best[j], number[j]
            number[j] = here if value > most else kept
            best[j] = max(most, value)
    for j in range(cols):
        planes[0, j] = number[j]
    for j in range(cols):
        planes[1, j] = _percent(best[j])
    for c in range(planes.shape[0] - 2):
        for j in range(cols):
            planes[2 + c, j] = _percent(values[c, j])


@compiled
def count(classes):
    """Return the number of pixels of each id from 0 to 255, shape (256,), in uint8 (rows, cols)."""
    # Four counters for neighbours: the next addition need not wait for the last one to the same counter.
    numbers = np.zeros((4, 256), np.int64)
    for i in range(classes.shape[0]):
        for j in range(classes.shape[1]):
            numbers[j & 3, classes[i, j]] += 1
    return numbers.sum(axis=0)


def percents(sums: NDArray[np.int32]) -> NDArray[np.uint8]:
    """Return sums of any shape as whole per cent, as `_percent` does."""
    shares = ((sums >> 7) * 100 + (1 << (TOTAL_BITS - 8))) >> (TOTAL_BITS - 7)
    return shares.astype(np.uint8)


@compiled
def _percent(value):
    # The shift leaves 23 bits; times 100 they fit into 31.
    return ((value >> 7) * 100 + (1 << (TOTAL_BITS - 8))) >> (TOTAL_BITS - 7)
