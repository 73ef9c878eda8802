"""Ground sample distance, and the common grid of bands with different resolutions.

Every CRS is an `odc.geo.crs.CRS`, as `GeoBox.crs` gives it; the lines that need pyproj's take `.proj`.
"""

import math
from collections.abc import Sequence

import numpy as np
from affine import Affine
from numpy.typing import NDArray
from odc.geo.crs import CRS
from odc.geo.geobox import GeoBox
from pyproj import Geod, Proj
from pyproj.exceptions import CRSError, ProjError

from geoseg.core.errors import SceneError, one_line
from geoseg.core.geometry import Span
from geoseg.scenes.sources import LONGEST_SIDE, MOST_PIXELS, SourceFile

_ALONG_BORDER = 21
"""Points along each border of a grid at which its CRS is tried."""

_ACROSS = 9
"""Points along each side of a grid at which its scale is looked at."""

_NO_SCALE = 1e20
"""What PROJ gives for infinity is 1e30 and more."""

_ACCEPTED = 0.01
"""Distortion of areas up to which a map is measured on the plane."""


def gsd_m(geobox: GeoBox) -> float | None:
    """Return the ground sample distance at the middle of a grid in metres, or None without a CRS.

    The geometric mean of pixel height and width on the ground: on the ellipsoid when the CRS is geographic,
    with the projection's scale taken out when it is projected (Web Mercator doubles lengths at 60 degrees).
    """
    crs = geobox.crs
    if crs is None:
        return None
    width, height = abs(geobox.resolution.x), abs(geobox.resolution.y)
    x, y = geobox.boundingbox.bbox[0::2], geobox.boundingbox.bbox[1::2]
    middle = sum(x) / 2, sum(y) / 2
    if crs.geographic:
        (lon, lat), geod = middle, Geod(ellps="WGS84")
        _, _, width = geod.inv(lon - width / 2, lat, lon + width / 2, lat)
        _, _, height = geod.inv(lon, lat - height / 2, lon, lat + height / 2)
        return math.sqrt(width * height)
    scale = 1.0 if is_planar(geobox) else areal_scale(crs, *middle)
    return math.sqrt(width * height / scale) * metres_in_unit(crs)


def is_planar(geobox: GeoBox) -> bool:
    """Return whether the map on a grid is measured on the plane of its CRS, and not on the ellipsoid.

    It is when the CRS is projected and enlarges areas nowhere in the map by more than users of such a CRS
    accept: 1 %, as everywhere in a UTM zone. It is, too, where the projection does not know its scale.
    """
    crs = geobox.crs
    if crs is None or crs.geographic:
        return False
    share = np.linspace(0, 1, _ACROSS)
    x, y = geobox.transform @ np.meshgrid(share * geobox.shape.x, share * geobox.shape.y)
    return bool((np.abs(areal_scales(crs, x, y) - 1) <= _ACCEPTED).all())


def metres_in_unit(crs: CRS) -> float:
    """Return the metres in a unit of a projected CRS."""
    return float(crs.proj.axis_info[0].unit_conversion_factor)


def areal_scale(crs: CRS, x: float, y: float) -> float:
    """Return the factor by which a projected CRS enlarges areas at a place; 1 where it does not know."""
    return float(areal_scales(crs, np.array([x]), np.array([y]))[0])


