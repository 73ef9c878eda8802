"""Where the members of a mosaic lie on its grid, and how their pixels come there.

A member on the grid is read as it is. One in the same CRS but off the grid is resampled by
`geoseg.scenes.resample` from each of its files. One in another CRS is read on its own grid, and interpolated
between the four nearest pixel centres.

The last is own code for the reason of `geoseg.scenes.resample`: warped by GDAL, a pixel depends on the window
that is asked for, since kernels and the approximation of coordinates do.
"""

import math
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from odc.geo.crs import CRS
from odc.geo.geobox import GeoBox
from pyproj.exceptions import CRSError, ProjError

from geoseg.core.errors import SceneError, one_line
from geoseg.core.geometry import Span, Window
from geoseg.scenes import _kernels, grid
from geoseg.scenes.pixels import Pixels
from geoseg.scenes.scene import Scene

ALIGNED = 1e-3
"""Pixels by which a grid may be off another one, and is still read without resampling."""

_ALONG_SIDE = 65
"""Points along each side of a member whose places tell where it lies."""

_STEPS = (16, 4, 1)
"""Pixels between places that are brought to the other CRS exactly; those between are interpolated."""

_ERROR = 1e-2
"""Pixels by which an interpolated place may be wrong."""

_GATHER = 1 << 18, 4
"""A window is halved until its pixels come from no more than this many pixels, or times as many."""

Bounds = tuple[float, float, float, float]
"""Left, top, right and bottom in pixels of a grid."""


@dataclass(frozen=True)
class Warp:
    """Places of pixels of one grid on another one, in another CRS."""

    target: GeoBox
    source: GeoBox
    step: int
    """Pixels of the target between places that are exact."""

    @classmethod
    def between(cls, target: GeoBox, source: GeoBox, window: Window) -> "Warp":
        """Return the coarsest warp that is right to a hundredth of a pixel in a window of the target."""
        for step in _STEPS:
            warp = cls(target, source, step)
            if step == _STEPS[-1] or warp._error(window) <= _ERROR:
                break
        return warp

    def lattice(self, window: Window) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return rows and columns in the source, in pixels, of every `step`-th corner around a window.

        Corners are counted from the first pixel of the target, so that no place depends on the window. Shape
        (corners down, corners across).
        """
        axes = (
            np.arange(span.start // self.step, -(-span.stop // self.step) + 1) * float(self.step)
            for span in (window.rows, window.cols)
        )
        rows, cols = axes
        return self.places(*np.meshgrid(rows, cols, indexing="ij"))

    def places(
        self, rows: NDArray[np.float64], cols: NDArray[np.float64]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return rows and columns in the source, in pixels, of places in pixels of the target."""
        x, y = project(self.target.crs, self.source.crs, *(self.target.transform @ (cols, rows)))
        found_cols, found_rows = ~self.source.transform @ (x, y)
        return found_rows, found_cols

    def _error(self, window: Window) -> float:
        """Return by how many source pixels the middle between corners is wrong at most, on a sample."""
        starts = (
            np.unique(np.linspace(span.start, max(span.start, span.stop - self.step), 9).astype(int))
            // self.step
            * float(self.step)
            for span in (window.rows, window.cols)
        )
        rows, cols = np.meshgrid(*starts, indexing="ij")
        corners = [self.places(rows + i * self.step, cols + j * self.step) for i in (0, 1) for j in (0, 1)]
        middle = self.places(rows + self.step / 2, cols + self.step / 2)
        off = [np.abs(sum(c[k] for c in corners) / 4 - middle[k]) for k in (0, 1)]
        return float(np.nan_to_num(np.maximum(*off), nan=np.inf, posinf=np.inf).max())

    def part(self, window: Window) -> Window:
        """Return the pixels of the source that those of a window come from; it may be empty."""
        return self._part(*self.lattice(window))

    def _part(self, rows: NDArray[np.float64], cols: NDArray[np.float64]) -> Window:
        height, width = self.source.shape
        known = np.isfinite(rows) & np.isfinite(cols)
        if not known.any():
            return Window.of(0, 0, 0, 0)
        return Window(_around(rows[known], height), _around(cols[known], width))

    def read(self, scene: Scene, window: Window) -> Pixels:
        """Read a window of the target: values between its valid neighbours where the nearest is valid."""
        rows, cols = self.lattice(window)
        height, width = self.source.shape
        values = np.zeros((len(scene.bands), *window.shape), scene.dtype)
        valid = np.zeros(window.shape, np.bool_)
        part = self._part(rows, cols)
        if not part:
            return Pixels(values, valid)
        least, times = _GATHER
        pixels = window.shape[0] * window.shape[1]
        if part.shape[0] * part.shape[1] > max(least, times * pixels) and pixels > 1:
            for half in _halves(window):
                found, here = self.read(scene, half), half.relative_to(window)
                values[:, *here], valid[here] = found.values, found.valid
            return Pixels(values, valid)
        read = scene.read(part)
        corner, origin = ((w.rows.start, w.cols.start) for w in (part, window))
        _kernels.warp(
            read.values, read.valid, corner, (height, width), rows, cols, origin, self.step,
            values.dtype.kind in "iu", values, valid,
        )  # fmt: skip
        return Pixels(values, valid)


