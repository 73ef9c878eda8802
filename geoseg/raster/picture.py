"""Class maps as pictures that every viewer opens: palette PNGs."""

import contextlib
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import rasterio
import rasterio.shutil

from geoseg.core.files import as_output_error, unusable_place
from geoseg.core.legend import NODATA, Legend
from geoseg.raster.cog import gdal_as_output_error
from geoseg.raster.staging import Staging
from geoseg.tiling.blocks import Block

MOST_SIDE = {"PNG": 2**31 - 1, "JPEG": 65_500}
"""Most pixels along a side of a picture."""


def write_mask(path: Path, class_map: Path) -> None:
    """Write a class map as a PNG of mode P: class ids as values, the legend as palette, nodata transparent.

    Parameters
    ----------
    path
        The file to make; it appears by rename.
    class_map
        The finished class map.

    Raises
    ------
    OutputError
        When the file cannot be written.
    """
    copy_picture(class_map, path, "PNG")


def copy_picture(source: Path, path: Path, driver: str, **options: object) -> None:
    """Copy a raster to a picture without georeference; it appears by rename.

    Raises
    ------
    OutputError
        When the file cannot be written.
    """
    with _without_side_files(path), rasterio.open(source) as src:
        shape = src.shape
        if max(shape) > MOST_SIDE[driver]:
            raise unusable_place(
                path, f"{shape[0]} x {shape[1]} px are more than {driver} holds; leave it out, or write PNG"
            )
    temporary = path.with_name(f".{path.name}.tmp")
    try:
        with _without_side_files(path):
            rasterio.shutil.copy(str(source), str(temporary), driver=driver, **options)
        with as_output_error(path):
            temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


@contextlib.contextmanager
def _without_side_files(path: Path) -> Iterator[None]:
    """Turn errors of GDAL into one line, and keep it from writing files beside a picture."""
    with gdal_as_output_error(path), rasterio.Env(GDAL_PAM_ENABLED="NO"):
        yield


def mean_confidence(
    staging: Staging, blocks: Iterable[Block], legend: Legend, class_map: Path | None = None
) -> dict[str, float]:
    """Return the mean confidence of the pixels of each class that occurs, 0 to 1, by slug.

    Parameters
    ----------
    staging, blocks
        The finished blocks: class ids in the first band, per cent in the second.
    legend
        The classes.
    class_map
        The class map after post-processing; None: it is that of the blocks.

    Raises
    ------
    OutputError
        When a block cannot be read.
    """
    pixels, sums = np.zeros(256, np.int64), np.zeros(256, np.int64)
    for block in blocks:
        with gdal_as_output_error(Path(staging.path(block))), rasterio.open(staging.path(block)) as src:
            classes, percent = src.read([1, 2])
        if class_map is not None:
            here = block.core.rows, block.core.cols
            with gdal_as_output_error(class_map), rasterio.open(class_map) as src:
                classes = src.read(1, window=tuple((s.start, s.stop) for s in here))
        pixels += np.bincount(classes.ravel(), minlength=256)
        # In whole numbers, so that the order of the blocks does not matter.
        sums += np.bincount(classes.ravel(), percent.ravel(), minlength=256).astype(np.int64)
    found = legend.by_id().items()
    return {
        c.slug: round(float(sums[i]) / (100 * float(pixels[i])), 6)
        for i, c in found
        if i != NODATA and pixels[i]
    }
