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
first tile starts; at the scene's border it ends with the scene.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain, product

from geoseg.core.geometry import Span, Window
from geoseg.tiling.grid import TileAxis, TileGrid

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
        """Pixels under the tiles of block i, also beyond the scene."""
        members = self.members(i)
        return Span(self.tiles.span(members[0]).start, self.tiles.span(members[-1]).stop)

    def core(self, i: int) -> Span:
        """Pixels that block i owns."""
        start = self.tiles.span(i * self.size).start
        last = i == self.count - 1
        stop = self.tiles.length if last else self.tiles.span((i + 1) * self.size).start
        return Span(start, stop).clip(self.tiles.length)

    def canvas(self, i: int) -> Span:
        """Pixels of the scene that block i adds to: its core and the fringe behind it."""
        return self.reach(i).clip(self.tiles.length)

    def open(self, i: int) -> int:
        """Leading pixels of core i that wait for the previous block's fringe."""
        return min(self.tiles.overlap, len(self.core(i))) if i > 0 else 0


@dataclass(frozen=True, slots=True)
class Block:
    """One block: the tiles of one task and the pixels it owns."""

    row: int
    col: int
    tiles: tuple[Window, ...]
    """Its tiles, row by row; may reach beyond the scene."""
    reach: Window
    """The pixels under its tiles, also beyond the scene."""
    core: Window
    """The pixels it owns."""
    canvas: Window
    """The pixels of the scene that its tiles add to."""
    open_rows: int
    """Rows at the top of the core that wait for the fringe of the block above."""
    open_cols: int
    """Columns at the left of the core that wait for the fringe of the block to the left."""

    @property
    def name(self) -> str:
        """Name of its files in staging."""
        return f"block_{self.row:05d}_{self.col:05d}"


@dataclass(frozen=True, slots=True)
class BlockGrid:
    """All blocks of a scene."""

    rows: BlockAxis
    cols: BlockAxis

    @classmethod
    def of(cls, grid: TileGrid, size: int) -> "BlockGrid":
        """Group the tiles of a grid into blocks of `size` x `size` tiles."""
        return cls(BlockAxis(grid.rows, size), BlockAxis(grid.cols, size))

    @property
    def count(self) -> int:
        """Number of blocks."""
        return self.rows.count * self.cols.count

    def block(self, row: int, col: int) -> Block:
        """Return the block in that row and column of blocks."""
        rows, cols = self.rows, self.cols
        return Block(
            row,
            col,
            tuple(
                Window(rows.tiles.span(i), cols.tiles.span(j))
                for i in rows.members(row)
                for j in cols.members(col)
            ),
            reach=Window(rows.reach(row), cols.reach(col)),
            core=Window(rows.core(row), cols.core(col)),
            canvas=Window(rows.canvas(row), cols.canvas(col)),
            open_rows=rows.open(row),
            open_cols=cols.open(col),
        )

    def strips(self) -> Iterator[list[Block]]:
        """Yield strips of blocks, so that each block comes after its north, west and north-west neighbours.

        A strip runs along the axis with fewer blocks: fringes wait for one line of them. It is `STRIP` lines
        wide, and its blocks come across the strip first: so neighbours on both axes follow each other soon,
        and share the internal tiles of the scene that GDAL keeps for a while.
        """
        down = self.cols.count <= self.rows.count
        lines, along = (self.rows.count, self.cols.count) if down else (self.cols.count, self.rows.count)
        for first in range(0, lines, STRIP):
            places = product(range(along), range(first, min(first + STRIP, lines)))
            yield [self.block(line, i) if down else self.block(i, line) for i, line in places]

    def __iter__(self) -> Iterator[Block]:
        """Yield all blocks, strip by strip."""
        return chain.from_iterable(self.strips())
