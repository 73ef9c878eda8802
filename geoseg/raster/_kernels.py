"""The loop that reduces a class map to an overview, compiled."""

import numpy as np

from geoseg.core.compiled import compiled


@compiled
def most_frequent(pixels, rows, cols, nodata):
    """Return the class below each pixel (rows, cols) that is first to reach the highest count.

    `rows` and `cols` are ranges of `overviews.source_ranges`.
    """
    out = np.empty((len(rows), len(cols)), np.uint8)
    counts = np.zeros(256, np.int64)
    for i in range(len(rows)):
        for j in range(len(cols)):
            first = pixels[rows[i, 0], cols[j, 0]]
            alike = True
            for y in range(rows[i, 0], rows[i, 1]):
                for x in range(cols[j, 0], cols[j, 1]):
                    alike &= pixels[y, x] == first
            best = first
            if not alike:
                best, most = np.uint8(nodata), 0
                for y in range(rows[i, 0], rows[i, 1]):
                    for x in range(cols[j, 0], cols[j, 1]):
                        value = pixels[y, x]
                        counts[value] += 1
                        if value != nodata and counts[value] > most:
                            best, most = value, counts[value]
                for y in range(rows[i, 0], rows[i, 1]):
                    for x in range(cols[j, 0], cols[j, 1]):
                        counts[pixels[y, x]] = 0
            out[i, j] = best
    return out
