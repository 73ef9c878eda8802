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


@compiled
def warp(values, valid, corner, shape, rows, cols, origin, step, whole, out, out_valid):
    """Interpolate between the four nearest pixel centres at places that are known at corners of a lattice.

    Parameters
    ----------
    values, valid
        Pixels of the source from `corner` on, shapes (bands, rows, cols) and (rows, cols).
    shape
        Height and width of the source; beyond its outermost centres they are repeated.
    rows, cols
        Places in the source of every `step`-th corner of the target around the window.
    origin
        First pixel of the window.
    whole
        Whether numbers are rounded.
    out, out_valid
        Filled where the nearest pixel is valid; the others take no part.
    """
    for i in range(out.shape[1]):
        down = (origin[0] + i + 0.5) / step
        k = int(np.floor(down))
        s = down - k
        k -= origin[0] // step
        for j in range(out.shape[2]):
            across = (origin[1] + j + 0.5) / step
            m = int(np.floor(across))
            t = across - m
            m -= origin[1] // step
            r = (rows[k, m] * (1 - t) + rows[k, m + 1] * t) * (1 - s)
            r += (rows[k + 1, m] * (1 - t) + rows[k + 1, m + 1] * t) * s
            c = (cols[k, m] * (1 - t) + cols[k, m + 1] * t) * (1 - s)
            c += (cols[k + 1, m] * (1 - t) + cols[k + 1, m + 1] * t) * s
            # Also false for infinity and NaN.
            if not (0 <= r < shape[0] and 0 <= c < shape[1]):
                continue
            if not valid[int(r) - corner[0], int(c) - corner[1]]:
                continue
            top, left = int(np.floor(r - 0.5)), int(np.floor(c - 0.5))
            below, right = r - 0.5 - top, c - 0.5 - left
            r0, r1 = max(top, 0) - corner[0], min(top + 1, shape[0] - 1) - corner[0]
            c0, c1 = max(left, 0) - corner[1], min(left + 1, shape[1] - 1) - corner[1]
            w00 = (1 - below) * (1 - right) * valid[r0, c0]
            w01 = (1 - below) * right * valid[r0, c1]
            w10 = below * (1 - right) * valid[r1, c0]
            w11 = below * right * valid[r1, c1]
            total = w00 + w01 + w10 + w11
            for b in range(out.shape[0]):
                mean = 0.0
                # A weight of 0 must not meet the NaN of an invalid pixel.
                if w00 > 0:
                    mean += w00 * values[b, r0, c0]
                if w01 > 0:
                    mean += w01 * values[b, r0, c1]
                if w10 > 0:
                    mean += w10 * values[b, r1, c0]
                if w11 > 0:
                    mean += w11 * values[b, r1, c1]
                mean /= total
                out[b, i, j] = np.rint(mean) if whole else mean
            out_valid[i, j] = True


@compiled
def median(values, valid, out):
    """Write the median of the valid ones of stacked planes, band by band.

    Parameters
    ----------
    values, valid
        Shapes (planes, bands, rows, cols), float32, and (planes, rows, cols).
    out
        Shape (bands, rows, cols), float32; NaN where no plane is valid.
    """
    planes, bands, height, width = values.shape
    found = np.empty(planes, dtype=np.float32)
    for i in range(height):
        for j in range(width):
            for b in range(bands):
                n = 0
                for k in range(planes):
                    if valid[k, i, j]:
                        # Insertion sort: planes are few.
                        value = values[k, b, i, j]
                        place = n
                        while place > 0 and found[place - 1] > value:
                            found[place] = found[place - 1]
                            place -= 1
                        found[place] = value
                        n += 1
                if n == 0:
                    out[b, i, j] = np.nan
                elif n % 2:
                    out[b, i, j] = found[n // 2]
                else:
                    out[b, i, j] = (found[n // 2 - 1] + found[n // 2]) / np.float32(2)
