"""The class map in finished blocks, read window by window: the mask that another network reads."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from geoseg.core.geometry import Span, Window
from geoseg.core.legend import NODATA
from geoseg.raster.staging import Staging
from geoseg.tiling.blocks import BlockAxis, BlockGrid


@dataclass(frozen=True, eq=False)
class StagedMap:
    """The classes of finished blocks."""

    staging: Staging
    blocks: BlockGrid
    """Blocks that are not mapped have no class."""
    place: Window
    """Where the map of the blocks lies in the grid that windows are of."""

    def read(self, window: Window) -> NDArray[np.uint8]:
        """Read a window: class ids, 255 where there is none, shape (rows, cols).

        Raises
        ------
        OutputError
            When a block is damaged or was removed.
        OSError
            When they cannot be read.
        """
        found = np.full(window.shape, NODATA, np.uint8)
        here = window.shift(-self.place.rows.start, -self.place.cols.start)
        for row in _meeting(self.blocks.rows, here.rows):
            for col in _meeting(self.blocks.cols, here.cols):
                if not self.blocks.is_mapped(row, col):
                    continue
                block = self.blocks.block(row, col)
                part = block.core.intersect(here)
                found[part.relative_to(here)] = self.staging.read(block, 1, part)
        return found


def _meeting(axis: BlockAxis, span: Span) -> list[int]:
    """Return the blocks whose cores meet a span."""
    return [i for i in range(axis.count) if axis.core(i).intersect(span)]
