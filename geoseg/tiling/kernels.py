"""The loops over sums of probabilities, compiled."""

import numpy as np
from numba import njit

from geoseg.tiling.taper import UNIT

PROBABILITY_BITS = 14
"""Probabilities are rounded to multiples of 2^-14."""
TOTAL_BITS = PROBABILITY_BITS + 2 * (UNIT.bit_length() - 1)
"""A probability of 1 sums to 2^30."""


@njit(nogil=True, cache=True)
def add(sums, probabilities, row_weights, col_weights):
    """Round the probabilities of a tile, weigh them and add them to `sums`, all (C, rows, cols)."""
    one = np.float32(1 << PROBABILITY_BITS)
    for c in range(sums.shape[0]):
        for i in range(sums.shape[1]):
            weight = row_weights[i]
            for j in range(sums.shape[2]):
                sums[c, i, j] += np.int32(np.rint(probabilities[c, i, j] * one)) * (weight * col_weights[j])


@njit(nogil=True, cache=True)
def strongest(sums):
    """Return the channel with the largest of the sums (C, rows, cols), the first of equals, and that sum."""
    best = sums[0].copy()
    channel = np.zeros(best.shape, dtype=np.uint8)
    # Along rows, channel by channel: a row of both stays in the cache, and the loop runs without branches.
    for i in range(sums.shape[1]):
        for c in range(1, sums.shape[0]):
            for j in range(sums.shape[2]):
                more = sums[c, i, j] > best[i, j]
                channel[i, j] = c if more else channel[i, j]
                best[i, j] = sums[c, i, j] if more else best[i, j]
    return channel, best


@njit(nogil=True, cache=True)
def percent(sums):
    """Return sums (rows, cols) as whole percent."""
    out = np.empty(sums.shape, dtype=np.uint8)
    for i in range(sums.shape[0]):
        for j in range(sums.shape[1]):
            # 23 bits are left, times 100 fits 31.
            scaled = (sums[i, j] >> 7) * 100 + (1 << (TOTAL_BITS - 8))
            out[i, j] = scaled >> (TOTAL_BITS - 7)
    return out
