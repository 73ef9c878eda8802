"""Where tiles lie.

Along one axis, with tile size t, overlap v, stride s = t - v and context margin m = v / 2::

        -m        0                                            n       n+m
         :        |<------------------ scene ----------------->|        :
         [======== tile 0 ========]                            :        :
         :            [======== tile 1 ========]               :        :
         :            :            [============ tile 2 ===========]    :
         |<--- s ---->|<--- s ---->|                                (overhang)

Tile i starts at i * s - m. The last tile overhangs instead of being shifted back, so every pixel lies under
one tile, or under two where neighbours overlap, and a block of tiles adds to its east and south only.
"""

from dataclasses import dataclass, replace

from geoseg.core.geometry import Span, Window


@dataclass(frozen=True, slots=True)
class TileAxis:
    """The tiles along one axis of a scene."""

    length: int
    """Scene size in pixels."""
    tile: int
    """Tile size in pixels."""
    overlap: int
    """Pixels that neighbouring tiles share; even, at most half a tile."""

    def __post_init__(self) -> None:
        if self.length < 1:
            raise ValueError(f"a scene of {self.length} pixels has no tiles")
        if self.overlap < 0 or self.overlap % 2:
            raise ValueError(f"overlap {self.overlap} is not an even number of pixels")
        if self.tile < 1 or 2 * self.overlap > self.tile:
            raise ValueError(f"overlap {self.overlap} is more than half of tile {self.tile}")

    @property
    def margin(self) -> int:
        """Context beyond the scene's border, reflected, in pixels."""
        return self.overlap // 2

    @property
    def stride(self) -> int:
        """Distance between neighbouring tiles in pixels."""
        return self.tile - self.overlap

    @property
    def count(self) -> int:
        """Number of tiles: as many as reach the scene's far margin."""
        beyond_first = self.length + 2 * self.margin - self.tile
        return 1 + max(0, -(-beyond_first // self.stride))

    def span(self, i: int) -> Span:
        """Pixels of tile i; may reach beyond the scene on both sides."""
        start = i * self.stride - self.margin
        return Span(start, start + self.tile)

    @property
    def seams(self) -> tuple[int, ...]:
        """Lines inside the scene where tiles begin, end, or have equal weight: pixel i - 1 | pixel i."""
        spans = [self.span(i) for i in range(self.count)]
        ends = {s.start for s in spans} | {s.stop for s in spans}
        meet = {s.start + self.margin for s in spans[1:]}
        return tuple(sorted(line for line in ends | meet if 0 < line < self.length))

    def shrink(self, divisor: int, minimum: int) -> "TileAxis":
        """Return the axis with the smallest tile that needs no more tiles than this one.

        The network then computes fewer pixels of the last tile's overhang: 1947 pixels under 1024 px tiles
        with an overlap of 128 take three tiles, and three tiles of 800 px do as well.

        Parameters
        ----------
        divisor
            The network takes multiples of this many pixels.
        minimum
            Smallest tile that the network was measured with.
        """
        smallest = -(-max(minimum, 2 * self.overlap, 1) // divisor) * divisor
        for tile in range(smallest, self.tile, divisor):
            axis = replace(self, tile=tile)
            if axis.count == self.count:
                return axis
        return self


@dataclass(frozen=True, slots=True)
class TileGrid:
    """The tiles of a scene: the product of its two axes."""

    rows: TileAxis
    cols: TileAxis

    @property
    def scene_shape(self) -> tuple[int, int]:
        """Height and width of the scene in pixels."""
        return self.rows.length, self.cols.length

    @property
    def tile_shape(self) -> tuple[int, int]:
        """Height and width of every tile in pixels."""
        return self.rows.tile, self.cols.tile

    @property
    def count(self) -> int:
        """Number of tiles."""
        return self.rows.count * self.cols.count

    def window(self, i: int, j: int) -> Window:
        """Pixels of the tile in row i, column j; may reach beyond the scene."""
        return Window(self.rows.span(i), self.cols.span(j))

    @property
    def network_pixels_per_pixel(self) -> float:
        """Pixels that pass through the network for each pixel of the scene."""
        height, width = self.tile_shape
        return self.count * height * width / (self.scene_shape[0] * self.scene_shape[1])
