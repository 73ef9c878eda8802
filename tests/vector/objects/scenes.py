"""Objects with an exact truth, and a network that finds in each tile what lies in it."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from geoseg.core.detections import Detections
from geoseg.core.geometry import Span, Window
from geoseg.tiling.grid import TileAxis, TileGrid
from geoseg.vector.objects.merge import Merger
from geoseg.vector.objects.reported import Reach, Reported, report
from geoseg.vector.objects.rule import MergedObject, Place, Rule, detections

RULE = Rule()
IDS = np.arange(256, dtype=np.uint8)


@dataclass(frozen=True)
class Thing:
    """An object of the truth."""

    window: Window
    mask: NDArray[np.bool_]
    kind: int = 1
    score: int = 9_000

    @property
    def identity(self) -> tuple[tuple[int, int, int, int], bytes, int]:
        rows, cols = self.window.rows, self.window.cols
        return (rows.start, cols.start, rows.stop, cols.stop), self.mask.tobytes(), self.kind

    def within(self, shape: tuple[int, int]) -> "Thing":
        """Return the part inside a scene."""
        part = self.window.clip(shape)
        mask = np.ascontiguousarray(self.mask[part.relative_to(self.window)])
        return Thing(part, mask, self.kind, self.score)


def box(top: int, left: int, bottom: int, right: int, kind: int = 1, score: int = 9_000) -> Thing:
    return Thing(
        Window(Span(top, bottom), Span(left, right)), np.ones((bottom - top, right - left), bool), kind, score
    )


def disc(row: int, col: int, radius: int, kind: int = 2, score: int = 9_000) -> Thing:
    y, x = np.mgrid[-radius : radius + 1, -radius : radius + 1]
    side = 2 * radius + 1
    return Thing(Window.of(row - radius, col - radius, side, side), y**2 + x**2 <= radius**2, kind, score)


def grid_of(shape: tuple[int, int], tile: int = 64, overlap: int = 16) -> TileGrid:
    return TileGrid(*(TileAxis(n, tile, overlap if n > tile else 0) for n in shape))


def seen(thing: Thing, tile: Window) -> tuple[int, int, NDArray[np.bool_]] | None:
    """Return the part of a thing in a tile, in pixels of the tile; None when there is none."""
    part = thing.window.intersect(tile)
    mask = thing.mask[part.relative_to(thing.window)] if part else np.zeros((0, 0), bool)
    if not mask.any():
        return None
    return part.rows.start - tile.rows.start, part.cols.start - tile.cols.start, mask


def found_in(things: Iterable[Thing], tile: Window) -> Detections:
    """Return what a network that errs nowhere finds in a tile."""
    parts = ((t, seen(t, tile)) for t in things)
    return Detections.of([(*p, t.kind, t.score) for t, p in parts if p is not None])


def tiles_of(things: Sequence[Thing], grid: TileGrid, reach: Reach = "territory") -> dict[Place, Reported]:
    """Return what each tile reports."""
    places = [(i, j) for i in range(grid.rows.count) for j in range(grid.cols.count)]
    valid = np.ones(grid.tile_shape, bool)
    return {
        p: report(found_in(things, grid.window(*p)), grid.window(*p), grid, valid, IDS, reach) for p in places
    }


def merged(
    tiles: dict[Place, Reported],
    grid: TileGrid,
    blocks: Sequence[Sequence[Place]] = (),
    rule: Rule = RULE,
) -> list[MergedObject]:
    """Merge what tiles report, block by block; without blocks, all at once."""
    merger, objects = Merger(grid, rule), list[MergedObject]()
    for block in blocks or [list(tiles)]:
        objects += merger.add(block, detections(Reported.concatenate([tiles[p] for p in block])))
    assert merger.open == 0
    return objects


def identities(objects: Iterable[MergedObject]) -> set[tuple[tuple[int, ...], bytes, int]]:
    return {(o.box, np.ascontiguousarray(o.mask).tobytes(), o.class_id) for o in objects}
