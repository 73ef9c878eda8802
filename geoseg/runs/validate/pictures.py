"""Checks of the pictures of a run: the mask against the class map and the legend, the overlay's size."""

from collections.abc import Iterator
from pathlib import Path

import rasterio
from rasterio.enums import ColorInterp
from rasterio.io import DatasetReader
from rasterio.windows import Window

from geoseg.core.errors import one_line
from geoseg.core.run_files import RunFile
from geoseg.runs.validate.findings import Failure
from geoseg.runs.validate.finished_folder import FinishedFolder
from geoseg.runs.validate.reading import row_spans
from geoseg.scenes.gdal import RASTER_ERRORS, open_raster

PICTURES = (RunFile.MASK, RunFile.OVERLAY_PNG, RunFile.OVERLAY_JPG)


def pictures_of(run: FinishedFolder) -> list[str]:
    """Return the names of the pictures that a run wrote."""
    return [name for name in PICTURES if name in run.outputs]


def check_pictures(run: FinishedFolder) -> Iterator[Failure]:
    """Check size, colours and pixels of the mask, and the size of the overlay."""
    for name in pictures_of(run):
        try:
            with open_raster(str(run.folder / name)) as src:
                if src.shape != tuple(run.geobox.shape):
                    shape = str(tuple(run.geobox.shape))
                    yield Failure(name, "height and width", shape, str(src.shape))
                elif name == RunFile.MASK:
                    yield from _colors(run, src)
                    yield from _pixels(run.folder / RunFile.CLASSES, src)
        except RASTER_ERRORS as error:
            yield Failure(name, "picture", "readable", one_line(error.__cause__ or error))


def _colors(run: FinishedFolder, src: DatasetReader) -> Iterator[Failure]:
    if src.count != 1 or src.colorinterp[0] is not ColorInterp.palette:
        yield Failure(RunFile.MASK, "mode", "a palette", f"{src.count} bands")
        return
    palette = src.colormap(1)
    for i, c in run.legend.by_id().items():
        found = palette.get(i, (0, 0, 0, 0))[:3]
        if found != c.rgb:
            yield Failure(RunFile.MASK, f"colour of {c.slug}", str(c.rgb), str(found))


def _pixels(class_map: Path, mask: DatasetReader) -> Iterator[Failure]:
    wrong = 0
    with rasterio.open(class_map) as classes:
        for start, stop in row_spans(mask.shape):
            here = Window(0, start, mask.width, stop - start)
            wrong += int((mask.read(1, window=here) != classes.read(1, window=here)).sum())
    if wrong:
        yield Failure(RunFile.MASK, "pixels unlike those of the class map", "0", str(wrong))
