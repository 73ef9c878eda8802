"""Resampling between grids of one CRS, exact to the pixel centre and the same for any window.

Own code because the result must not depend on how the scene is cut into windows: GDAL chooses kernels and
source windows per request, and leaves pixels empty where a coarser band ends within a fine pixel's width.
Here each output pixel is a short weighted sum of source pixels along each axis.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geoseg.scenes import _kernels


@dataclass(frozen=True)
class Taps:
    """For each output position along one axis, the source positions and their weights."""

    index: NDArray[np.intp]
    """Source positions, shape (outputs, taps)."""
    weight: NDArray[np.float32]
    """Their weights, shape (outputs, taps); each row sums to 1."""

    @property
    def first(self) -> int:
        """Smallest source position in use."""
        return int(self.index.min())

    @property
    def stop(self) -> int:
        """One more than the largest source position in use."""
        return int(self.index.max()) + 1


def bilinear(edges: NDArray[np.float64], length: int) -> Taps:
    """Interpolate between the two nearest source pixel centres; beyond the outermost centres repeat them.

    Parameters
    ----------
    edges
        Where the output pixels begin and end, in source pixels, shape (outputs + 1,).
    length
        Number of source pixels.
    """
    centre = (edges[:-1] + edges[1:]) / 2 - 0.5
    lower = np.floor(centre)
    share = (centre - lower).astype(np.float32)
    index = np.stack([lower, lower + 1], axis=1).astype(np.intp).clip(0, length - 1)
    return Taps(index, np.stack([1 - share, share], axis=1))


def average(edges: NDArray[np.float64], length: int) -> Taps:
    """Weigh source pixels by the share of the output pixel that they cover; parameters as `bilinear`."""
    low, high = edges[:-1], edges[1:]
    taps = int(np.ceil((high - low).max())) + 1
    index = np.floor(low)[:, None] + np.arange(taps)
    cover = (np.minimum(high[:, None], index + 1) - np.maximum(low[:, None], index)).clip(min=0)
    inside = index.astype(np.intp).clip(0, length - 1)
    return Taps(inside, (cover / cover.sum(axis=1, keepdims=True)).astype(np.float32))


def nearest(edges: NDArray[np.float64], length: int) -> Taps:
    """Take the source pixel under the output pixel's centre; parameters as `bilinear`."""
    centre = (edges[:-1] + edges[1:]) / 2
    index = np.floor(centre).astype(np.intp).clip(0, length - 1)[:, None]
    return Taps(index, np.ones(index.shape, dtype=np.float32))


def apply(
    values: NDArray[Any], valid: NDArray[np.bool_] | None, rows: Taps, cols: Taps
) -> tuple[NDArray[np.float32], NDArray[np.bool_] | None]:
    """Resample bands that share their validity.

    Parameters
    ----------
    values, valid
        Source pixels from `rows.first`, `cols.first` on, shape (bands, source rows, source cols) and (source
        rows, source cols); None: all valid.
    rows, cols
        The taps along each axis.

    Returns
    -------
    values, valid
        Shape (bands, outputs along rows, outputs along cols) and without bands. Invalid source pixels take no
        part; an output is valid when at least half of its weight is.
    """
    taps = rows.index - rows.first, rows.weight, cols.index - cols.first, cols.weight
    if valid is None:
        return np.stack([_kernels.weigh(plane, *taps) for plane in values]), None
    share = _kernels.weigh(valid, *taps)
    known = np.where(valid, values, values.dtype.type(0))
    out = np.stack([_kernels.weigh(plane, *taps) for plane in known])
    with np.errstate(divide="ignore", invalid="ignore"):
        out /= share
    out[:, share <= 0] = 0
    return out, share >= 0.5 - 1e-6
