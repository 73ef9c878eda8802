"""Majority filter and closing: what becomes of a pixel depends on pixels at a known distance alone."""

import numpy as np
from numpy.typing import NDArray

from geoseg.core.legend import NODATA
from geoseg.raster.postprocess import _kernels
from geoseg.raster.postprocess.steps import Steps


def filtered(classes: NDArray[np.uint8], steps: Steps) -> NDArray[np.uint8]:
    """Return a class map after majority filter and closing, shape (rows, cols).

    The majority filter comes first, so that closing does not join what is noise; nothing is closed and then
    opened again. Pixels beyond the array count as nodata: a part of a map is right `Steps.margin` pixels
    inside its rim.

    Examples
    --------
    >>> filtered(np.array([[1, 2, 1]], np.uint8), Steps(closing=((1, 1),)))
    array([[1, 1, 1]], dtype=uint8)
    """
    if steps.majority:
        classes = _kernels.majority(np.ascontiguousarray(classes), steps.majority // 2)
    return closed(classes, steps.closing) if steps.closing else classes


def closed(classes: NDArray[np.uint8], closing: tuple[tuple[int, int], ...]) -> NDArray[np.uint8]:
    """Close classes with discs (Serra 1982): gaps into which no disc of the radius fits are filled.

    Parameters
    ----------
    classes
        Class ids, shape (rows, cols). Nodata stays.
    closing
        Class ids and radii in pixels. A class takes no pixel of a class that is named before it, neither one
        that it had nor one that it took.
    """
    out, free = classes.copy(), classes != NODATA
    for number, radius in closing:
        mask = classes == number
        # A gap may be closed over the frame of the map, beyond which there is nothing.
        grown = _kernels.dilated(np.pad(mask, radius), radius)
        filled = ~_kernels.dilated(~grown, radius)[radius:-radius, radius:-radius]
        taken = filled & free & ~mask
        out[taken] = number
        free &= ~(taken | mask)
    return out
