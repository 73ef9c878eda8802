"""The loops over sums of probabilities, compiled."""

import numpy as np
from numba import njit

from geoseg.tiling.taper import UNIT

PROBABILITY_BITS = 14
"""Probabilities are rounded to multiples of 2^-14."""
TOTAL_BITS = PROBABILITY_BITS + 2 * (UNIT.bit_length() - 1)
"""A probability of 1 sums to 2^30."""


def load() -> None:
    """Start numba's machine, which the first call of whatever loop waits for."""
    count(np.zeros((1, 1), np.uint8))


@njit(nogil=True, cache=True)
def add(sums, probabilities, row_weights, col_weights):
    """Round the probabilities of a tile, weigh them and add them to `sums`, all (C, rows, cols)."""
    for c in range(sums.shape[0]):
        for i in range(sums.shape[1]):
            for j in range(sums.shape[2]):
                sums[c, i, j] += _weighed(probabilities[c, i, j], row_weights[i], col_weights[j])


@njit(nogil=True, cache=True)
def weigh(probabilities, row_weights, col_weights, out):
    """Write to `out` what `add` adds to sums."""
    for c in range(out.shape[0]):
        for i in range(out.shape[1]):
            for j in range(out.shape[2]):
                out[c, i, j] = _weighed(probabilities[c, i, j], row_weights[i], col_weights[j])


@njit(nogil=True, cache=True)
def _weighed(probability, row_weight, col_weight):
    return np.int32(np.rint(probability * np.float32(1 << PROBABILITY_BITS))) * (row_weight * col_weight)


@njit(nogil=True, cache=True)
def decide(sums, ids, classes, confidence):
    """Write the id of the channel with the largest of the sums (C, rows, cols), and that sum as percent."""
    channels, rows, cols = sums.shape
    best, number = np.empty(cols, np.int32), np.empty(cols, np.int32)
    # Along rows, channel by channel: a row of both stays in the cache.
    for i in range(rows):
        for j in range(cols):
            best[j], number[j] = sums[0, i, j], ids[0]
        for c in range(1, channels):
            here = np.int32(ids[c])
            for j in range(cols):
                value, most, kept = sums[c, i, j], best[j], number[j]
                number[j] = here if value > most else kept
                best[j] = max(most, value)
        for j in range(cols):
            classes[i, j] = number[j]
            confidence[i, j] = _percent(best[j])


@njit(nogil=True, cache=True)
def percent(sums, out):
    """Write sums (rows, cols) as whole percent."""
    for i in range(sums.shape[0]):
        for j in range(sums.shape[1]):
            out[i, j] = _percent(sums[i, j])


@njit(nogil=True, cache=True)
def count(classes):
    """Return how often each id from 0 to 255 is there, shape (256,), of uint8 (rows, cols)."""
    # Four counters for neighbours: the next addition need not wait for the last one to the same counter.
    numbers = np.zeros((4, 256), np.int64)
    for i in range(classes.shape[0]):
        for j in range(classes.shape[1]):
            numbers[j & 3, classes[i, j]] += 1
    return numbers.sum(axis=0)


@njit(nogil=True, cache=True)
def _percent(value):
    # 23 bits are left, times 100 fits 31.
    return ((value >> 7) * 100 + (1 << (TOTAL_BITS - 8))) >> (TOTAL_BITS - 7)
