"""What a tile reports: the detections whose masks reach into its territory, in pixels of the map."""

from dataclasses import dataclass, fields
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from geoseg.core.detections import Detections
from geoseg.core.geometry import Span, Window
from geoseg.tiling.grid import TileGrid

Reach = Literal["territory", "tile"]
"""How far a mask must reach for its tile to report it: into the territory, or anywhere in the tile."""

RIM = 2
"""Pixels from an edge of the tile within which a mask counts as cut by it: masks end a little before it."""


@dataclass(frozen=True)
class Reported:
    """The detections of some tiles, in pixels of the map.

    All arrays have an entry for each detection, in the order of tiles and of the network.
    """

    places: NDArray[np.int32]
    """Row and column of the tile in the grid, shape (n, 2)."""
    ranks: NDArray[np.int32]
    """Number of the detection in its tile, from 0."""
    boxes: NDArray[np.int32]
    """First row, first column, row and column behind the last, shape (n, 4)."""
    classes: NDArray[np.uint8]
    """Class ids of the legend."""
    scores: NDArray[np.uint16]
    """In 1/10000."""
    cut: NDArray[np.bool_]
    """Whether the mask ends where the tile ends, and the object may go on."""
    bits: NDArray[np.uint8]
    """The masks within their boxes, packed, each from a new byte on."""

    def __len__(self) -> int:
        return len(self.ranks)

    @property
    def offsets(self) -> NDArray[np.int64]:
        """Where the mask of each detection begins in `bits`, and where the last one ends, shape (n + 1,)."""
        return np.append(0, np.cumsum(packed_bytes(self.boxes)))

    @classmethod
    def concatenate(cls, parts: "list[Reported]") -> "Reported":
        """Return the detections of all parts, one after another."""
        return cls(*(np.concatenate([getattr(p, f.name) for p in (NOTHING, *parts)]) for f in fields(cls)))


NOTHING = Reported(
    np.empty((0, 2), np.int32), np.empty(0, np.int32), np.empty((0, 4), np.int32), np.empty(0, np.uint8),
    np.empty(0, np.uint16), np.empty(0, np.bool_), np.empty(0, np.uint8),
)  # fmt: skip
"""No detection."""


def packed_bytes(boxes: NDArray[np.integer]) -> NDArray[np.int64]:
    """Return the bytes of the packed mask in each box, shape (n,)."""
    corners = boxes.astype(np.int64)
    return ((corners[:, 2] - corners[:, 0]) * (corners[:, 3] - corners[:, 1]) + 7) // 8


def unpacked(bits: NDArray[np.uint8], shape: tuple[int, int]) -> NDArray[np.bool_]:
    """Return the mask of a shape (rows, cols) from its packed bits."""
    return np.unpackbits(bits, count=shape[0] * shape[1]).reshape(shape).view(np.bool_)


def cropped(
    mask: NDArray[np.bool_], row: int, col: int
) -> tuple[NDArray[np.bool_], tuple[int, int, int, int]] | None:
    """Return a mask without the empty lines around its pixels, and its box; None without a pixel.

    Parameters
    ----------
    mask
        Shape (rows, cols).
    row, col
        Place of its first pixel.
    """
    rows, cols = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    if not len(rows):
        return None
    top, left, bottom, right = int(rows[0]), int(cols[0]), int(rows[-1]) + 1, int(cols[-1]) + 1
    return mask[top:bottom, left:right], (row + top, col + left, row + bottom, col + right)


def report(
    found: Detections,
    tile: Window,
    grid: TileGrid,
    valid: NDArray[np.bool_],
    ids: NDArray[np.uint8],
    reach: Reach = "territory",
) -> Reported:
    """Return what a tile reports of the detections of a network.

    Masks lose the pixels that are nodata or lie beyond the scene; of a mirrored margin nothing is left. Where
    a part of the scene is mapped they go on beyond it, so that they are merged as in a map of the whole.

    Parameters
    ----------
    found
        The detections, in pixels of the tile.
    tile
        The tile, one of the grid.
    grid
        The tiles of the map.
    valid
        Which pixels of the tile are valid, shape (rows, cols).
    ids
        Class id of each position in the legend.
    reach
        Which detections are reported.
    """
    place = grid.rows.index(tile.rows.start), grid.cols.index(tile.cols.start)
    own = (
        Window(grid.rows.territory(place[0]), grid.cols.territory(place[1])) if reach == "territory" else tile
    )
    ends = grid.rows.at_end(tile.rows.start), grid.cols.at_end(tile.cols.start)
    top, left = tile.rows.start, tile.cols.start
    kept, boxes, cut, bits = (
        list[int](),
        list[tuple[int, int, int, int]](),
        list[bool](),
        list[NDArray[np.uint8]](),
    )
    for number, mask in enumerate(found.masks):
        r0, c0, r1, c1 = found.boxes[number].tolist()
        seen = Window(Span(top + r0, top + r1), Span(left + c0, left + c1))
        inside = seen.intersect(grid.whole)
        rest = cropped(
            mask[inside.relative_to(seen)] & valid[inside.relative_to(tile)],
            inside.rows.start, inside.cols.start,
        )  # fmt: skip
        if rest is None or not _reaches(*rest, own):
            continue
        kept.append(number)
        boxes.append(rest[1])
        cut.append(_is_cut((r0, r1), tile.shape[0], ends[0]) or _is_cut((c0, c1), tile.shape[1], ends[1]))
        bits.append(np.packbits(rest[0]))
    return Reported(
        places=np.tile(np.array(place, np.int32), (len(kept), 1)),
        ranks=np.array(kept, np.int32),
        boxes=np.array(boxes, np.int32).reshape(-1, 4),
        classes=ids[found.classes[kept]],
        scores=found.scores[kept],
        cut=np.array(cut, np.bool_),
        bits=np.concatenate([NOTHING.bits, *bits]),
    )


def _reaches(mask: NDArray[np.bool_], box: tuple[int, int, int, int], own: Window) -> bool:
    """Return whether a mask in a box has a pixel in a window."""
    around = Window(Span(box[0], box[2]), Span(box[1], box[3]))
    return bool(mask[around.intersect(own).relative_to(around)].any())


def _is_cut(span: tuple[int, int], tile: int, ends: tuple[bool, bool]) -> bool:
    """Return whether a mask comes near the first or last pixel of a tile that is not the scene's there."""
    return (span[0] < RIM and not ends[0]) or (tile - span[1] < RIM and not ends[1])