@dataclass(frozen=True)
class Member:
    """A scene of a mosaic, and where it lies in it."""

    scene: Scene
    window: Window
    """The part of the mosaic outside of which it has no pixel."""
    warp: Warp | None = None
    """How its pixels come into another CRS; None: they are pixels of the mosaic."""

    def part(self, part: Window) -> Window:
        """Return the pixels of its scene that a part of its window is read from."""
        if self.warp is not None:
            return self.warp.part(part)
        rows, cols = part.relative_to(self.window)
        return Window(Span(rows.start, rows.stop), Span(cols.start, cols.stop))

    def read(self, part: Window) -> Pixels:
        """Read a part of its window."""
        if self.warp is not None:
            return self.warp.read(self.scene, part)
        return self.scene.read(self.part(part))


def place(scene: Scene, target: GeoBox) -> Member | None:
    """Return where a scene lies on a grid; None when no pixel of the grid has its centre on it."""
    bounds, whole = bounds_on(scene.geobox, target), Window.of(0, 0, *target.shape)
    if scene.geobox.crs != target.crs:
        window = _outwards(bounds, 1).intersect(whole)
        warp = Warp.between(target, scene.geobox, window) if window else None
        return Member(scene, window, warp) if window else None
    left, top, right, bottom = (round(v) for v in bounds)
    window = Window(Span(top, bottom), Span(left, right))
    near = max(abs(v - w) for v, w in zip(bounds, (left, top, right, bottom), strict=True)) <= ALIGNED
    if near and window.shape == scene.shape and window.clip(tuple(target.shape)) == window:
        return Member(scene, window)
    window = pixels_in(bounds).clip(tuple(target.shape))
    if not window:
        return None
    rows, cols = window.relative_to(whole)
    return Member(replace(scene, geobox=target[rows, cols]), window)


def pixels_in(bounds: Bounds) -> Window:
    """Return the window of the pixels whose centres lie in bounds."""
    left, top, right, bottom = (round(v, 6) for v in bounds)
    spans = (
        Span(math.ceil(low - 0.5), math.floor(high - 0.5) + 1) for low, high in ((top, bottom), (left, right))
    )
    return Window(*spans)


def bounds_on(geobox: GeoBox, target: GeoBox) -> Bounds:
    """Return left, top, right and bottom of a grid in pixels of another one.

    Raises
    ------
    SceneError
        When the CRS of the other one cannot show it.
    """
    height, width = geobox.shape
    if geobox.crs == target.crs:
        # By the corner and the size: of two grids with equal pixels neither is a rounding error wider.
        across, down = geobox.resolution.x / target.resolution.x, geobox.resolution.y / target.resolution.y
        left, top = ~target.transform @ (geobox.transform.c, geobox.transform.f)
        return left, top, left + width * across, top + height * down
    share = np.linspace(0, 1, _ALONG_SIDE)
    ends = np.zeros_like(share), np.ones_like(share)
    across = np.concatenate([share, share, *ends]) * width
    down = np.concatenate([*ends, share, share]) * height
    x, y = project(geobox.crs, target.crs, *(geobox.transform @ (across, down)))
    if target.crs.geographic:
        x = _unwrapped(x, target)
    cols, rows = ~target.transform @ (x, y)
    if not (np.isfinite(cols) & np.isfinite(rows)).all():
        raise SceneError(
            f"its grid in {grid.crs_name(geobox.crs)} reaches beyond what {grid.crs_name(target.crs)} can "
            "show; give the mosaic another crs"
        )
    return float(cols.min()), float(rows.min()), float(cols.max()), float(rows.max())


def project(
    source: CRS, target: CRS, x: NDArray[np.float64], y: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return coordinates in another CRS, infinite where it has none.

    Raises
    ------
    SceneError
        When there is no way between the two.
    """
    try:
        found_x, found_y = source.transformer_to_crs(target)(x, y)
    except (ProjError, CRSError) as error:
        raise SceneError(
            f"there is no way from {grid.crs_name(source)} to {grid.crs_name(target)} "
            f"({one_line(error)[:80]})"
        ) from None
    return np.asarray(found_x), np.asarray(found_y)


def _unwrapped(lon: NDArray[np.float64], target: GeoBox) -> NDArray[np.float64]:
    """Return longitudes without a jump, near the middle of a grid."""
    circle = 2 * np.pi / target.crs.proj.axis_info[0].unit_conversion_factor
    middle = sum(target.boundingbox.range_x) / 2
    near: NDArray[np.float64] = (lon - middle + circle / 2) % circle - circle / 2 + middle
    return near


def _around(places: NDArray[np.float64], length: int) -> Span:
    """Return the pixels of an axis that places are interpolated from."""
    low, high = (float(np.clip(v, -2, length + 2)) for v in (places.min(), places.max()))
    return Span(math.floor(low - 0.5) - 1, math.floor(high - 0.5) + 3).clip(length)


def _outwards(bounds: Bounds, more: int) -> Window:
    left, top, right, bottom = bounds
    spans = (
        Span(math.floor(low) - more, math.ceil(high) + more) for low, high in ((top, bottom), (left, right))
    )
    return Window(*spans)


def _halves(window: Window) -> tuple[Window, Window]:
    rows, cols = window.rows, window.cols
    if len(rows) >= len(cols):
        middle = (rows.start + rows.stop) // 2
        return Window(Span(rows.start, middle), cols), Window(Span(middle, rows.stop), cols)
    middle = (cols.start + cols.stop) // 2
    return Window(rows, Span(cols.start, middle)), Window(rows, Span(middle, cols.stop))
