"""What one block of a map tells about regions and their boundaries: the work of one task."""

import threading
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import rasterio
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
from geoseg.vector.trace.stats import Stats

BLOCK = 1024
"""Rows and columns of a block. Where blocks lie makes no difference to a polygon; it decides in which order
they come and at which vertex a ring begins. So it is fixed, and files are the same byte by byte."""


class _Opened(threading.local):
    """The rasters that a thread has open, so that GDAL need not decode again what neighbouring blocks share.

    They are closed with it, and stay behind when it goes to another process.
    """

    def __init__(self) -> None:
        self._rasters: dict[Path, rasterio.DatasetReader] = {}

    def __call__(self, path: Path) -> rasterio.DatasetReader:
        if path not in self._rasters:
            self._rasters[path] = rasterio.open(path)
        return self._rasters[path]

    def __reduce__(self) -> tuple[type, tuple[()]]:
        return _Opened, ()


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
    _opened: _Opened = field(init=False, repr=False, compare=False, default_factory=_Opened)

    def shape(self) -> tuple[int, int]:
        """Return rows and columns."""
        src = self._opened(self.classes)
        return src.height, src.width

    def geobox(self) -> GeoBox:
        """Return the grid of the map."""
        src = self._opened(self.classes)
        return GeoBox(src.shape, src.transform, src.crs)

    def values(self, window: Window, halo: int = 0) -> NDArray[np.signedinteger]:
        """Return what tells regions apart: class + 256 * number of the object, `NONE` for nodata.

        Parameters
        ----------
        window
            A part of the map.
        halo
            Pixels more on each side, `OUTSIDE` beyond the map.
        """
        rows, cols = window.rows, window.cols
        wider = Window(Span(rows.start - halo, rows.stop + halo), Span(cols.start - halo, cols.stop + halo))
        src = self._opened(self.classes)
        inside = wider.clip(src.shape)
        part = to_rasterio(inside)
        top, left = inside.rows.start - wider.rows.start, inside.cols.start - wider.cols.start
        classes = src.read(1, window=part)
        if self.objects is None or self.object_classes is None:
            plain: NDArray[np.int16] = _run_kernels.place_classes(
                classes, np.full(wider.shape, OUTSIDE, np.int16), top, left, NONE
            )
            return plain
        numbers = self._opened(self.objects).read(1, window=part).astype(np.int64)
        own = np.where(numbers > 0, self.object_classes[numbers], classes)
        values = np.full(wider.shape, OUTSIDE, np.int64)
        values[top : top + len(classes), left : left + classes.shape[1]] = np.where(
            classes == NODATA, NONE, own + 256 * numbers
        )
        return values

    def percent(self, window: Window) -> NDArray[np.uint8] | None:
        """Return the confidence in whole per cent, so that sums do not depend on their order."""
        if self.confidence is None:
            return None
        share = self._opened(self.confidence).read(1, window=to_rasterio(window))
        return np.asarray(np.rint(np.clip(share, 0, 1) * 100), np.uint8)


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
    origin = window.rows.start, window.cols.start
    last = (window.rows.stop == shape[0], window.cols.stop == shape[1])
    traced = trace(files.values(window, halo=1), origin, last)
    chains = traced.chains
    is_open = (chains.ends == JOINT).any(axis=1)
    corners = NO_CORNERS
    if how.needs_corners:
        found = traced.corners()
        if files.obstacles is not None:
            found |= read_obstacles(files.obstacles, shape, window)
        corners = Corners.pack(found, origin)
    return BlockRegions(
        window=window,
        arcs=generalize(chains.take(~is_open), corners, how, shape),
        chains=chains.take(is_open),
        stats=Stats.of(traced.runs, files.percent(window), threshold),
        borders=Borders.of(traced.runs),
        corners=corners,
    )
