"""The grid of an array of xarray: its dimensions of rows and columns, its CRS, and where its pixels lie."""

from collections.abc import Hashable, Iterator
from dataclasses import dataclass

import numpy as np
import xarray
from affine import Affine
from numpy.typing import NDArray
from odc.geo.crs import CRS
from odc.geo.geobox import GeoBox
from odc.geo.xr import spatial_dims
from pyproj.exceptions import CRSError

from geoseg.core.errors import SceneError, listed
from geoseg.scenes.grid import check_place, crs_name

Array = xarray.DataArray | xarray.Dataset

_UNEVEN = 1e-6
"""Pixels by which a coordinate may be off an even spacing, beside the rounding of its own data type."""

_STALE = 1e-3
"""Pixels by which the transform in the attributes of an array may be off its coordinates."""


@dataclass(frozen=True)
class Located:
    """The grid of an array."""

    geobox: GeoBox
    """The grid, north-up where it has a CRS."""
    dims: tuple[Hashable, Hashable]
    """Names of the dimensions of rows and columns."""
    turned: tuple[bool, bool]
    """Whether rows, or columns, of the array run against those of the grid."""
    stale: bool = False
    """Whether the transform in its attributes is another one, of an array that it was cut from."""

    @property
    def order(self) -> tuple[slice, slice]:
        """The slices that bring rows and columns of the array into the order of the grid, and back."""
        rows, cols = (slice(None, None, -1) if turned else slice(None) for turned in self.turned)
        return rows, cols


def locate(array: Array, name: str = "data") -> Located:
    """Return the grid of an array; no pixel is computed.

    Parameters
    ----------
    array
        With dimensions for rows and columns: `y` and `x`, `latitude` and `longitude`, `lat` and `lon`, or
        such whose coordinates have the attribute `axis` of the CF conventions. Rows may run north or south.
    name
        What it is, for messages.

    Raises
    ------
    SceneError
        When it has no such dimensions, its coordinates are uneven or rotated, or it has two CRS.

    Examples
    --------
    >>> pixels = xarray.DataArray(np.zeros((2, 3)), {"y": [5.0, 15.0], "x": [0, 10, 20]}, ("y", "x"))
    >>> locate(pixels).geobox.transform.f, locate(pixels).geobox.shape
    (0.0, Shape2d(x=3, y=2))
    """
    dims = _dims(array, name)
    crs = crs_of(array, name)
    stated = _stated_transform(array)
    if stated is not None and (stated.b or stated.d):
        raise SceneError(f"{name}: its grid is rotated; warp it first, as with data.odc.reproject(crs)")
    axes = [_axis(array, d, name) for d in dims]
    sizes = tuple(int(array.sizes[d]) for d in dims)
    places = _resolved(axes, stated, name)
    if places is None:
        transform = Affine.identity() if stated is None else stated
        turned, stale = (False, False), False
    else:
        (y, dy), (x, dx) = places
        # Without a CRS nobody knows where north is: rows stay as they are, as those of a photograph.
        turned = (crs is not None and dy > 0, crs is not None and dx < 0)
        y, dy = (y + (sizes[0] - 1) * dy, -dy) if turned[0] else (y, dy)
        x, dx = (x + (sizes[1] - 1) * dx, -dx) if turned[1] else (x, dx)
        transform = Affine(dx, 0.0, x - dx / 2, 0.0, dy, y - dy / 2)
        stale = stated is not None and not _same(stated, transform, sizes)
        if stated is not None and not stale and not any(turned) and stated.e < 0 < stated.a:
            transform = stated  # whose numbers are not rounded
    geobox = GeoBox(sizes, transform, crs)
    check_place(name, geobox)
    return Located(geobox, dims, turned, stale)


def _dims(array: Array, name: str) -> tuple[Hashable, Hashable]:
    usual = spatial_dims(array)
    if usual is not None:
        return usual[0], usual[1]
    by_axis = {array[d].attrs.get("axis"): d for d in array.dims if d in array.coords}
    if {"X", "Y"} <= set(by_axis):
        return by_axis["Y"], by_axis["X"]
    if any(array[c].ndim == 2 for c in array.coords):
        raise SceneError(f"{name}: has coordinates of two dimensions, so its grid is rotated; warp it first")
    raise SceneError(
        f"{name}: has no dimensions y and x (it has {listed([str(d) for d in array.dims]) or 'none'}); "
        "rename them: data.rename({'row': 'y', 'col': 'x'})"
    )


