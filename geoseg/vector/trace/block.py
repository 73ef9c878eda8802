"""The regions of one block of a map and their boundaries: the work of one task."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox

from geoseg.core.geometry import Span, Window
from geoseg.core.legend import NODATA
from geoseg.scenes.windows import to_rasterio
from geoseg.vector.recipe import Generalize
from geoseg.vector.shape.guard import NO_CORNERS, Corners, read_obstacles
from geoseg.vector.shape.simplify import generalize
from geoseg.vector.trace import _run_kernels
from geoseg.vector.trace.arcs import Arcs
from geoseg.vector.trace.borders import Borders
from geoseg.vector.trace.boundaries import trace
from geoseg.vector.trace.chains import JOINT, Chains
from geoseg.vector.trace.components import NONE, OUTSIDE
from geoseg.vector.trace.opened import OPEN_RASTERS
from geoseg.vector.trace.stats import Stats

BLOCK = 1024
"""Rows and columns of a block. The size of blocks does not change a polygon, but the order of polygons and
the first vertex of a ring. So it is fixed, and files are the same byte by byte."""


_FARTHEST = 2.54
"""Largest distance from the training pixels that a byte of per cent has."""


@dataclass(frozen=True)
class MapFiles:
    """A class map on disk, and the rasters beside it on the same grid."""

    classes: Path
    """Class ids, uint8, nodata 255."""
    confidence: Path | None = None
    """Probability of the class, 0 to 1, float32."""
    objects: Path | None = None
    """Numbers of objects, uint32, 0 for no object: a region ends where the number changes."""
    object_classes: NDArray[np.uint8] | None = None
    """Class of each object, shape (objects + 1,): pixels of a boundary between objects take it."""
    obstacles: Path | None = None
    """Further corners that no boundary may move over, a file of `guard.write_obstacles`."""
    strangeness: Path | None = None
    """Distance from the training pixels, 1 at the limit of these, float32, nodata 255."""

    def shape(self) -> tuple[int, int]:
        """Return rows and columns."""
        with OPEN_RASTERS.borrow(self.classes) as src:
            return src.height, src.width

    def geobox(self) -> GeoBox:
        """Return the grid of the map."""
        with OPEN_RASTERS.borrow(self.classes) as src:
            return GeoBox(src.shape, src.transform, src.crs)

    def values(self, window: Window, halo: int = 0) -> NDArray[np.signedinteger]:
        """Return the values that tell regions apart: class + 256 * number of the object, `NONE` for nodata.

        Parameters
        ----------
        window
            A part of the map.
        halo
            Pixels added on each side, `OUTSIDE` beyond the map.

        Returns
        -------
        Shape (rows + 2 halo, cols + 2 halo) of the window.
        """
        rows, cols = window.rows, window.cols
        wider = Window(Span(rows.start - halo, rows.stop + halo), Span(cols.start - halo, cols.stop + halo))
        with OPEN_RASTERS.borrow(self.classes) as src:
            inside = wider.clip(src.shape)
            classes = src.read(1, window=to_rasterio(inside))
        top, left = inside.rows.start - wider.rows.start, inside.cols.start - wider.cols.start
        if self.objects is None or self.object_classes is None:
            plain: NDArray[np.int16] = _run_kernels.place_classes(
                classes, np.full(wider.shape, OUTSIDE, np.int16), top, left, NONE
            )
            return plain
        with OPEN_RASTERS.borrow(self.objects) as src:
            numbers = src.read(1, window=to_rasterio(inside)).astype(np.int64)
        own = np.where(numbers > 0, self.object_classes[numbers], classes)
        values = np.full(wider.shape, OUTSIDE, np.int64)
        values[top : top + len(classes), left : left + classes.shape[1]] = np.where(
            classes == NODATA, NONE, own + 256 * numbers
        )
        return values

    def percent(self, window: Window) -> NDArray[np.uint8] | None:
        """Return the confidence of a window in whole per cent, so that sums do not depend on their order."""
        return None if self.confidence is None else _whole(self.confidence, window, 1.0)

    def levels(self, window: Window) -> NDArray[np.uint8] | None:
        """Return the distance from the training pixels in a window, in whole per cent of their limit."""
        return None if self.strangeness is None else _whole(self.strangeness, window, _FARTHEST)


def _whole(path: Path, window: Window, most: float) -> NDArray[np.uint8]:
    """Read numbers from 0 to `most` as whole per cent."""
    with OPEN_RASTERS.borrow(path) as src:
        numbers = src.read(1, window=to_rasterio(window))
    return np.asarray(np.rint(np.clip(numbers, 0, most) * 100), np.uint8)


@dataclass(frozen=True)
class BlockRegions:
    """The regions and boundaries of a block."""

    window: Window
    arcs: Arcs
    """The boundaries that are complete within the block; `sides` as in `TracedBlock.chains`."""
    chains: Chains
    """The boundaries that continue in other blocks."""
    stats: Stats
    """Sums over its regions; index 0 is the region with label 1."""
    borders: Borders
    corners: Corners
    """Corners of boundaries and obstacles; empty when nothing is generalised."""


def trace_block(
    files: MapFiles, window: Window, shape: tuple[int, int], how: Generalize, threshold: int
) -> BlockRegions:
    """Read a block, find its regions and trace their boundaries.

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
    origin = window.rows.start, window.cols.start
    last = (window.rows.stop == shape[0], window.cols.stop == shape[1])
    traced = trace(files.values(window, halo=1), origin, last)
    chains = traced.chains
    is_open = (chains.ends == JOINT).any(axis=1)
    corners = NO_CORNERS
    if how.needs_corners:
        occupied = traced.corners()
        if files.obstacles is not None:
            occupied |= read_obstacles(files.obstacles, shape, window)
        corners = Corners.pack(occupied, origin)
    return BlockRegions(
        window=window,
        arcs=generalize(chains.take(~is_open), corners, how, shape),
        chains=chains.take(is_open),
        stats=Stats.of(traced.runs, files.percent(window), threshold, files.levels(window)),
        borders=Borders.of(traced.runs),
        corners=corners,
    )
