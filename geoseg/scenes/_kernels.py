"""The loop of resampling, compiled."""

import numpy as np

from geoseg.core.compiled import compiled


@compiled
def weigh(plane, row_index, row_weight, col_index, col_weight):
    """Return weighted sums of a plane (rows, cols), first along its rows, then along its columns."""
    zero = np.float32(0)
    across = np.empty((plane.shape[0], col_index.shape[0]), dtype=np.float32)
    for i in range(across.shape[0]):
        for j in range(across.shape[1]):
            total = zero
            for k in range(col_index.shape[1]):
                total += np.float32(plane[i, col_index[j, k]]) * col_weight[j, k]
            across[i, j] = total
    down = np.zeros((row_index.shape[0], across.shape[1]), dtype=np.float32)
    for i in range(down.shape[0]):
        for k in range(row_index.shape[1]):
            line, weight = row_index[i, k], row_weight[i, k]
            for j in range(down.shape[1]):
                down[i, j] += across[line, j] * weight
    return down
