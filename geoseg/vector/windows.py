"""In which blocks a map is worked on."""

from rasterio.windows import Window

BLOCK = 1024
"""Rows and columns of a block. Where blocks lie makes no difference to a polygon; it decides in which order
they come and at which vertex a ring begins. So it is fixed, and files are the same byte by byte."""


def windows_of(shape: tuple[int, int], block: int) -> list[Window]:
    """Return the blocks of a map, row by row; the last ones may be smaller.

    Parameters
    ----------
    shape
        Rows and columns of the map.
    block
        Rows and columns of a block.
    """
    rows, cols = shape
    return [
        Window(col, row, min(block, cols - col), min(block, rows - row))
        for row in range(0, rows, block)
        for col in range(0, cols, block)
    ]
