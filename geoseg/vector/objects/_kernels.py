"""The loop over painted objects, compiled."""

from geoseg.core.compiled import compiled


@compiled
def note(numbers, blocked, first, pixels, edge, top, left, width):
    """Note of each number its first pixel in scan order, its pixels, and whether it touches a blocked one.

    `numbers` and `blocked` have a halo of one pixel, which `first` and `pixels` leave out.
    """
    rows, cols = numbers.shape
    for y in range(1, rows - 1):
        for x in range(1, cols - 1):
            number = numbers[y, x]
            if number == 0:
                continue
            first[number] = min(first[number], (top + y - 1) * width + left + x - 1)
            pixels[number] += 1
            if blocked[y - 1, x] or blocked[y + 1, x] or blocked[y, x - 1] or blocked[y, x + 1]:
                edge[number] = True
