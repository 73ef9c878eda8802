"""Where two class maps overlap, on the grid of the first one, window by window."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox
from rasterio._err import CPLE_BaseError  # errors of warping reach Python as these
from rasterio.enums import Resampling
from rasterio.vrt import WarpedVRT
from rasterio.warp import transform_bounds

from geoseg.core.errors import SceneError, one_line
from geoseg.core.geometry import Span, Window, windows_of
from geoseg.core.legend import NODATA
from geoseg.scenes.gdal import RASTER_ERRORS, open_raster
from geoseg.scenes.grid import crs_name
from geoseg.scenes.windows import to_rasterio

SIDE = 1024
"""Rows and columns of a window; they change no number."""

_TOLERANCE = 1e-3
"""Pixels by which GDAL may approximate where a pixel lies in another CRS; by default an eighth."""


@dataclass(frozen=True)
class Overlap:
    """Two open class maps and the part of the first one's grid that both may cover."""

    a: Any
    b: Any
    """The second map on the grid of the first one."""
    window: Window
    aligned: bool
    """Whether the grids differ, so that the second map was brought to the first one's."""

    @property
    def geobox(self) -> GeoBox:
        """The grid of the overlap."""
        rows, cols = self.window.rows, self.window.cols
        whole = GeoBox(self.a.shape, self.a.transform, self.a.crs)
        return whole[rows.start : rows.stop, cols.start : cols.stop]

    def read(self) -> Iterator[tuple[Window, NDArray[np.uint8], NDArray[np.uint8]]]:
        """Yield windows of the overlap, with the class ids of both maps.

        Raises
        ------
        SceneError
            When a file cannot be read.
        """
        for part in windows_of(self.window.shape, SIDE):
            here = part.shift(self.window.rows.start, self.window.cols.start)
            try:
                yield part, *(src.read(1, window=to_rasterio(here)) for src in (self.a, self.b))
            except RASTER_ERRORS as error:
                raise SceneError(
                    f"{self.a.name}, {self.b.name}: cannot be read: {one_line(error)}"
                ) from error


@contextmanager
def opened(a: str, b: str) -> Iterator[Overlap]:
    """Open two class maps; bring the second one to the first one's grid, nearest neighbour.

    Raises
    ------
    SceneError
        When a map cannot be read, only one has a CRS, or they do not overlap.
    """
    with ExitStack() as stack:
        try:
            one, other = (stack.enter_context(open_raster(p)) for p in (a, b))
        except RASTER_ERRORS as error:
            raise SceneError(f"{a}, {b}: cannot be opened: {one_line(error)}") from error
        whole = Window.of(0, 0, *one.shape)
        grids = [GeoBox(src.shape, src.transform, src.crs) for src in (one, other)]
        if grids[0] == grids[1]:
            yield Overlap(one, other, whole, aligned=False)
            return
        if one.crs is None or other.crs is None:
            names = " and ".join(crs_name(g.crs) for g in grids)
            raise SceneError(
                f"{a}, {b}: their grids differ, and their CRS are {names}, so nothing says how they lie on "
                "each other; compare maps of one grid, or of a CRS each"
            )
        window = _meeting(one, other).clip(one.shape)
        if not window:
            raise SceneError(f"{a}, {b}: the maps do not overlap; are they of the same place?")
        try:
            aligned = WarpedVRT(
                other, crs=one.crs, transform=one.transform, height=one.height, width=one.width,
                resampling=Resampling.nearest, src_nodata=NODATA, nodata=NODATA, tolerance=_TOLERANCE,
            )  # fmt: skip
        except (*RASTER_ERRORS, CPLE_BaseError) as error:
            raise SceneError(f"{b}: cannot be brought to the grid of {a}: {one_line(error)}") from error
        stack.enter_context(aligned)
        yield Overlap(one, aligned, window, aligned=True)


def _meeting(one: Any, other: Any) -> Window:
    """Return the pixels of a map that the bounds of another one meet."""
    left, bottom, right, top = transform_bounds(other.crs, one.crs, *other.bounds)
    if not (np.isfinite([left, bottom, right, top]).all() and left < right):  # across the antimeridian
        return Window.of(0, 0, *one.shape)
    corners = [
        ~one.transform @ point for point in ((left, top), (right, bottom), (left, bottom), (right, top))
    ]
    cols, rows = ([f(values) for f in (min, max)] for values in zip(*corners, strict=True))
    # Rounded first: transforming a grid that fits leaves a trace beyond its last pixel.
    return Window(
        Span(int(np.floor(rows[0] + 1e-6)), int(np.ceil(rows[1] - 1e-6))),
        Span(int(np.floor(cols[0] + 1e-6)), int(np.ceil(cols[1] - 1e-6))),
    )
