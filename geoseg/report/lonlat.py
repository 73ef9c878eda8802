"""From pixels of a map to longitude and latitude, as polynomials that a page evaluates without a library."""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.polynomial import chebyshev
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox
from pyproj import Transformer
from pyproj.exceptions import ProjError

_DEGREES = (3, 5, 8)
"""Degrees that are tried; the lowest that is exact enough is taken."""

_NODES = 16
_EARTH_M = 6_371_000.0
_EXACT = 0.1
"""Largest error in pixels, or in metres of maps with smaller pixels than that."""

_WORST = 0.5
"""Error in pixels from which on no place is given at all."""


@dataclass(frozen=True)
class LonLat:
    """Directions of the places of a map.

    A direction is a unit vector, which has no jump at the antimeridian and none at the poles. Each of its
    three parts is a sum over Chebyshev polynomials of the place in the map, -1 to 1 along both axes.
    """

    degree: int
    x: tuple[float, ...]
    y: tuple[float, ...]
    z: tuple[float, ...]
    """Coefficients, `(degree + 1) ** 2` of each part: all of the first polynomial along columns first."""
    digits: int
    """Digits of a degree that are worth showing."""

    def at(self, col: float, row: float, shape: tuple[int, int]) -> tuple[float, float]:
        """Return longitude and latitude of a place in pixels in degrees; the page does the same."""
        place = 2 * col / shape[1] - 1, 2 * row / shape[0] - 1
        side = self.degree + 1
        x, y, z = (
            float(chebyshev.chebval2d(*place, np.reshape(part, (side, side))))
            for part in (self.x, self.y, self.z)
        )
        return math.degrees(math.atan2(y, x)), math.degrees(math.atan2(z, math.hypot(x, y)))


def lonlat_of(geobox: GeoBox) -> LonLat | None:
    """Fit the places of a map.

    Parameters
    ----------
    geobox
        The grid.

    Returns
    -------
    LonLat | None
        None without a CRS, when a part of the grid is no place on the earth, or no polynomial comes near.

    Examples
    --------
    >>> from odc.geo.geobox import GeoBox
    >>> grid = GeoBox.from_bbox((500_000, 0, 510_000, 10_000), "EPSG:32633", resolution=10)
    >>> longitude, latitude = lonlat_of(grid).at(0, 1000, (1000, 1000))
    >>> (round(longitude, 5), abs(round(latitude, 5)))
    (15.0, 0.0)
    """
    if geobox.crs is None:
        return None
    try:
        turn = Transformer.from_crs(geobox.crs.proj, "EPSG:4326", always_xy=True)
    except ProjError:
        return None
    nodes = chebyshev.chebpts1(_NODES)
    between = np.linspace(-1, 1, _NODES + 5)
    known, checked = _directions(geobox, turn, nodes), _directions(geobox, turn, between)
    if not (np.isfinite(known).all() and np.isfinite(checked).all()):
        return None
    pixel = _pixel_m(geobox, turn)
    for degree in _DEGREES:
        terms = chebyshev.chebvander2d(*_grid(nodes), [degree, degree])
        parts = np.linalg.lstsq(terms, known, rcond=None)[0]
        found = chebyshev.chebvander2d(*_grid(between), [degree, degree]) @ parts
        error = _EARTH_M * float(np.linalg.norm(found - checked, axis=1).max())
        if error < _EXACT * min(pixel, 1.0) or (degree == _DEGREES[-1] and error < _WORST * pixel):
            digits = max(3, min(7, math.floor(math.log10(111_000 / max(pixel, error))) + 1))
            x, y, z = ([float(f"{v:.12g}") for v in part] for part in parts.T)
            return LonLat(degree, tuple(x), tuple(y), tuple(z), digits)
    return None


def _grid(places: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    cols, rows = np.meshgrid(places, places, indexing="ij")
    return cols.ravel(), rows.ravel()


def _directions(geobox: GeoBox, turn: Transformer, places: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the unit vectors at places from -1 to 1, shape (places squared, 3)."""
    cols, rows = _grid(places)
    return _towards(geobox, turn, (cols + 1) / 2 * geobox.shape.x, (rows + 1) / 2 * geobox.shape.y)


def _towards(geobox: GeoBox, turn: Transformer, cols: Any, rows: Any) -> NDArray[np.float64]:
    a, b, c, d, e, f = tuple(geobox.transform)[:6]
    lon, lat = turn.transform(a * cols + b * rows + c, d * cols + e * rows + f)
    lon, lat = np.radians(lon), np.radians(lat)
    with np.errstate(invalid="ignore"):
        vectors = [np.cos(lat) * np.cos(lon), np.cos(lat) * np.sin(lon), np.sin(lat)]
    return np.stack(vectors, axis=-1)


def _pixel_m(geobox: GeoBox, turn: Transformer) -> float:
    """Return the side of a pixel in the middle of the map in metres, about."""
    cols, rows = geobox.shape.x / 2 + np.array([0.0, 1.0]), np.full(2, geobox.shape.y / 2)
    one, other = _towards(geobox, turn, cols, rows)
    return max(1e-6, _EARTH_M * float(np.linalg.norm(one - other)))
