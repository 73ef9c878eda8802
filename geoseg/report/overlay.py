"""A picture with the map over it, in its own size."""

from pathlib import Path

import numpy as np
import rasterio
from numpy.typing import NDArray

from geoseg.core.errors import one_line
from geoseg.core.files import unusable_place
from geoseg.core.geometry import Window
from geoseg.core.legend import Legend
from geoseg.raster.picture import copy_picture
from geoseg.report.scene_picture import colors_of, stretched
from geoseg.scenes.gdal import RASTER_ERRORS
from geoseg.scenes.scene import Reader, Scene
from geoseg.scenes.windows import to_rasterio

COVER = 0.5
"""Share of the legend's colour in a pixel with a class."""

_DRIVERS = {".png": ("PNG", {}), ".jpg": ("JPEG", {"quality": 90})}
_PIXELS = 1 << 20
"""Pixels that are painted at once."""


def write_overlay(path: Path, scene: Scene, class_map: Path, legend: Legend, read: Reader) -> None:
    """Write the scene in half of its colours under half of those of its classes.

    Pictures of 8 bits are shown as they are, others between the 2nd and the 98th percentile of each band.

    Parameters
    ----------
    path
        The file to make, `.png` or `.jpg`.
    scene
        The scene.
    class_map
        Its finished class map.
    legend
        The classes.
    read
        Reads windows of the scene, see `Scene.preview`.

    Raises
    ------
    OutputError
        When the file cannot be written.
    SceneError
        When the scene cannot be read.
    """
    driver, options = _DRIVERS[path.suffix]
    shown = scene.pick(colors_of(scene)[0])
    ranges = None if shown.dtype == np.uint8 else _ranges(shown, read)
    table, covered = _colors(legend)
    height, width = scene.shape
    lines = max(1, _PIXELS // width)
    painted = path.with_name(f".{path.name}.rgb.tif")
    try:
        with (
            rasterio.open(class_map) as classes,
            rasterio.open(
                painted, "w", driver="GTiff", count=3, height=height, width=width, dtype="uint8",
                photometric="RGB", bigtiff="IF_SAFER",
            ) as out,
        ):  # fmt: skip
            for row in range(0, height, lines):
                window = Window.of(row, 0, min(lines, height - row), width)
                here = to_rasterio(window)
                pixels, ids = read(shown, window), classes.read(1, window=here)
                rgb = pixels.values if ranges is None else _stretched(pixels.values, ranges)
                mixed = rgb * (1 - COVER) + np.moveaxis(table[ids], -1, 0) * COVER
                out.write(np.where(covered[ids], np.rint(mixed), rgb).astype(np.uint8), window=here)
        copy_picture(painted, path, driver, **options)
    except RASTER_ERRORS as error:
        raise unusable_place(path, one_line(error.__cause__ or error)) from error
    finally:
        painted.unlink(missing_ok=True)


def _ranges(scene: Scene, read: Reader) -> NDArray[np.float64]:
    """Return the lowest and highest number that is shown of each band, shape (bands, 2)."""
    pixels = scene.valid_sample(read)
    return np.array([np.percentile(v[pixels.valid], (2, 98)) for v in pixels.values])


def _stretched(values: NDArray[np.generic], ranges: NDArray[np.float64]) -> NDArray[np.uint8]:
    bands = [stretched(v, float(low), float(high)) for v, (low, high) in zip(values, ranges, strict=True)]
    return np.stack(bands)


def _colors(legend: Legend) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Return the colour of each class id, shape (256, 3), and which ids are classes."""
    table, covered = np.zeros((256, 3), np.float32), np.zeros(256, np.bool_)
    for i, c in legend.by_id().items():
        table[i], covered[i] = c.rgb, True
    return table, covered
