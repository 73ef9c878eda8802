"""The sieve: regions smaller than the minimum mapping unit take the class of a neighbour.

Regions are 4-connected pixels of one class. In each round, all at once,

1. a small region that touches large ones takes the class of these with the longest common border;
2. a small region amid small ones takes the class with the longest common border, unless a neighbour goes
   first: one that touches a large region, a smaller one, or one of its size by a fixed order.

Of equal borders the lowest class id counts. Rounds follow until nothing changes. Each round leaves fewer
regions, since no two neighbours of case 2 change at once, and a large region never does.

No block needs to know the whole map. A small region has less than `limit` pixels, so it lies within that
distance of any of its pixels; and whether a region is large shows within that distance of any of its pixels,
too: the part of it in a window that is cut by the window's rim reaches from the pixel to the rim. What
becomes of a pixel follows from its region, that region's neighbours, and whether their neighbours are large.
So three times the limit around a block are enough, whatever the map is, and most often far fewer are: a
window is widened only when a region that matters is cut and does not show `limit` pixels. For the same reason
a region that is `LONGEST` pixels long or wide counts as large: no window is wider than three times that.

GDAL's sieve (`gdal_sieve`) compares the sizes of neighbours instead, which may be larger than any window, and
leaves small regions amid small ones. Where a small region has one neighbour, the results are the same.
"""

import threading
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import rasterio
from numpy.typing import NDArray
from rasterio.io import DatasetReader

from geoseg.core.geometry import Span, Window
from geoseg.raster.postprocess import _kernels
from geoseg.scenes.windows import to_rasterio

LONGEST = 1024
"""Rows or columns of a region that counts as large, however few pixels it has."""

MARGIN = 64
"""Pixels around a block that are read first."""

_WIDE = 4 * MARGIN
_one_at_a_time = threading.Lock()
"""Held while a wide window is in memory."""


def widest_margin(limit: int, longest: int = LONGEST) -> int:
    """Return the pixels around a block that are enough for any map."""
    return 3 * min(limit - 1, longest) + 2


class Sieved(NamedTuple):
    """A block after a round."""

    block: NDArray[np.uint8]
    changed: bool
    """Whether a pixel changed."""
    margin: int | None
    """Pixels around the block that decided on it; None when the round left it out."""


def widened(window: Window, margin: int) -> Window:
    """Return a window with a margin on each side, which may lie beyond the map."""
    rows, cols = window.rows, window.cols
    return Window(
        Span(rows.start - margin, rows.stop + margin), Span(cols.start - margin, cols.stop + margin)
    )


@dataclass(frozen=True)
class SameBlock:
    """The task that leaves a block as it is."""

    source: Path
    window: Window

    def __call__(self) -> Sieved:
        """Read the block."""
        with rasterio.open(self.source) as src:
            return Sieved(src.read(1, window=to_rasterio(self.window)), changed=False, margin=None)


@dataclass(frozen=True)
class SieveBlock:
    """The task that does one round of the sieve in a block."""

    source: Path
    """Class map before the round."""
    window: Window
    """The block."""
    limit: int
    longest: int = LONGEST
    margin: int = MARGIN

    def __call__(self) -> Sieved:
        """Return the block after the round."""
        most = widest_margin(self.limit, self.longest)
        margin = min(self.margin, most)
        with rasterio.open(self.source) as src:
            while True:
                with _one_at_a_time if margin > _WIDE else nullcontext():
                    sieved = self._round(src, margin)
                if sieved is not None:
                    return sieved
                margin = min(2 * margin, most)

    def _round(self, src: DatasetReader, margin: int) -> Sieved | None:
        """Return the block after the round, None when the margin was too narrow."""
        around = widened(self.window, margin).clip(src.shape)
        classes = src.read(1, window=to_rasterio(around))
        core = self.window.relative_to(around)
        labels, count = _kernels.regions(classes)
        block, enough = _kernels.sieve_round(
            classes, labels, count,
            (core[0].start, core[1].start, *self.window.shape),
            (around.rows.start, around.cols.start), src.width,
            (
                around.rows.start > 0, around.rows.stop < src.height,
                around.cols.start > 0, around.cols.stop < src.width,
            ),
            self.limit, self.longest,
        )  # fmt: skip
        return Sieved(block, bool((block != classes[core]).any()), margin) if enough else None
