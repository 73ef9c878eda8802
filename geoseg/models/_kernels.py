"""The loop over pixels that measures their distance from the training pixels, compiled."""

import math

import numpy as np

from geoseg.core.compiled import compiled

LIMIT = 100
"""Level of the distance within which 99 of 100 training pixels are."""

MOST = 254
"""Highest level; the next number is nodata."""


@compiled
def levels(values, valid, gain, bias, whitening, out):
    """Write the levels of valid pixels (B, rows, cols) to `out` (rows, cols); the others stay as they are.

    `whitening` is divided by the distance of level 100, and `bias` is less the mean.
    """
    bands, rows, cols = values.shape
    away = np.empty(bands)
    for i in range(rows):
        for j in range(cols):
            if not valid[i, j]:
                continue
            for b in range(bands):
                away[b] = values[b, i, j] * gain[b] + bias[b]
            squares = 0.0
            for b in range(bands):
                total = 0.0
                for k in range(b + 1):
                    total += whitening[b, k] * away[k]
                squares += total * total
            # Rounded up, so that what is beyond the limit is above its level. A NaN is far, too.
            level = math.ceil(LIMIT * math.sqrt(squares)) if squares <= 6.4516 else MOST
            out[i, j] = min(level, MOST)
