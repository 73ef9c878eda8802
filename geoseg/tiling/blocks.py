"""Which block owns which pixel.

A block is a group of neighbouring tiles that one task predicts. Along one axis::

      |<------ core of block 0 ------>|<------ core of block 1 ------>|
      [==== tile 0 ====]              |[==== tile 2 ====]             |
                 [==== tile 1 ====]   :           [==== tile 3 ====]
                                  |<->|
      (drawn apart)                fringe: what block 0 adds in block 1's core
                                  |<->|
                                   open strip of block 1: waits for that fringe

Cores partition the scene. A core starts where the block's first tile starts and ends where the next block's
first tile starts; at the border of the map it ends with the map.

Of an area of interest only some tiles are predicted, and only blocks that own a pixel of it are mapped. A
block may be predicted for its fringe alone, also one whose core lies before the map.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, product

import numpy as np
from numpy.typing import NDArray

from geoseg.core.geometry import Span, Window
from geoseg.tiling.grid import TileAxis, TileGrid
from geoseg.tiling.outline import Outline

STRIP = 2
"""Lines of blocks that are predicted together."""


@dataclass(frozen=True, slots=True)
class BlockAxis:
    """The blocks along one axis."""

    tiles: TileAxis
    size: int
    """Tiles in a block; the last block may have fewer."""

    def __post_init__(self) -> None:
        if self.size < 1:
            raise ValueError(f"a block of {self.size} tiles is empty")

    @property
    def count(self) -> int:
        """Number of blocks."""
        return -(-self.tiles.count // self.size)

    def members(self, i: int) -> range:
        """Tiles of block i."""
        return range(i * self.size, min((i + 1) * self.size, self.tiles.count))

    def reach(self, i: int) -> Span:
        """Pixels under the tiles of block i, also beyond the map."""
        members = self.members(i)
        return Span(self.tiles.span(members[0]).start, self.tiles.span(members[-1]).stop)

    def core(self, i: int) -> Span:
        """Pixels that block i owns; none when its tiles only spill into the map."""
        start = self.tiles.span(i * self.size).start
        last = i == self.count - 1
        stop = self.tiles.length if last else self.tiles.span((i + 1) * self.size).start
        return Span(start, stop).clip(self.tiles.length)

    def canvas(self, i: int) -> Span:
        """Pixels of the map that block i adds to: its core and the fringe behind it."""
        return self.reach(i).clip(self.tiles.length)

    def open(self, i: int) -> int:
        """Leading pixels of core i that wait for the previous block's fringe."""
        return len(self.core(i).intersect(self.reach(i - 1))) if i > 0 else 0


@dataclass(frozen=True, slots=True)
class Block:
    """One block: the tiles of one task and the pixels it owns."""

    row: int
    col: int
    tiles: tuple[Window, ...]
    """What the network is fed for its tiles that are predicted, row by row; may reach beyond the map."""
    reach: Window
    """The pixels under these tiles, also beyond the map."""
    core: Window
    """The pixels it owns."""
    canvas: Window
    """The pixels of the map that all of its tiles would add to."""
    open_rows: int
    """Rows at the top of the core that wait for the fringe of the block above."""
    open_cols: int
    """Columns at the left of the core that wait for the fringe of the block to the left."""
    outline: Outline | None = None
    """The outline of the area of interest, as far as it decides on the core; None: all of it is mapped."""

    @property
    def name(self) -> str:
        """Name of its files in staging."""
        return f"block_{self.row:05d}_{self.col:05d}"


@dataclass(frozen=True, eq=False)
class Choice:
    """What an area of interest needs of a grid."""

    outlines: tuple[Outline, ...]
    """The outline near each row of blocks."""
    tiles: NDArray[np.bool_]
    """Which tiles have a pixel of the area, shape (rows of tiles, columns of tiles)."""
    blocks: NDArray[np.bool_]
    """Which blocks own one, shape (rows of blocks, columns of blocks)."""

    @classmethod
    def of(cls, outline: Outline, rows: BlockAxis, cols: BlockAxis, *, objects: bool = False) -> "Choice":
        """Return the tiles and blocks that have a pixel inside an outline.

        With `objects`, the blocks are those that have such a tile: it may report an object that lies beyond
        their core.
        """

        def met(down: Sequence[Span], across: Sequence[Span]) -> NDArray[np.bool_]:
            return np.stack([outline.met(span, across) for span in down])

        spans = [[a.tiles.span(i).clip(a.tiles.length) for i in range(a.tiles.count)] for a in (rows, cols)]
        cores = [[a.core(i) for i in range(a.count)] for a in (rows, cols)]
        near = [outline.near(Window(core, Span(0, cols.tiles.length))) for core in cores[0]]
        tiles = met(*spans)
        if not objects:
            return cls(tuple(near), tiles, met(*cores))
        starts = [range(0, axis.tiles.count, axis.size) for axis in (rows, cols)]
        blocks = np.logical_or.reduceat(np.logical_or.reduceat(tiles, starts[0], axis=0), starts[1], axis=1)
        return cls(tuple(near), tiles, blocks)


