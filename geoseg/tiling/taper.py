"""Blend weights along one axis, as integers.

Within an overlap the weights of the two tiles add up to `UNIT` on every pixel, and the outer flanks of the
first and last tile are flat, so weights sum to the same constant on every pixel: no normaliser is needed.
"""

import numpy as np
from numpy.typing import NDArray

UNIT = 256
"""Sum of the weights along one axis, on every pixel of the scene."""


def rising(overlap: int) -> NDArray[np.int32]:
    """Return the weights of a tile's leading overlap, shape (overlap,): a Hann flank, rounded to 1 / 256."""
    position = (np.arange(overlap) + 0.5) / max(overlap, 1)
    weights: NDArray[np.int32] = np.rint(UNIT * np.sin(0.5 * np.pi * position) ** 2).astype(np.int32)
    return weights


def taper(tile: int, overlap: int, *, first: bool, last: bool) -> NDArray[np.int32]:
    """Return the weights of one tile, shape (tile,), 0 to `UNIT`.

    Parameters
    ----------
    tile, overlap
        Sizes in pixels, with overlap at most half a tile.
    first, last
        Whether the tile is the first or the last of its axis, where the flank has no neighbour and stays
        flat.
    """
    weights = np.full(tile, UNIT, dtype=np.int32)
    if not first:
        weights[:overlap] = rising(overlap)
    if not last:
        weights[tile - overlap :] = UNIT - rising(overlap)
    return weights
