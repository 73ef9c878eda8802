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

Of a part of a scene the tiles stay those of the whole that reach into the part, and are counted from the
first of them::

        -m            <- before ->0                n<- after ->
         :                        |<---- map ----->|
         [======== tile - ========]                :
                      [======== tile 0 ========]   :
                                   [======== tile 1 ========]

The *territory* of a tile ends half-way through its overlaps, and with the scene. Territories partition the
scene, whatever part of it is mapped and whatever blocks the tiles are in; of an object a tile reports, its
mask reaches into the territory::

        [======== tile 0 ========]
                     [======== tile 1 ========]
        |<- territory 0 ->|<- territory 1 ->|

Tiles of a picture lie `inside` it. There is no margin, and what would overhang is shifted back: the last tile
is *fed* the pixels that end with the picture, and not its mirror image. It still counts on its `span` alone,
so weights, blocks and fringes are those of any other grid::

        0                                        n
        [======== tile 0 ========]               :
                      [======== tile 1 ========] :
                 < - -[- - span of tile 2 - - - -:- - >
                 [======= fed to tile 2 =========]
"""

from dataclasses import dataclass, replace

from geoseg.core.geometry import Span, Window


@dataclass(frozen=True, slots=True)
class TileAxis:
    """The tiles along one axis of a scene, or of a part of it."""

    length: int
    """Size of the map in pixels: of the scene, or of the part."""
    tile: int
    """Tile size in pixels."""
    overlap: int
    """Pixels that neighbouring tiles share; even, at most half a tile."""
    before: int = 0
    """Pixels of the scene before the part."""
    after: int = 0
    """Pixels of the scene behind the part."""
    inside: bool = False
    """Whether the tiles are fed pixels inside the scene, as far as it is as long as a tile."""

    def __post_init__(self) -> None:
        if self.length < 1:
            raise ValueError(f"a scene of {self.length} pixels has no tiles")
        if self.overlap < 0 or self.overlap % 2:
            raise ValueError(f"overlap {self.overlap} is not an even number of pixels")
        if self.tile < 1 or 2 * self.overlap > self.tile:
            raise ValueError(f"overlap {self.overlap} is more than half of tile {self.tile}")
        if min(self.before, self.after) < 0:
            raise ValueError("a part lies inside its scene")

    def cut(self, part: Span) -> "TileAxis":
        """Return the axis of a part of the scene, which has the same tiles."""
        before, after = self.before + part.start, self.after + self.length - part.stop
        return replace(self, length=len(part), before=before, after=after)

    @property
    def whole(self) -> Span:
        """Pixels of the scene, counted from the first of the map."""
        return Span(-self.before, self.length + self.after)

    @property
    def margin(self) -> int:
        """Context beyond the scene's border, reflected, in pixels."""
        return 0 if self.inside else self.overlap // 2

    @property
    def stride(self) -> int:
        """Distance between neighbouring tiles in pixels."""
        return self.tile - self.overlap

    @property
    def count(self) -> int:
        """Number of tiles: those that reach into the map."""
        return self._behind - self._first

    @property
    def _in_scene(self) -> int:
        """Number of tiles of the whole scene: as many as reach its far margin."""
        beyond_first = self.before + self.length + self.after + 2 * self.margin - self.tile
        return 1 + max(0, -(-beyond_first // self.stride))

    @property
    def _first(self) -> int:
        """The scene's first tile that ends behind the part's begin."""
        return max(0, (self.before + self.margin - self.tile) // self.stride + 1)

    @property
    def _behind(self) -> int:
        """The scene's first tile that begins behind the part's end."""
        return min(self._in_scene, -(-(self.before + self.length + self.margin) // self.stride))

    def span(self, i: int) -> Span:
        """Pixels that tile i counts on; may reach beyond the map on both sides."""
        start = (self._first + i) * self.stride - self.margin - self.before
        return Span(start, start + self.tile)

    def fed(self, i: int) -> Span:
        """Pixels that the network is fed for tile i: its span, or the last ones of a picture."""
        span = self.span(i)
        if not self.inside:
            return span
        overhang = span.stop - (self.length + self.after)
        return span.shift(-max(0, min(overhang, span.start + self.before)))

    def at_end(self, start: int) -> tuple[bool, bool]:
        """Return whether the tile fed from a pixel on is the first, and whether the last, of the scene."""
        i = self._number(start)
        return i == 0, i == self._in_scene - 1

    def territory(self, i: int) -> Span:
        """Pixels whose objects tile i reports; they end with the scene, or half-way through an overlap.

        Examples
        --------
        >>> axis = TileAxis(length=100, tile=64, overlap=16)
        >>> [axis.territory(i) for i in range(axis.count)]
        [Span(start=0, stop=48), Span(start=48, stop=100)]
        """
        span = self.span(i)
        first, last = self.at_end(span.start)
        whole, start = self.whole, span.start + self.overlap // 2
        return Span(whole.start if first else start, whole.stop if last else start + self.stride)

    def moved(self, start: int) -> int:
        """Return the pixels that the tile fed from a pixel on is fed before its span."""
        return self._number(start) * self.stride - self.margin - self.before - start

    def index(self, start: int) -> int:
        """Return the number of the tile fed from a pixel on, see `fed`."""
        return self._number(start) - self._first

    def _number(self, start: int) -> int:
        """Return the number of the tile that is fed from a pixel on, among those of the scene."""
        i, moved = divmod(start + self.margin + self.before, self.stride)
        return i if moved == 0 else self._in_scene - 1

    @property
    def seams(self) -> tuple[int, ...]:
        """Lines inside the map where tiles begin, end, or have equal weight: pixel i - 1 | pixel i."""
        spans = [self.span(i) for i in range(self.count)]
        ends = {s.start for s in spans} | {s.stop for s in spans}
        meet = {s.start + self.overlap // 2 for s in spans[1:]}
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
    """The tiles of a scene, or of a part of it: the product of its two axes."""

    rows: TileAxis
    cols: TileAxis

    @property
    def scene_shape(self) -> tuple[int, int]:
        """Height and width of the map in pixels."""
        return self.rows.length, self.cols.length

    @property
    def whole(self) -> Window:
        """Pixels of the scene, counted from the first of the map."""
        return Window(self.rows.whole, self.cols.whole)

    @property
    def tile_shape(self) -> tuple[int, int]:
        """Height and width of every tile in pixels."""
        return self.rows.tile, self.cols.tile

    @property
    def count(self) -> int:
        """Number of tiles."""
        return self.rows.count * self.cols.count

    def cut(self, part: Window) -> "TileGrid":
        """Return the tiles of a part of the scene."""
        return TileGrid(self.rows.cut(part.rows), self.cols.cut(part.cols))

    def window(self, i: int, j: int) -> Window:
        """Pixels that are fed for the tile in row i, column j; may reach beyond the map."""
        return Window(self.rows.fed(i), self.cols.fed(j))

    @property
    def inside(self) -> bool:
        """Whether tiles are shifted back into the scene."""
        return self.rows.inside or self.cols.inside

    @property
    def network_pixels_per_pixel(self) -> float:
        """Pixels that pass through the network for each pixel of the map."""
        height, width = self.tile_shape
        return self.count * height * width / (self.scene_shape[0] * self.scene_shape[1])
