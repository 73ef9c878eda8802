"""Exact sums of overlapping predictions.

Probabilities are rounded to 2^-14 and weighted with integers (8 bits an axis), so the sum over all tiles of a
pixel is at most 2^30 and integer addition has no order: whatever the blocks, workers and retries, the
same tiles give the same bytes.
"""

from dataclasses import dataclass
from typing import Any, Self, TypeAlias

import numpy as np
from numpy.typing import NDArray

from geoseg.core.geometry import Window
from geoseg.tiling.arrays import HOST, Arrays
from geoseg.tiling.blocks import Block
from geoseg.tiling.grid import TileGrid
from geoseg.tiling.taper import taper

Sums: TypeAlias = NDArray[np.int32]
"""Weighted sums, shape (C, rows, cols)."""


@dataclass(frozen=True, slots=True)
class Fringe:
    """What a block adds to the open strips of its east, south and south-east neighbours."""

    east: Sums | None
    """Shape (C, core rows, overlap); None when there is no neighbour or nothing to add."""
    south: Sums | None
    """Shape (C, overlap, core cols)."""
    southeast: Sums | None
    """Shape (C, overlap, overlap)."""


@dataclass(frozen=True, slots=True)
class Strips:
    """The part of a block's core that waits for its neighbours' fringes: its open rows, then columns."""

    north: Sums
    """Shape (C, open rows, core cols)."""
    west: Sums
    """Shape (C, core rows - open rows, open cols)."""

    def settle(self, from_north: Sums | None, from_west: Sums | None, from_northwest: Sums | None) -> Self:
        """Return the strips with what the three neighbours add; None where one adds nothing.

        Parameters
        ----------
        from_north
            The `south` fringe of the block above.
        from_west
            The `east` fringe of the block to the left.
        from_northwest
            The `southeast` fringe of the block above that one.
        """
        rows, cols = self.north.shape[1], self.west.shape[2]
        top, side = self.north.copy(), self.west.copy()
        if from_north is not None:
            top += from_north
        if from_west is not None:
            top[:, :, :cols] += from_west[:, :rows]
            side += from_west[:, rows:]
        if from_northwest is not None:
            top[:, :, :cols] += from_northwest
        return type(self)(top, side)


class Mosaic:
    """The sums of one block's canvas.

    Parameters
    ----------
    grid
        The tiles of the scene.
    block
        The block whose tiles will be added.
    channels
        Number of network channels, C.
    arrays
        Where the probabilities are, and so the sums.
    """

    def __init__(self, grid: TileGrid, block: Block, channels: int, arrays: Arrays = HOST) -> None:
        self.grid = grid
        self.block = block
        self.channels = channels
        self.arrays = arrays
        self._sums: Any = None
        """None before the first tile: they are larger than the pixels that wait for the network."""

    def add(self, tile: Window, probabilities: Any) -> None:
        """Add one tile's prediction.

        Parameters
        ----------
        tile
            One of the block's tiles.
        probabilities
            Shape (C, tile rows, tile cols), 0 to 1, float32.
        """
        canvas = self.block.canvas
        seen = tile.intersect(canvas)
        rows, cols = seen.relative_to(tile)
        weighed = (
            probabilities[:, rows, cols],
            self._weights(tile.rows.start, axis=0)[rows],
            self._weights(tile.cols.start, axis=1)[cols],
        )
        if self._sums is None and seen == canvas:
            self._sums = self.arrays.weighed(*weighed)
        else:
            self.arrays.add(self.sums[(slice(None), *seen.relative_to(canvas))], *weighed)

    def _weights(self, start: int, axis: int) -> NDArray[np.int32]:
        tiles = (self.grid.rows, self.grid.cols)[axis]
        return taper(
            tiles.tile,
            tiles.overlap,
            first=start == tiles.span(0).start,
            last=start == tiles.span(tiles.count - 1).start,
        )

    @property
    def sums(self) -> Any:
        """Sums of the whole canvas."""
        if self._sums is None:
            self._sums = self.arrays.zeros((self.channels, *self.block.canvas.shape))
        return self._sums

    @property
    def core(self) -> Any:
        """Sums of the pixels that the block owns, a view."""
        height, width = self.block.core.shape
        return self.sums[:, :height, :width]

    def planes(self, ids: NDArray[np.uint8], *, every: bool) -> NDArray[np.uint8]:
        """Return what the sums of the core say by now, see `Arrays.decide`."""
        return self.arrays.decide(self.core, ids, every=every)

    def strips(self) -> Strips:
        """Copy the part of the core that waits for the neighbours."""
        rows, cols = self.block.open_rows, self.block.open_cols
        return Strips(*(self.arrays.get(part) for part in (self.core[:, :rows], self.core[:, rows:, :cols])))

    def fringe(self) -> Fringe:
        """Copy what belongs to the neighbours, each part as its own small array."""
        height, width = self.block.core.shape
        east = self.sums[:, :height, width:]
        south = self.sums[:, height:, :width]
        southeast = self.sums[:, height:, width:]
        return Fringe(*(self.arrays.get(p) if all(p.shape) else None for p in (east, south, southeast)))
