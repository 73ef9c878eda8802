"""Connected regions of a block of values."""

from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from geoseg.vector.trace import _run_kernels

T = TypeVar("T", bound=np.generic)

NONE, OUTSIDE = -1, -2
"""Values of nodata pixels and of pixels beyond the map. They differ, so that the map's frame is a boundary
where nodata reaches it, too. They are negative, so that no class has them."""


@dataclass(frozen=True)
class Runs:
    """The 4-connected regions of equal values of a block, as runs of pixels: each lies in one row.

    Regions have numbers from 1, their *labels*, in scan order of their first pixel.
    """

    shape: tuple[int, int]
    """Rows and columns of the block."""
    starts: NDArray[np.int32]
    """Run i has the pixels starts[i] to starts[i + 1], counted in scan order, shape (R + 1,)."""
    rows: NDArray[np.int32]
    """Row y has the runs rows[y] to rows[y + 1], shape (rows + 1,)."""
    labels: NDArray[np.int32]
    """Region of each run, 0 where values are negative, shape (R,)."""
    values: NDArray[np.int64]
    """Value of each run, shape (R,)."""
    count: int
    """Number of regions."""

    @classmethod
    def of(cls, values: NDArray[np.signedinteger], margin: int = 0) -> "Runs":
        """Find the regions of a block.

        By union-find over runs (Rosenfeld and Pfaltz 1966; He, Chao and Suzuki 2008).

        Parameters
        ----------
        values
            Shape (rows, cols); pixels with a negative value belong to no region.
        margin
            Pixels on each side of the array that do not belong to the block.
        """
        rows, cols = values.shape
        return cls((rows - 2 * margin, cols - 2 * margin), *_run_kernels.find_runs(values, margin))

    @property
    def lengths(self) -> NDArray[np.int32]:
        """Pixels of each run, shape (R,)."""
        return np.diff(self.starts)

    @property
    def firsts(self) -> NDArray[np.int64]:
        """First run of each region, shape (count,)."""
        before = np.append(0, np.maximum.accumulate(self.labels)[:-1])
        return np.flatnonzero(self.labels > before)

    def to_pixels(self, numbers: NDArray[T]) -> NDArray[T]:
        """Return an image of the block, shape (rows, cols), from a number for each run, shape (R,)."""
        return np.repeat(numbers, self.lengths).reshape(self.shape)
