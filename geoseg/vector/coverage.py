"""Polygons of a map of any size, row of blocks by row of blocks.

Blocks are traced side by side. What is complete in a row leaves it as polygons; from row to row only what
is still open is carried: the regions that touch the row's last line of pixels, and the boundaries that go
on below it or that bound such a region.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from rasterio.windows import Window

from geoseg.vector import arcs as arcs_
from geoseg.vector import trace as trace_
from geoseg.vector.arcs import Arcs, arcs_of
from geoseg.vector.assemble import Rings, assemble
from geoseg.vector.blocks import NOBODY, BlockRegions, MapFiles, Stats, trace_block
from geoseg.vector.borders import Line
from geoseg.vector.borders import joined as joined_lines
from geoseg.vector.guard import Corners, open_corners
from geoseg.vector.join import join
from geoseg.vector.labels import roots, unite_all
from geoseg.vector.outlines import NO_OUTLINES, Outlines
from geoseg.vector.recipe import Generalize
from geoseg.vector.schedule import BLOCK, Workers, windows_of
from geoseg.vector.simplify import generalize
from geoseg.vector.trace import JOINT, NO_CHAINS, Chains

_REGIONS = 200_000
"""Regions that are assembled at once: in a map of noise a row of blocks completes millions."""


@dataclass(frozen=True)
class Polygons:
    """Polygons of regions that are complete."""

    rings: Rings
    stats: Stats
    """Of each polygon."""

    def __len__(self) -> int:
        return len(self.rings.regions)


@dataclass(frozen=True)
class _Open:
    """What one row of blocks leaves to the next."""

    arcs: Arcs
    chains: Chains
    stats: Stats
    """Of the open regions, which are numbered from 1."""
    line: Line
    """The row's last pixels."""


def polygons(
    files: MapFiles,
    workers: Workers,
    *,
    how: Generalize,
    threshold: int = 0,
    folder: Path,
    outlines: Outlines = NO_OUTLINES,
    block: int = BLOCK,
) -> Iterator[Polygons]:
    """Yield the polygons of a map: its 4-connected regions of equal value.

    They are what `rasterio.features.shapes` gives for the whole map. Every corner where three regions meet
    is a vertex of all three, also where one of them goes straight on.

    Parameters
    ----------
    files
        The map. Workers read it, so its paths must hold for them.
    workers
        Where blocks are traced.
    how
        How boundaries are generalised.
    threshold
        Confidence in per cent below which a pixel is counted as doubtful.
    outlines
        What takes the place of the boundaries of some objects, see `regular`.
    block
        Rows and columns of a block.
    folder
        Of a temporary file, one bit for each pixel, when boundaries are generalised.

    Raises
    ------
    OutputError
        When there is no room for it.
    """
    shape = files.shape()
    state = _Open(arcs_of(NO_CHAINS), NO_CHAINS, NOBODY, Line.empty(shape[1]))
    across = math.ceil(shape[1] / block)
    with open_corners(shape if how.needs_corners else (0, 0), folder) as corners:
        tasks = (_Task(files, window, shape, how, threshold) for window in windows_of(shape, block))
        found = workers.in_order(tasks)
        while row_of_blocks := list(islice(found, across)):
            for one in row_of_blocks if how.needs_corners else ():
                corners.add(one.corners, one.window.width + 1)
            state, complete = _advance(state, row_of_blocks, corners, how, shape, outlines)
            yield from complete


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
    state: _Open,
    row: list[BlockRegions],
    corners: Corners,
    how: Generalize,
    shape: tuple[int, int],
    outlines: Outlines,
) -> tuple[_Open, Iterator[Polygons]]:
    """Take a row of blocks in; return what stays open and the polygons that are complete."""
    arcs, chains, stats = [state.arcs], [state.chains], [state.stats]
    same: list[tuple[NDArray[np.int64], NDArray[np.int64]]] = []
    below: list[Line] = []
    taken = len(state.stats.value)
    west = Line.empty(row[0].window.height)
    for one in row:
        number = np.concatenate([np.zeros(1, np.int64), taken + np.arange(len(one.stats.value))])
        taken += len(one.stats.value)
        above = state.line[one.window.col_off : one.window.col_off + one.window.width]
        for there, here in ((above, one.borders.top), (west, one.borders.left)):
            a, b, is_one = there.meets(here.renumbered(number))
            same.append((a[is_one], b[is_one]))
        # Sides that lie beyond the block are negative, and so count from the end.
        sides = np.concatenate([number, west.regions[::-1], above.regions[::-1]]).astype(np.int32)
        arcs.append(outlines.put_in(one.arcs.renumbered(sides)))
        chains.append(one.chains.renumbered(sides))
        stats.append(one.stats)
        below.append(one.borders.bottom.renumbered(number))
        west = one.borders.right.renumbered(number)
    line = joined_lines(below)
    parent = np.arange(taken, dtype=np.int32)
    for a, b in same:
        unite_all(parent, a, b)
    root = roots(parent)
    joined = join(trace_.concatenate(chains).renumbered(root))
    is_open = (joined.ends == JOINT).any(axis=1)
    finished = outlines.put_in(generalize(joined.take(~is_open), corners, how, shape))
    all_arcs = arcs_.concatenate([*(a.renumbered(root) for a in arcs), finished])
    merged = Stats.concatenate(stats).merged(root)
    # Of arcs of rows above a side is also 0 where a region is complete; what met nodata there is known.
    for sides in (all_arcs.sides[len(state.arcs) :], joined.sides):
        merged.edge[sides[(sides == 0).any(axis=1)].max(axis=1)] = True
    merged.edge[0] = False
    # A region goes on below where it touches the last line.
    stays = np.zeros(taken, np.bool_)
    if row[0].window.row_off + row[0].window.height < shape[0]:
        stays[root[line.regions]] = True
    stays[0] = False
    complete = np.zeros(taken, np.bool_)
    complete[all_arcs.sides] = True
    complete[stays] = complete[0] = False
    number = np.zeros(taken, np.int32)
    number[stays] = 1 + np.arange(np.count_nonzero(stays), dtype=np.int32)
    kept = np.concatenate([np.zeros(1, np.int64), np.flatnonzero(stays)])
    left_open = _Open(
        arcs=all_arcs.renumbered(number).bounding(),
        chains=joined.take(is_open).renumbered(number),
        stats=merged.take(kept),
        line=line.renumbered(number[root]),
    )
    return left_open, _assembled(all_arcs, merged, np.flatnonzero(complete))


def _assembled(arcs: Arcs, stats: Stats, regions: NDArray[np.int64]) -> Iterator[Polygons]:
    """Yield the polygons of complete regions, not too many at once."""
    for start in range(0, len(regions), _REGIONS):
        some = np.zeros(len(stats.value), np.bool_)
        some[regions[start : start + _REGIONS]] = True
        rings = assemble(arcs, np.where(some[arcs.sides], arcs.sides, 0))
        yield Polygons(rings, stats.take(rings.regions))
