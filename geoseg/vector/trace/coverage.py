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

from geoseg.core.geometry import Window, windows_of
from geoseg.core.ordered import Workers
from geoseg.vector.recipe import Generalize
from geoseg.vector.shape.guard import Corners, open_corners
from geoseg.vector.shape.outlines import NO_OUTLINES, Outlines
from geoseg.vector.shape.simplify import generalize
from geoseg.vector.trace import arcs as arcs_
from geoseg.vector.trace import chains as chains_
from geoseg.vector.trace.arcs import Arcs, arcs_of
from geoseg.vector.trace.assemble import Rings, assemble
from geoseg.vector.trace.block import BLOCK, BlockRegions, MapFiles, trace_block
from geoseg.vector.trace.borders import Line, Seams
from geoseg.vector.trace.chains import JOINT, NO_CHAINS, Chains
from geoseg.vector.trace.join import join
from geoseg.vector.trace.stats import NOBODY, Stats

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
                corners.add(one.corners, one.window.shape[1] + 1)
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
    arcs, chains, root, line = _joined(state, row, outlines)
    is_open = (chains.ends == JOINT).any(axis=1)
    finished = outlines.put_in(generalize(chains.take(~is_open), corners, how, shape))
    all_arcs, open_chains = arcs_.concatenate([*arcs, finished]).renumbered(root), chains.take(is_open)
    stats = Stats.concatenate([state.stats, *(one.stats for one in row)]).merged(root)
    # Of arcs of rows above a side is also 0 where a region is complete; what met nodata there is known.
    for sides in (all_arcs.sides[len(state.arcs) :], chains.sides):
        stats.edge[_among(sides[(sides == 0).any(axis=1)], len(root))] = True
    # A region goes on below where it touches the last line.
    ends = row[0].window.rows.stop == shape[0]
    stays = _among(root[line.regions[:0] if ends else line.regions], len(root))
    number = np.where(stays, np.cumsum(stays), 0).astype(np.int32)
    left_open = _Open(
        arcs=all_arcs.renumbered(number).bounding(),
        chains=open_chains.renumbered(number),
        stats=stats.take(np.append(0, np.flatnonzero(stays))),
        line=line.renumbered(number[root]),
    )
    complete = _among(all_arcs.sides, len(root)) & ~stays
    return left_open, _assembled(all_arcs, stats, np.flatnonzero(complete))


def _joined(
    state: _Open, row: list[BlockRegions], outlines: Outlines
) -> tuple[list[Arcs], Chains, NDArray[np.int32], Line]:
    """Join a row of blocks to what is open above it, whose regions keep their numbers.

    Returns
    -------
    tuple
        All complete arcs, the chains joined, the first number of the region of each number, and the last
        pixels of the row.
    """
    seams = Seams(state.line, len(state.stats.value))
    arcs, chains = [state.arcs], [state.chains]
    for one in row:
        place = seams.add(one.window.cols.start, one.borders, len(one.stats.value))
        # Sides that lie beyond the block are negative, and so count from the end.
        sides = np.concatenate([place.number, place.west.regions[::-1], place.above.regions[::-1]])
        arcs.append(outlines.put_in(one.arcs.renumbered(sides.astype(np.int32))))
        chains.append(one.chains.renumbered(sides.astype(np.int32)))
    root = seams.roots()
    return arcs, join(chains_.concatenate(chains).renumbered(root)), root, seams.line


def _among(regions: NDArray[np.integer], count: int) -> NDArray[np.bool_]:
    """Return which of so many regions are among some; nobody is not, shape (count,)."""
    found = np.zeros(count, np.bool_)
    found[regions] = True
    found[0] = False
    return found


def _assembled(arcs: Arcs, stats: Stats, regions: NDArray[np.int64]) -> Iterator[Polygons]:
    """Yield the polygons of complete regions, not too many at once."""
    for start in range(0, len(regions), _REGIONS):
        some = np.zeros(len(stats.value), np.bool_)
        some[regions[start : start + _REGIONS]] = True
        rings = assemble(arcs, np.where(some[arcs.sides], arcs.sides, 0))
        yield Polygons(rings, stats.take(rings.regions))
