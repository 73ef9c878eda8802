"""The value of each region, and sums over its pixels."""

from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from geoseg.vector.trace import _run_kernels
from geoseg.vector.trace.components import Runs


@dataclass(frozen=True)
class Stats:
    """The value of each region and sums over its pixels, all of shape (N,).

    Where regions of the map are counted, index 0 stands for no region.
    """

    value: NDArray[np.int64]
    """Value of all its pixels, see `MapFiles.values`."""
    pixels: NDArray[np.int64]
    confidence: NDArray[np.int64]
    """Sum of the confidence of its pixels in per cent."""
    minimum: NDArray[np.int64]
    """Smallest confidence of a pixel in per cent."""
    doubtful: NDArray[np.int64]
    """Number of pixels with a confidence below the threshold."""
    distance: NDArray[np.int64]
    """Sum of the distances of its pixels from the training pixels, in per cent of their limit."""
    edge: NDArray[np.bool_]
    """Whether it touches nodata or the map's frame, so that the land cover may go on beyond it."""

    def take(self, chosen: NDArray[np.integer]) -> "Stats":
        """Return the chosen regions, by index."""
        return Stats(*(getattr(self, f.name)[chosen] for f in fields(self)))

    def merged(self, root: NDArray[np.integer]) -> "Stats":
        """Return the sums over regions with the same root, at the index of the root; shape of `root` (N,)."""
        value, minimum = self.value[root], np.full_like(self.minimum, 100)
        np.minimum.at(minimum, root, self.minimum)
        edge = np.zeros_like(self.edge)
        np.logical_or.at(edge, root, self.edge)
        sums = []
        for numbers in (self.pixels, self.confidence, self.doubtful, self.distance):
            total = np.zeros_like(numbers)
            np.add.at(total, root, numbers)
            sums.append(total)
        return Stats(value, sums[0], sums[1], minimum, sums[2], sums[3], edge)

    @classmethod
    def of(
        cls,
        runs: Runs,
        percent: NDArray[np.uint8] | None,
        threshold: int,
        levels: NDArray[np.uint8] | None = None,
    ) -> "Stats":
        """Sum over the regions of a block: index 0 is the region with label 1.

        Parameters
        ----------
        runs
            The regions.
        percent
            Confidence of the block's pixels in whole per cent, shape (rows, cols), or None.
        threshold
            Per cent below which a pixel is doubtful.
        levels
            Distance of the block's pixels from the training pixels in whole per cent, shape (rows, cols), or
            None.
        """
        flat, far = (np.empty(0, np.uint8) if a is None else a.reshape(-1) for a in (percent, levels))
        known, measured = percent is not None, levels is not None
        return cls(
            *_run_kernels.sum_pixels(
                runs.starts, runs.labels, runs.values, runs.count, flat, threshold, known, far, measured
            )
        )

    @classmethod
    def concatenate(cls, many: "list[Stats]") -> "Stats":
        """Return the regions of all parts, one after another."""
        return cls(*(np.concatenate([getattr(s, f.name) for s in many]) for f in fields(cls)))


NO_REGION = Stats(*(np.zeros(1, np.bool_ if f.name == "edge" else np.int64) for f in fields(Stats)))
