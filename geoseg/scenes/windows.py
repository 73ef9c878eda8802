"""The window of rasterio, at the lines that call it; everywhere else a window is `core.geometry.Window`."""

import rasterio

from geoseg.core.geometry import Window


def to_rasterio(window: Window) -> rasterio.windows.Window:
    """Return the window as rasterio takes it: columns before rows, offsets before sizes."""
    height, width = window.shape
    return rasterio.windows.Window(window.cols.start, window.rows.start, width, height)