def crs_of(array: Array, name: str = "data") -> CRS | None:
    """Return the CRS of an array, where `.odc` and `.rio` look for it; None: it has none.

    Raises
    ------
    SceneError
        When its bands have two.
    """
    parts = list(array.data_vars.values()) if isinstance(array, xarray.Dataset) else [array]
    found: dict[CRS, str] = {}
    for part in parts:
        for crs in _crs_of_part(part, array):
            found.setdefault(crs, str(part.name))
    if len(found) > 1:
        one, other = list(found.items())[:2]
        where = f" of {one[1]} and {crs_name(other[0])} of {other[1]}" if one[1] != other[1] else (
            f" and {crs_name(other[0])}"
        )  # fmt: skip
        raise SceneError(f"{name}: has two CRS: {crs_name(one[0])}{where}; warp one onto the other")
    return next(iter(found), None)


def _crs_of_part(part: xarray.DataArray, whole: Array) -> Iterator[CRS]:
    mapping = part.encoding.get("grid_mapping") or part.attrs.get("grid_mapping")
    coords = list(crs_coordinates(part)) or list(crs_coordinates(whole))
    if mapping in [c.name for c in coords]:
        coords = [c for c in coords if c.name == mapping]
    texts = [t for c in coords if (t := c.attrs.get("crs_wkt") or c.attrs.get("spatial_ref"))]
    if not texts:
        stated = part.attrs.get("crs", whole.attrs.get("crs"))
        texts = [] if stated is None else [stated]
    for text in texts:
        try:
            yield CRS(text)
        except CRSError:
            raise SceneError(
                f"{part.name}: {str(text)[:60]!r} is no CRS; set it: data.odc.assign_crs"
            ) from None


def crs_coordinates(array: Array) -> Iterator[xarray.DataArray]:
    """Yield the coordinates that hold a CRS or a transform, as `spatial_ref` does."""
    for coordinate in array.coords.values():
        if coordinate.ndim == 0 and {"crs_wkt", "spatial_ref", "GeoTransform"} & set(coordinate.attrs):
            yield coordinate


def _stated_transform(array: Array) -> Affine | None:
    for coordinate in crs_coordinates(array):
        try:
            return Affine.from_gdal(*(float(n) for n in coordinate.attrs["GeoTransform"].split()))
        except (KeyError, AttributeError, ValueError, TypeError):
            continue
    return None


def _axis(array: Array, dim: Hashable, name: str) -> tuple[float, float | None] | None:
    """Return the first coordinate of an axis and its step, None for one of a single pixel; None without."""
    if dim not in array.coords:
        return None
    values = array[dim].to_numpy()
    if values.ndim != 1 or values.dtype.kind not in "iuf" or not np.isfinite(values).all():
        raise SceneError(f"{name}: the coordinates of {dim} are no finite numbers")
    if not len(values):
        raise SceneError(f"{name}: has no pixel along {dim}")
    if len(values) == 1:
        return float(values[0]), None
    places = values.astype(np.float64)
    step = float((places[-1] - places[0]) / (len(places) - 1))
    rounding = np.finfo(values.dtype).eps * np.abs(places).max() if values.dtype.kind == "f" else 0.0
    off = np.abs(places - (places[0] + step * np.arange(len(places)))).max()
    if not step or off > _UNEVEN * abs(step) + rounding or rounding > abs(step) / 4:
        raise SceneError(
            f"{name}: {dim} is not evenly spaced (by {_closest(places)} to {_widest(places)}); interpolate "
            "it to a regular grid, as with data.odc.reproject(crs)"
        )
    return float(places[0]), step


def _widest(places: NDArray[np.float64]) -> str:
    return f"{np.diff(places).max():.9g}"


def _closest(places: NDArray[np.float64]) -> str:
    return f"{np.diff(places).min():.9g}"


def _resolved(
    axes: list[tuple[float, float | None] | None], stated: Affine | None, name: str
) -> list[tuple[float, float]] | None:
    """Return first coordinate and step of both axes; None when the array has no coordinates."""
    if all(axis is None for axis in axes):
        return None
    if any(axis is None for axis in axes):
        raise SceneError(f"{name}: has coordinates along one of its axes only; give it both, or none")
    (y, dy), (x, dx) = [axis for axis in axes if axis is not None]
    if stated is not None:
        dy, dx = dy or stated.e, dx or stated.a
    dy, dx = dy or (-abs(dx) if dx else None), dx or (abs(dy) if dy else None)
    if dy is None or dx is None:
        raise SceneError(f"{name}: one pixel does not tell its size; give the array more rows or columns")
    return [(y, dy), (x, dx)]


def _same(stated: Affine, transform: Affine, sizes: tuple[int, ...]) -> bool:
    """Return whether two transforms cover the same ground, up to the order of rows and columns."""
    far = sizes[1], sizes[0]
    (top, left), (bottom, right) = ((y, x) for x, y in (stated @ (0, 0), stated @ far))
    here_x, here_y = zip(transform @ (0, 0), transform @ far, strict=True)
    off_x = np.abs(np.sort([left, right]) - np.sort(here_x)) / abs(transform.a)
    off_y = np.abs(np.sort([top, bottom]) - np.sort(here_y)) / abs(transform.e)
    return bool(max(off_x.max(), off_y.max()) <= _STALE)
