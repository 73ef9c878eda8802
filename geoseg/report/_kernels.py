"""The loop over all pixels of a map, compiled."""

from geoseg.core.compiled import compiled
from geoseg.core.legend import NODATA


@compiled
def count_pixels(around, percent, origin, first, side, counts, cells, changes):
    """Count the pixels of a window, and the changes from its neighbours in the north and west.

    `around` (rows, cols) begins at `origin`, `percent` at `first`, a row and a column later unless the map
    begins there. `counts` (class, percent), `cells` (pixels and percents by cell of `side`) and `changes`
    (pairs and changes of rows, then of cols) are added to.
    """
    pixels, percents = cells
    row_pairs, row_changes, col_pairs, col_changes = changes
    north, west = first[0] - origin[0], first[1] - origin[1]
    for i in range(percent.shape[0]):
        row, j = first[0] + i, 0
        pairs = changed = 0
        while j < percent.shape[1]:
            # Up to the next cell, so that its sums stay in registers.
            cell = (first[1] + j) // side
            stop = min((cell + 1) * side - first[1], percent.shape[1])
            valid = total = 0
            for k in range(j, stop):
                found, col = around[i + north, k + west], first[1] + k
                if found == NODATA:
                    continue
                counts[found, percent[i, k]] += 1
                valid += 1
                total += percent[i, k]
                above = around[i + north - 1, k + west] if row else NODATA
                left = around[i + north, k + west - 1] if col else NODATA
                pairs += above != NODATA
                changed += (above != NODATA) & (above != found)
                col_pairs[col] += left != NODATA
                col_changes[col] += (left != NODATA) & (left != found)
            pixels[row // side, cell] += valid
            percents[row // side, cell] += total
            j = stop
        row_pairs[row] += pairs
        row_changes[row] += changed
