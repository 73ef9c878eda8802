"""Areas of classes on the ground, from a class raster, window by window."""

from pathlib import Path

import numpy as np
import rasterio
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox
from pyproj import Geod

from geoseg.core.geometry import Window
from geoseg.core.legend import Legend
from geoseg.scenes.grid import areal_scales, is_planar, metres_in_unit
from geoseg.scenes.windows import to_rasterio
from geoseg.tiling import _kernels

_ROWS = 512
_MOST_SCALES = 1025
"""Rows at which the scale of a projection is asked for."""
_COLUMNS = 16
"""Parts of a row whose scales are averaged."""


def pixel_area_m2(geobox: GeoBox) -> NDArray[np.float64] | None:
    """Return the area of one pixel in each row in square metres, shape (rows,); None without a CRS.

    Geodesic (Karney 2013, through PROJ) in a geographic CRS; in a projected one planar, or, as in Web
    Mercator, with its areal scale taken out, see `geoseg.scenes.grid.is_planar`.
    """
    crs, rows = geobox.crs, geobox.shape.y
    if crs is None:
        return None
    width, height = abs(geobox.resolution.x), abs(geobox.resolution.y)
    if not crs.geographic:
        plane = width * height * metres_in_unit(crs) ** 2
        if is_planar(geobox):
            return np.full(rows, plane)
        # The scale of a projection is smooth: it is asked for at some rows, and at some columns of them.
        down = np.linspace(0.5, rows - 0.5, min(rows, _MOST_SCALES))
        across = (np.arange(_COLUMNS) + 0.5) / _COLUMNS * geobox.shape.x
        x, y = geobox.transform @ np.meshgrid(across, down)
        means: NDArray[np.float64] = (plane / areal_scales(crs, x, y)).mean(axis=1)
        return np.interp(np.arange(rows) + 0.5, down, means)
    geod: Geod = crs.proj.get_geod()
    top = geobox.transform.f
    areas = np.empty(rows)
    for row in range(rows):
        north, south = top - row * height, top - (row + 1) * height
        area, _ = geod.polygon_area_perimeter([0, width, width, 0], [north, north, south, south])
        areas[row] = abs(area)
    return areas


def class_pixels(class_map: Path) -> dict[int, int]:
    """Return the number of pixels of each value of a class raster (uint8), in ascending order of value."""
    totals = np.zeros(256, np.int64)
    with rasterio.open(class_map) as src:
        for start in range(0, src.height, _ROWS):
            window = Window.of(start, 0, _ROWS, src.width).clip(src.shape)
            totals += _kernels.count(src.read(1, window=to_rasterio(window)))
    return {int(i): int(totals[i]) for i in np.flatnonzero(totals)}


def label_areas_m2(labels: Path, geobox: GeoBox, legend: Legend) -> dict[str, float] | None:
    """Return the area with each label by slug, None without a CRS: a band for each class, 1 where it is.

    Parameters
    ----------
    labels
        The raster of labels.
    geobox
        Its grid.
    legend
        Its classes, in the order of the bands.
    """
    areas = pixel_area_m2(geobox)
    if areas is None:
        return None
    totals = np.zeros(len(legend))
    with rasterio.open(labels) as src:
        for start in range(0, src.height, _ROWS):
            window = Window.of(start, 0, _ROWS, src.width).clip(src.shape)
            has = src.read(window=to_rasterio(window)) == 1
            totals += has.sum(axis=2) @ areas[start : window.rows.stop]
    return {c.slug: round(float(t), 3) for c, t in zip(legend.classes, totals, strict=True)}


def class_areas_m2(class_map: Path, geobox: GeoBox, legend: Legend) -> dict[str, float] | None:
    """Return the area of each class by slug, None without a CRS.

    Parameters
    ----------
    class_map
        The class raster.
    geobox
        Its grid.
    legend
        Its classes.
    """
    areas = pixel_area_m2(geobox)
    if areas is None:
        return None
    totals = np.zeros(256)
    with rasterio.open(class_map) as src:
        for start in range(0, src.height, _ROWS):
            window = Window.of(start, 0, _ROWS, src.width).clip(src.shape)
            band = src.read(1, window=to_rasterio(window))
            for line, area in zip(band, areas[start : window.rows.stop], strict=True):
                totals += _kernels.count(line[None]) * area
    return {c.slug: round(float(totals[i]), 3) for i, c in legend.by_id().items()}
