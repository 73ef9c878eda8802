"""Polygons of a map of any size, row of blocks by row of blocks.

The blocks of a row are traced in parallel. Regions that are complete leave the row as polygons; only open
ones are carried to the next row: the regions that touch the last line of pixels, and the boundaries that
continue below it or bound such a region.
"""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from geoseg.core.geometry import Window
from geoseg.core.ordered import Workers
from geoseg.vector.recipe import Generalize
from geoseg.vector.shape.guard import Corners, open_corners
from geoseg.vector.shape.outlines import NO_OUTLINES, Outlines
from geoseg.vector.shape.simplify import generalize
from geoseg.vector.trace.arcs import Arcs, arcs_of
from geoseg.vector.trace.assemble import Rings, assemble
from geoseg.vector.trace.block import BLOCK, BlockRegions, MapFiles, trace_block
from geoseg.vector.trace.borders import BorderLine, Seams
from geoseg.vector.trace.chains import JOINT, NO_CHAINS, Chains
from geoseg.vector.trace.join import join
from geoseg.vector.trace.stats import NO_REGION, Stats

_CALM = 0.15
"""Share of neighbours along a line that differ, up to which a row of blocks has its whole height."""
_MOST_ROWS = 16
"""Rows of blocks into which one of noise is cut at most."""
_STRIP = 64

_REGIONS = 200_000
"""Regions that are assembled at once: in a map of noise, one row of blocks completes millions."""


@dataclass(frozen=True)
class RegionPolygons:
    """The polygons of some complete regions."""

    rings: Rings
    stats: Stats
    """The sums over each polygon's pixels."""

    def __len__(self) -> int:
        return len(self.rings.regions)


@dataclass(frozen=True)
class _OpenRegions:
    """The regions and boundaries that one row of blocks hands to the next."""

    arcs: Arcs
    chains: Chains
    stats: Stats
    """Sums over the open regions, which are numbered from 1."""
    line: BorderLine
    """The bottom pixels of the row."""


def polygons(
    files: MapFiles,
    workers: Workers,
    *,
    how: Generalize,
    threshold: int = 0,
    folder: Path,
    outlines: Outlines = NO_OUTLINES,
    block: int = BLOCK,
    on_rows: Callable[[float], None] = lambda _: None,
) -> Iterator[RegionPolygons]:
    """Yield the polygons of a map: its 4-connected regions of equal value.

    Without generalisation they are equal to those of `rasterio.features.shapes` for the whole map. Every
    corner where three regions meet is a vertex of all three, even where one of them has no turn.

    Parameters
    ----------
    files
        The map; its paths must be valid on the workers.
    workers
        The threads or processes that trace blocks.
    how
        How boundaries are generalised.
    threshold
        Confidence in per cent below which a pixel is doubtful.
    outlines
        New boundaries of some objects, see `shape.orthogonal`.
    block
        Rows and columns of a block.
    folder
        Folder of a temporary file, one bit for each pixel, when boundaries are generalised.
    on_rows
        Called with the share of the rows that are traced.

    Raises
    ------
    OutputError
        When there is no room for the temporary file.
    """
    shape = files.shape()
    state = _OpenRegions(arcs_of(NO_CHAINS), NO_CHAINS, NO_REGION, BorderLine.empty(shape[1]))
    across = math.ceil(shape[1] / block)
    with open_corners(shape if how.needs_corners else (0, 0), folder) as corners:
        windows = rows_of_blocks(files, shape, block)
        tasks = (_Task(files, window, shape, how, threshold) for window in windows)
        blocks = workers.in_order(tasks)
        while row_of_blocks := list(islice(blocks, across)):
            for one in row_of_blocks if how.needs_corners else ():
                corners.add(one.corners, one.window.shape[1] + 1)
            state, complete = _advance(state, row_of_blocks, corners, how, shape, outlines)
            yield from complete
            on_rows(row_of_blocks[0].window.rows.stop / shape[0])


def rows_of_blocks(files: MapFiles, shape: tuple[int, int], block: int) -> Iterator[Window]:
    """Yield the blocks of a map, row by row; rows are lower where the map is noise.

    The boundaries of a row are in memory together, and those of noise take 30 times those of land cover. The
    heights depend on the map alone, so that equal maps give equal files.
    """
    rows, cols = shape
    for top in range(0, rows, block):
        high = min(block, rows - top)
        step = _height(files, Window.of(top, 0, high, cols), block)
        for start in range(top, top + high, step):
            for left in range(0, cols, block):
                yield Window.of(start, left, min(step, top + high - start), min(block, cols - left))