def areal_scales(crs: CRS, x: NDArray[np.float64], y: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the factors by which a projected CRS enlarges areas at places; 1 where it does not know."""
    try:
        projection = Proj(crs.proj)
        lon, lat = projection(x.ravel(), y.ravel(), inverse=True)
        scale = np.asarray(projection.get_factors(lon, lat).areal_scale, np.float64)
    except ProjError:
        return np.ones(x.shape)
    return np.where(np.isfinite(scale) & (scale > 0) & (scale < _NO_SCALE), scale, 1.0).reshape(x.shape)


def common_grid(sources: Sequence[SourceFile], gsd: float | None) -> GeoBox:
    """Return the common grid of the bands of a scene.

    It is the grid of the finest file, or one with the requested GSD, the same extent and the same upper-left
    corner.

    Parameters
    ----------
    sources
        The files of the bands.
    gsd
        Requested ground sample distance in metres.

    Raises
    ------
    SceneError
        When the CRS differ, or the extents differ by more than a pixel of the coarser file.
    """
    finest = min(sources, key=lambda s: (abs(s.geobox.resolution.x), s.path))
    check_place(finest.path, finest.geobox)
    for other in sources:
        _check_same_ground(finest, other)
    grid, native = finest.geobox, gsd_m(finest.geobox)
    if gsd is None or native is None or math.isclose(gsd, native, rel_tol=1e-3):
        return grid  # without a CRS pixels have no known size; the declared GSD is that of the grid
    return resized(grid, native, gsd, finest.path)


def resized(grid: GeoBox, native: float, gsd: float, place: str) -> GeoBox:
    """Return a grid with another GSD, the same extent and the same upper-left corner.

    Parameters
    ----------
    grid, native
        The grid, and its GSD in metres.
    gsd
        The other GSD in metres.
    place
        What has the grid, for messages.

    Raises
    ------
    SceneError
        When it has more pixels than any map.
    """
    ratio = gsd / native
    shape = max(1, round(grid.shape.y / ratio)), max(1, round(grid.shape.x / ratio))
    if shape[0] * shape[1] > MOST_PIXELS or max(shape) > LONGEST_SIDE:
        raise SceneError(
            f"{place}: a GSD of {gsd:g} m makes {shape[1]} x {shape[0]} px of this scene of "
            f"{native:.3g} m, more than any map has; choose a coarser gsd"
        )
    return GeoBox(shape, grid.transform @ Affine.scale(ratio), grid.crs)


def check_place(place: str, geobox: GeoBox) -> None:
    """Check that a grid lies on the Earth: everything that a run derives from its CRS later depends on it.

    Parameters
    ----------
    place
        What has the grid, for messages.
    geobox
        The grid.

    Raises
    ------
    SceneError
        When the CRS is geocentric or one of another planet, or a border of the grid has no longitude and
        latitude.
    """
    crs = geobox.crs
    if crs is None:
        return
    if crs.proj.is_engineering:
        return  # a plan of a site: its map has no place on the Earth, and needs none
    if not (crs.geographic or crs.projected):
        raise SceneError(
            f"{place}: its CRS {crs_name(crs)} is neither geographic nor projected, so it has no place "
            "on the Earth; warp it to one that is: gdalwarp -t_srs EPSG:CODE"
        )
    try:
        lon, lat = _border_in_degrees(geobox)
    except (ProjError, CRSError) as error:
        raise SceneError(
            f"{place}: its CRS {crs_name(crs)} has no way to longitude and latitude on the Earth "
            f"({one_line(error)[:80]}); correct it: gdal_edit.py -a_srs EPSG:CODE"
        ) from None
    if not (np.isfinite(lon) & np.isfinite(lat)).all():
        raise SceneError(
            f"{place}: a part of its grid lies beyond what {crs_name(crs)} can show of the Earth; "
            "cut that off: gdalwarp -te"
        )
    beyond = abs(geobox.resolution.y) if crs.geographic else 0.0  # grids whose pixel centres lie on the poles
    if np.abs(lat).max() > 90 + beyond + 1e-6:
        raise SceneError(
            f"{place}: its grid reaches latitude {lat[np.abs(lat).argmax()]:.6g}, beyond the pole; "
            "correct it with gdal_edit.py -a_ullr"
        )
    if crs.geographic and geobox.extent.boundingbox.span_x > 360 * (1 + 1e-6) + abs(geobox.resolution.x):
        raise SceneError(f"{place}: its grid goes round the Earth more than once; cut it: gdalwarp -te")


def _border_in_degrees(geobox: GeoBox) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return longitude and latitude of points on the border and in the middle of a grid."""
    share = np.linspace(0, 1, _ALONG_BORDER)
    ends = np.zeros_like(share), np.ones_like(share)
    across = np.concatenate([share, share, *ends, [0.5]]) * geobox.shape.x
    down = np.concatenate([*ends, share, share, [0.5]]) * geobox.shape.y
    x, y = geobox.transform @ (across, down)
    if geobox.crs.geographic:
        factor = float(geobox.crs.proj.axis_info[0].unit_conversion_factor) * 180 / math.pi
        _ = geobox.crs.transformer_to_crs(CRS("EPSG:4326"))  # fails for other planets
        return x * factor, y * factor
    lon, lat = geobox.crs.transformer_to_crs(CRS("EPSG:4326"))(x, y)
    return lon, lat


def _check_same_ground(one: SourceFile, other: SourceFile) -> None:
    a, b = one.geobox, other.geobox
    if a.crs != b.crs:
        raise SceneError(
            f"{other.path}: its CRS {crs_name(b.crs)} is not the CRS {crs_name(a.crs)} of {one.path}; "
            "warp one onto the other with gdalwarp -t_srs"
        )
    for name, near, far, step in (
        ("columns", a.extent.boundingbox.range_x, b.extent.boundingbox.range_x, b.resolution.x),
        ("rows", a.extent.boundingbox.range_y, b.extent.boundingbox.range_y, b.resolution.y),
    ):
        gap = max(abs(p - q) for p, q in zip(near, far, strict=True))
        if gap > 1.001 * max(abs(step), abs(a.resolution.x)):
            raise SceneError(
                f"{other.path}: its {name} cover {far[0]:.10g} to {far[1]:.10g}, but {one.path} covers "
                f"{near[0]:.10g} to {near[1]:.10g}; cut the bands to one extent with gdalwarp -te"
            )


def crs_name(crs: CRS | None) -> str:
    """Return a short name of a CRS: its EPSG code where it has one."""
    if crs is None:
        return "none"
    return f"EPSG:{crs.epsg}" if crs.epsg else str(crs.proj.name)


def edges_in(source: GeoBox, target: GeoBox, span: Span, axis: int) -> NDArray[np.float64]:
    """Return the edges of a span of target pixels in source pixels, shape (len(span) + 1,).

    Parameters
    ----------
    source, target
        North-up grids of one CRS.
    span
        Pixels of the target along `axis`.
    axis
        0 for rows, 1 for columns.
    """
    to_source = ~source.transform @ target.transform
    scale, shift = (to_source.e, to_source.f) if axis == 0 else (to_source.a, to_source.c)
    # Rounded to a millionth of a pixel: rounding errors of the transforms must not move an edge.
    edges: NDArray[np.float64] = np.round(np.arange(span.start, span.stop + 1) * scale + shift, 6)
    return edges