@dataclass(frozen=True, slots=True)
class BlockGrid:
    """All blocks of a scene, or those that an area of interest needs."""

    rows: BlockAxis
    cols: BlockAxis
    choice: Choice | None = None
    """What the area of interest needs; None: all."""

    @classmethod
    def of(
        cls, grid: TileGrid, size: int, outline: Outline | None = None, *, objects: bool = False
    ) -> "BlockGrid":
        """Group the tiles of a grid into blocks of `size` x `size` tiles.

        Parameters
        ----------
        grid
            The tiles.
        size
            Tiles along the side of a block.
        outline
            The outline of the area of interest, in pixels of the map; None maps all.
        objects
            Whether objects are found, which makes every block with a tile to predict one of the map.
        """
        rows, cols = BlockAxis(grid.rows, size), BlockAxis(grid.cols, size)
        choice = None if outline is None else Choice.of(outline, rows, cols, objects=objects)
        return cls(rows, cols, choice)

    @property
    def count(self) -> int:
        """Number of blocks that are mapped."""
        return self.rows.count * self.cols.count if self.choice is None else int(self.choice.blocks.sum())

    @property
    def tiles(self) -> int:
        """Number of tiles that are predicted."""
        if self.choice is None:
            return self.rows.tiles.count * self.cols.tiles.count
        return int(self.choice.tiles.sum())

    def is_mapped(self, row: int, col: int) -> bool:
        """Return whether a block is there that owns pixels of the map."""
        inside = row < self.rows.count and col < self.cols.count
        return inside and (self.choice is None or bool(self.choice.blocks[row, col]))

    def block(self, row: int, col: int) -> Block:
        """Return the block in that row and column of blocks."""
        rows, cols, choice = self.rows, self.cols, self.choice
        core = Window(rows.core(row), cols.core(col))
        tiles = tuple(
            Window(rows.tiles.fed(i), cols.tiles.fed(j))
            for i in rows.members(row)
            for j in cols.members(col)
            if choice is None or choice.tiles[i, j]
        )
        return Block(
            row,
            col,
            tiles,
            reach=_around(tiles) if tiles else core,
            core=core,
            canvas=Window(rows.canvas(row), cols.canvas(col)),
            open_rows=rows.open(row),
            open_cols=cols.open(col),
            outline=None if choice is None else choice.outlines[row].near(core),
        )

    def strips(self) -> Iterator[list[Block]]:
        """Yield strips of the blocks that are predicted, each after its north, west and north-west ones.

        A strip runs along the axis with fewer blocks: fringes wait for one line of them. It is `STRIP` lines
        wide, and its blocks come across the strip first: so neighbours on both axes follow each other soon,
        and share the internal tiles of the scene that GDAL keeps for a while.
        """
        down = self.cols.count <= self.rows.count
        lines, along = (self.rows.count, self.cols.count) if down else (self.cols.count, self.rows.count)
        for first in range(0, lines, STRIP):
            places = product(range(along), range(first, min(first + STRIP, lines)))
            blocks = (self.block(line, i) if down else self.block(i, line) for i, line in places)
            if strip := [b for b in blocks if b.tiles]:
                yield strip

    def __iter__(self) -> Iterator[Block]:
        """Yield the blocks that are mapped, strip by strip."""
        return (b for b in chain.from_iterable(self.strips()) if self.is_mapped(b.row, b.col))


def _around(tiles: Sequence[Window]) -> Window:
    """Return the window that holds all tiles, whose first and last in scan order need not be its corners."""
    rows, cols = ([getattr(t, axis) for t in tiles] for axis in ("rows", "cols"))
    return Window(*(Span(min(s.start for s in a), max(s.stop for s in a)) for a in (rows, cols)))