def _height(files: MapFiles, window: Window, block: int) -> int:
    """Return the height of the rows of blocks in a window: halved for each doubling of its boundaries."""
    changes = pixels = 0
    for start in range(window.rows.start, window.rows.stop, _STRIP):
        high = min(_STRIP, window.rows.stop - start)
        values = files.values(Window.of(start, 0, high, window.shape[1]))
        changes += int(np.count_nonzero(values[:, 1:] != values[:, :-1]))
        pixels += values.size
    height = block
    while height > max(1, block // _MOST_ROWS) and changes * height > _CALM * pixels * block:
        height //= 2
    return height


@dataclass(frozen=True)
class _Task:
    files: MapFiles
    window: Window
    shape: tuple[int, int]
    how: Generalize
    threshold: int

    def __call__(self) -> BlockRegions:
        return trace_block(self.files, self.window, self.shape, self.how, self.threshold)


def _advance(
    state: _OpenRegions,
    row: list[BlockRegions],
    corners: Corners,
    how: Generalize,
    shape: tuple[int, int],
    outlines: Outlines,
) -> tuple[_OpenRegions, Iterator[RegionPolygons]]:
    """Add a row of blocks; return the regions that stay open and the polygons of those that are complete."""
    arcs, chains, root, line = _joined(state, row, outlines)
    is_open = (chains.ends == JOINT).any(axis=1)
    finished = outlines.replace_in(generalize(chains.take(~is_open), corners, how, shape))
    all_arcs, open_chains = Arcs.concatenate([*arcs, finished]).renumbered(root), chains.take(is_open)
    stats = Stats.concatenate([state.stats, *(one.stats for one in row)]).merged(root)
    # In arcs of earlier rows a side is also 0 where its region is complete; their edges are known already.
    for sides in (all_arcs.sides[len(state.arcs) :], chains.sides):
        stats.edge[_mask(sides[(sides == 0).any(axis=1)], len(root))] = True
    # A region continues below where it touches the last line, unless the map ends there.
    ends = row[0].window.rows.stop == shape[0]
    stays = _mask(root[line.regions[:0] if ends else line.regions], len(root))
    number = np.where(stays, np.cumsum(stays), 0).astype(np.int32)
    left_open = _OpenRegions(
        arcs=all_arcs.renumbered(number).bounding_regions(),
        chains=open_chains.renumbered(number),
        stats=stats.take(np.append(0, np.flatnonzero(stays))),
        line=line.renumbered(number[root]),
    )
    complete = _mask(all_arcs.sides, len(root)) & ~stays
    return left_open, _assembled(all_arcs, stats, np.flatnonzero(complete))


def _joined(
    state: _OpenRegions, row: list[BlockRegions], outlines: Outlines
) -> tuple[list[Arcs], Chains, NDArray[np.int32], BorderLine]:
    """Join a row of blocks to the open regions above it, which keep their numbers.

    Returns
    -------
    tuple
        All complete arcs, the joined chains, the root of each number, and the bottom pixels of the row.
    """
    seams = Seams(state.line, len(state.stats.value))
    arcs, chains = [state.arcs], [state.chains]
    for one in row:
        placed = seams.add(one.window.cols.start, one.borders, len(one.stats.value))
        # Sides beyond the block are negative and index this array from its end.
        sides = np.concatenate([placed.number, placed.west.regions[::-1], placed.above.regions[::-1]])
        arcs.append(outlines.replace_in(one.arcs.renumbered(sides.astype(np.int32))))
        chains.append(one.chains.renumbered(sides.astype(np.int32)))
    root = seams.roots()
    return arcs, join(Chains.concatenate(chains).renumbered(root)), root, seams.line


def _mask(regions: NDArray[np.integer], count: int) -> NDArray[np.bool_]:
    """Return a mask of `count` regions, True for those that occur in `regions` except 0, shape (count,)."""
    mask = np.zeros(count, np.bool_)
    mask[regions] = True
    mask[0] = False
    return mask


def _assembled(arcs: Arcs, stats: Stats, regions: NDArray[np.int64]) -> Iterator[RegionPolygons]:
    """Yield the polygons of complete regions, at most `_REGIONS` at once."""
    for start in range(0, len(regions), _REGIONS):
        some = np.zeros(len(stats.value), np.bool_)
        some[regions[start : start + _REGIONS]] = True
        rings = assemble(arcs, np.where(some[arcs.sides], arcs.sides, 0))
        yield RegionPolygons(rings, stats.take(rings.regions))
