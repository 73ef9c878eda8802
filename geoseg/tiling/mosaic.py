"""Exact sums of overlapping predictions.

Probabilities are rounded to 2^-14 and weighted with integers (8 bits an axis), so the sum over all tiles of a
pixel is at most 2^30. Integer addition does not depend on the order, so the same tiles give the same bytes,
whatever the blocks, workers and retries.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Self, TypeAlias

import numpy as np
from numpy.typing import NDArray

from geoseg.core.geometry import Span, Window
from geoseg.tiling.arrays import HOST, Arrays, Weights
from geoseg.tiling.blocks import Block
from geoseg.tiling.grid import TileGrid
from geoseg.tiling.heads import ClassHead, Head
from geoseg.tiling.taper import taper

Sums: TypeAlias = NDArray[np.int32]
"""Weighted sums, shape (C, rows, cols)."""


@dataclass(frozen=True, slots=True)
class Fringe:
    """The sums that a block adds to the open strips of its east, south and south-east neighbours."""

    east: Sums | None
    """Shape (C, core rows, overlap); None without a neighbour, or when there is nothing to add."""
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
        """Return the strips with the fringes of the three neighbours added; None where one adds nothing.

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


@dataclass(frozen=True, slots=True)
class Parts:
    """The result of a block's own tiles: its final pixels, and the sums shared with its neighbours."""

    planes: NDArray[Any]
    """See `Head`, shape (planes, core rows, core cols); zeros in the open strips."""
    strips: Strips
    fringe: Fringe


class Mosaic:
    """The sums of one block.

    Parameters
    ----------
    grid
        The tiles of the scene.
    block
        The block whose tiles will be added.
    ids
        Class id of each network channel, shape (C,).
    every
        Whether to return the per cent of every class, too.
    arrays
        The kind of arrays of the probabilities, and so of the sums.
    head
        What the channels mean, instead of classes with these ids.
    """

    def __init__(
        self,
        grid: TileGrid,
        block: Block,
        ids: NDArray[np.uint8] | None = None,
        *,
        every: bool = False,
        arrays: Arrays = HOST,
        head: Head | None = None,
    ) -> None:
        self.grid = grid
        self.block = block
        self.head = head or ClassHead(() if ids is None else tuple(ids.tolist()), every)
        self.arrays = arrays
        self._sums: Any = None
        """Sums of the whole canvas of a block of several tiles; None before the first tile."""
        self._parts: Parts | None = None
        """Parts of a block of one tile in this process's memory: most pixels are final, no sums are kept."""

    def add(self, tile: Window, probabilities: Any, member: int = 0) -> None:
        """Add one tile's prediction.

        Parameters
        ----------
        tile
            One of the block's tiles, each once (of an ensemble once for each member): the pixels that were
            fed.
        probabilities
            Shape (C, tile rows, tile cols), 0 to 1, float32; the array may be reused afterwards.
        member
            Place of the network among the members of an ensemble, from 0.
        """
        # Of several tiles one may be wanted alone, which does not cover the canvas then.
        alone = len(self.block.tiles) == 1 and tile.intersect(self.block.canvas) == self.block.canvas
        if alone and self.arrays is HOST and len(probabilities) == self.head.channels:
            self._parts = self._single(tile, probabilities, self._weights(tile))
        else:
            self.add_to_sums(tile, probabilities, member)

    def add_to_sums(self, tile: Window, probabilities: Any, member: int = 0) -> None:
        """Add one tile's prediction to `sums`, whatever the number of tiles; see `add`."""
        canvas, count = self.block.canvas, len(probabilities)
        part = tile.intersect(canvas)
        own = self.sums[member * count : (member + 1) * count]
        self.arrays.add(
            own, part.relative_to(canvas), probabilities, self._weights(tile), part.relative_to(tile)
        )

    def _weights(self, tile: Window) -> Weights:
        """Return the weights of the rows and of the columns that are fed for a tile."""
        return self._along(tile.rows.start, axis=0), self._along(tile.cols.start, axis=1)

    def _along(self, start: int, axis: int) -> NDArray[np.int32]:
        tiles = (self.grid.rows, self.grid.cols)[axis]
        first, last = tiles.at_end(start)
        weights = taper(tiles.tile, tiles.overlap, first=first, last=last)
        # What a tile inside a picture is fed before its span is context only.
        moved = tiles.moved(start)
        return np.pad(weights[: tiles.tile - moved], (moved, 0)) if moved else weights

    @property
    def sums(self) -> Any:
        """Sums of the whole canvas."""
        if self._sums is None:
            self._sums = self.arrays.zeros((self.head.channels, *self.block.canvas.shape))
        return self._sums

    def parts(self) -> Parts:
        """Return the result of the tiles added so far; it shares no memory with the sums."""
        if self._parts is not None:
            return self._parts
        canvas = self.block.canvas
        return self._assembled(
            lambda w: self.arrays.get(self.sums[:, *w.relative_to(canvas)]),
            lambda w: self.head.decide(self.arrays, self.sums, w.relative_to(canvas)),
        )

    def _single(self, tile: Window, probabilities: Any, weights: Weights) -> Parts:
        """Return the result of the only tile."""
        return self._assembled(
            lambda w: HOST.weighed(probabilities, weights, w.relative_to(tile)),
            lambda w: self.head.decide_weighed(probabilities, weights, w.relative_to(tile)),
        )

    def _assembled(self, sums: Callable[[Window], Sums], decided: Callable[[Window], NDArray[Any]]) -> Parts:
        """Assemble the parts from functions that return sums and planes of windows on the canvas."""
        block, core, canvas = self.block, self.block.core, self.block.canvas
        # The first pixel of the closed part of the core.
        row, col = core.rows.start + block.open_rows, core.cols.start + block.open_cols
        closed = Window(Span(row, core.rows.stop), Span(col, core.cols.stop))
        south, east = Span(core.rows.stop, canvas.rows.stop), Span(core.cols.stop, canvas.cols.stop)
        outside = Window(core.rows, east), Window(south, core.cols), Window(south, east)
        planes = np.zeros((self.head.planes, *core.shape), self.head.dtype)
        if closed:
            planes[:, *closed.relative_to(core)] = decided(closed)
        return Parts(
            planes,
            Strips(
                north=sums(Window(Span(core.rows.start, row), core.cols)),
                west=sums(Window(closed.rows, Span(core.cols.start, col))),
            ),
            Fringe(*(sums(w) if w else None for w in outside)),
        )
