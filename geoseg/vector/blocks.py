"""What one block of a map tells about regions and their boundaries: the work of one task."""

from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np
import rasterio
from numba import njit
from numpy.typing import NDArray
from rasterio.windows import Window

from geoseg.core.legend import NODATA
from geoseg.vector.arcs import Arcs
from geoseg.vector.borders import Borders
from geoseg.vector.guard import NO_CORNERS, Corners, read_obstacles
from geoseg.vector.labels import NONE, OUTSIDE
from geoseg.vector.recipe import Generalize
from geoseg.vector.simplify import generalize
from geoseg.vector.trace import JOINT, Chains, trace


@dataclass(frozen=True)
class MapFiles:
    """A class map on disk and what is known beside it, on the same grid."""

    classes: Path
    """Class ids, uint8, nodata 255."""
    confidence: Path | None = None
    """Probability of the class, 0 to 1."""
    objects: Path | None = None
    """Numbers of objects, uint32, 0 for none: a region ends where the number changes."""
    object_classes: NDArray[np.uint8] | None = None
    """Class of each object: a boundary between objects goes to them; shape (objects + 1,)."""
    obstacles: Path | None = None
    """Corners that no boundary may move over besides those of boundaries, as `guard.write_obstacles` writes
    them."""

    def shape(self) -> tuple[int, int]:
        """Return rows and columns."""
        with rasterio.open(self.classes) as src:
            return src.height, src.width

    def values(self, window: Window) -> NDArray[np.signedinteger]:
        """Return what tells regions apart: class + 256 * number of the object, `NONE` for nodata."""
        with rasterio.open(self.classes) as src:
            classes = src.read(1, window=window)
        values: NDArray[np.signedinteger] = _values(classes)
        if self.objects is None or self.object_classes is None:
            return values
        with rasterio.open(self.objects) as src:
            numbers = src.read(1, window=window).astype(np.int64)
        own = np.where(numbers > 0, self.object_classes[numbers], values)
        return np.asarray(np.where(values < 0, NONE, own + 256 * numbers))

    def percent(self, window: Window) -> NDArray[np.uint8]:
        """Return the confidence in whole per cent, so that sums do not depend on their order."""
        if self.confidence is None:
            return np.zeros((window.height, window.width), np.uint8)
        with rasterio.open(self.confidence) as src:
            share = src.read(1, window=window)
        return np.asarray(np.rint(np.clip(share, 0, 1) * 100), np.uint8)


@dataclass(frozen=True)
class Stats:
    """Sums over the pixels of regions, all of shape (N,); index 0 is nobody."""

    value: NDArray[np.int64]
    """What their pixels have in common, see `MapFiles.values`."""
    pixels: NDArray[np.int64]
    confidence: NDArray[np.int64]
    """Sum of per cent."""
    minimum: NDArray[np.int64]
    """Smallest per cent."""
    doubtful: NDArray[np.int64]
    """Pixels below the threshold."""
    edge: NDArray[np.bool_]
    """Whether the region meets nodata or the map's frame, and may go on beyond it."""

    def take(self, chosen: NDArray[np.integer]) -> "Stats":
        """Return some regions."""
        return Stats(*(getattr(self, f.name)[chosen] for f in fields(self)))

    def merged(self, root: NDArray[np.integer]) -> "Stats":
        """Return the sums over regions that are one; each is found at its root, shape of `root` (N,)."""
        value, minimum = self.value[root], np.full_like(self.minimum, 100)
        np.minimum.at(minimum, root, self.minimum)
        edge = np.zeros_like(self.edge)
        np.logical_or.at(edge, root, self.edge)
        sums = []
        for numbers in (self.pixels, self.confidence, self.doubtful):
            total = np.zeros_like(numbers)
            np.add.at(total, root, numbers)
            sums.append(total)
        return Stats(value, sums[0], sums[1], minimum, sums[2], edge)

    @classmethod
    def concatenate(cls, many: "list[Stats]") -> "Stats":
        """Return the regions of many, one after another."""
        return cls(*(np.concatenate([getattr(s, f.name) for s in many]) for f in fields(cls)))


NOBODY = Stats(*(np.zeros(1, np.bool_ if f.name == "edge" else np.int64) for f in fields(Stats)))


@dataclass(frozen=True)
class BlockRegions:
    """A block, without its pixels."""

    window: Window
    arcs: Arcs
    """What is complete within the block; `sides` as in `Traced.chains`."""
    chains: Chains
    """What goes on in other blocks."""
    stats: Stats
    """Of the labels of the block, without a nobody."""
    borders: Borders
    corners: Corners


def trace_block(
    files: MapFiles, window: Window, shape: tuple[int, int], how: Generalize, threshold: int
) -> BlockRegions:
    """Read a block and find its regions and boundaries.

    Parameters
    ----------
    files
        The map.
    window
        The block.
    shape
        Rows and columns of the map.
    how
        How arcs are generalised.
    threshold
        Confidence in per cent below which a pixel is doubtful.
    """
    row, col, rows, cols = window.row_off, window.col_off, window.height, window.width
    last = (row + rows == shape[0], col + cols == shape[1])
    top, left = int(row > 0), int(col > 0)
    read = files.values(
        Window(col - left, row - top, cols + left + (not last[1]), rows + top + (not last[0]))
    )
    values = np.full((rows + 2, cols + 2), OUTSIDE, read.dtype)
    values[1 - top : 1 - top + read.shape[0], 1 - left : 1 - left + read.shape[1]] = read
    traced = trace(values, (row, col), last)
    inner = values[1:-1, 1:-1]
    percent, known = files.percent(window), files.confidence is not None
    stats = Stats(*_measure(inner, traced.labels, traced.count, percent, threshold, known))
    chains = traced.chains
    is_open = (chains.ends == JOINT).any(axis=1)
    corners = NO_CORNERS
    if how.needs_corners:
        found = traced.corners()
        if files.obstacles is not None:
            found |= read_obstacles(files.obstacles, shape, window)
        corners = Corners.pack(found, (row, col))
    return BlockRegions(
        window=window,
        arcs=generalize(chains.take(~is_open), corners, how, shape),
        chains=chains.take(is_open),
        stats=stats,
        borders=Borders.of(traced.labels, inner),
        corners=corners,
    )


@njit(nogil=True, cache=True)
def _values(classes):
    values = np.empty(classes.shape, np.int16)
    for y in range(classes.shape[0]):
        for x in range(classes.shape[1]):
            values[y, x] = NONE if classes[y, x] == NODATA else classes[y, x]
    return values


@njit(nogil=True, cache=True)
def _measure(values, labels, count, percent, threshold, known):
    value, pixels = np.zeros(count, np.int64), np.zeros(count, np.int64)
    total, doubtful = np.zeros(count, np.int64), np.zeros(count, np.int64)
    minimum = np.full(count, 100 if known else 0, np.int64)
    rows, cols = labels.shape
    for y in range(rows):
        x = 0
        while x < cols:
            # A run of one region at a time.
            label, start = labels[y, x], x
            while x < cols and labels[y, x] == label:
                x += 1
            if label == 0:
                continue
            value[label - 1] = values[y, start]
            pixels[label - 1] += x - start
            for k in range(start, x if known else start):
                total[label - 1] += percent[y, k]
                minimum[label - 1] = min(minimum[label - 1], percent[y, k])
                doubtful[label - 1] += percent[y, k] < threshold
    return value, pixels, total, minimum, doubtful, np.zeros(count, np.bool_)
