"""A raster of objects beside a class map.

Regions are numbered and drawn block by block. Then each region that is cut, or whose pixels are given to
other objects, is handled as a whole, within the rectangle around it. So the result does not depend on the
block size, and memory depends on the largest region, not on the map.
"""

import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from numpy.typing import NDArray
from rasterio.errors import RasterioError

from geoseg.core.errors import GeosegWarning, one_line
from geoseg.core.files import as_output_error, unusable_place
from geoseg.core.geometry import Window, windows_of
from geoseg.core.legend import NO_OBJECT, NODATA
from geoseg.scenes.windows import to_rasterio
from geoseg.vector.recipe import Components, Watershed
from geoseg.vector.shape import _region_kernels
from geoseg.vector.shape.watershed import can_split, share, split
from geoseg.vector.trace.regions import Regions, find_regions

LARGEST = 2**24
"""Most pixels of the rectangle around a region that is cut or given away; it takes about 1 GB."""


def write_instances(
    class_map: Path,
    destination: Path,
    *,
    classes: frozenset[int],
    method: Components | Watershed,
    boundary: int | None = None,
    block: int = 1024,
    largest: int = LARGEST,
) -> NDArray[np.uint8]:
    """Write a raster that numbers the objects of some classes; it appears by rename.

    Parameters
    ----------
    class_map
        A raster of class ids, uint8.
    destination
        The GeoTIFF to make, on the same grid: uint32, tiled, compressed, 0 (nodata) where there is no object.
        Objects are numbered from 1 in the scan order of their first pixel. While it is made, one or two
        temporary files of its size lie beside it.
    classes
        Ids of the classes that have objects.
    method
        How objects are told apart.
    boundary
        Id of a class, not among `classes`, that lies between objects. Each of its pixels is given to the
        nearest object that touches its region, of any class; a region that no object touches stays 0.
    block
        Side of the blocks in pixels; does not change the result.
    largest
        Most pixels of a region's rectangle: a larger region is not cut, and one of `boundary` stays 0.

    Returns
    -------
    Class id of each object, shape (objects + 1,); entry 0, for no object, is 255. In the map, pixels of
    `boundary` have another class than their object.

    Raises
    ------
    OutputError
        When the class map cannot be read or the file cannot be written.

    Warns
    -----
    GeosegWarning
        When a region is larger than `largest`.
    """
    drawn, numbered = (destination.with_name(f".{destination.name}.{os.getpid()}.{n}.tif") for n in (1, 2))
    try:
        with _rasterio_as_output_error(class_map, destination):
            with rasterio.open(class_map) as source, rasterio.open(drawn, "w+", **_profile(source)) as target:
                regions = _draw_regions(source, target, classes, boundary, block)
                between = np.isin(regions.values, [] if boundary is None else [boundary])
                parents = np.arange(len(regions) + 1)
                if isinstance(method, Watershed):
                    worth = can_split(regions.sizes, method) & ~between
                    cut = _small_enough(regions, worth, largest, f"{class_map}: left in one piece")
                    parents = _cut_regions(target, regions, cut, method, block)
                shared = _small_enough(regions, between, largest, f"{class_map}: given to no object")
                _give_away(target, regions, shared, block)
                between[shared] = False
            last = drawn
            if boundary is not None or len(parents) > len(regions) + 1:
                parents = parents[_renumber(drawn, numbered, len(parents), np.flatnonzero(between), block)]
                last = numbered
        with as_output_error(destination), last.open("rb") as written:
            os.fsync(written.fileno())
            last.replace(destination)
    finally:
        drawn.unlink(missing_ok=True)
        numbered.unlink(missing_ok=True)
    return np.where(parents > 0, regions.values[parents], NODATA).astype(np.uint8)


def _profile(raster: Any) -> dict[str, Any]:
    return {
        "driver": "GTiff", "height": raster.height, "width": raster.width, "count": 1, "dtype": "uint32",
        "crs": raster.crs, "transform": raster.transform, "nodata": NO_OBJECT, "tiled": True,
        "blockxsize": 256, "blockysize": 256, "compress": "deflate", "zlevel": 1, "bigtiff": "if_safer",
        "sparse_ok": True,
    }  # fmt: skip


@contextmanager
def _rasterio_as_output_error(class_map: Path, destination: Path) -> Iterator[None]:
    try:
        yield
    except RasterioError as error:
        cause = one_line(error.__cause__ or error)
        raise unusable_place(destination, f"{cause} (made from {class_map.name})") from error


def _read(raster: Any, window: Window) -> NDArray[Any]:
    values: NDArray[Any] = raster.read(1, window=to_rasterio(window))
    return values


def _write(raster: Any, window: Window, values: NDArray[np.uint32]) -> None:
    raster.write(values, 1, window=to_rasterio(window))


def _draw_regions(
    source: Any, target: Any, classes: frozenset[int], boundary: int | None, block: int
) -> Regions:
    """Find the regions of the classes and of the boundary; draw their numbers, in scan order."""
    table = np.full(256, -1, np.int16)
    for value in classes if boundary is None else classes | {boundary}:
        table[value] = value

    def read(window: Window) -> NDArray[np.int16]:
        values: NDArray[np.int16] = table[_read(source, window)]
        return values

    regions = find_regions(read, source.shape, block)
    for index, window in enumerate(windows_of(source.shape, block)):
        values = read(window)
        if (values >= 0).any():
            _write(target, window, regions.draw(index, values))
    return regions


def _small_enough(regions: Regions, chosen: NDArray[np.bool_], largest: int, fate: str) -> NDArray[np.intp]:
    """Return the numbers of the chosen regions that are not too large; warn of those that are."""
    area = regions.sizes.prod(axis=1)
    large = chosen & (area > largest)
    if large.any():
        worst = int(np.argmax(np.where(large, area, 0)))
        warnings.warn(
            f"{fate}: {large.sum()} region(s) with a rectangle of more than {largest / 1e6:.3g} million "
            f"pixels, the largest of class {regions.values[worst]} at {regions.window(worst)}; a coarser gsd "
            "makes them smaller",
            GeosegWarning,
            stacklevel=3,
        )
    return np.flatnonzero(chosen & ~large)


def _cut_regions(
    target: Any, regions: Regions, chosen: NDArray[np.intp], method: Watershed, block: int
) -> NDArray[np.int64]:
    """Cut regions into objects: the first part keeps its region's number, the others get new numbers.

    Returns
    -------
    The region of each number.
    """
    parents, following = [np.arange(len(regions) + 1)], len(regions) + 1
    for number, drawn in _rectangles(target, regions, chosen, 0, block):
        parts = split(drawn == number, method)
        new = int(parts.max()) - 1
        np.add(parts, following - 2, out=drawn, where=parts > 1, casting="unsafe")
        parents.append(np.full(new, number))
        following += new
    return np.concatenate(parents)


def _give_away(target: Any, regions: Regions, chosen: NDArray[np.intp], block: int) -> None:
    """Give the pixels of the chosen regions to the objects around them."""
    for number, drawn in _rectangles(target, regions, chosen, 1, block):
        mask = drawn == number
        np.copyto(drawn, share(mask, drawn), where=mask)


def _rectangles(
    target: Any, regions: Regions, chosen: NDArray[np.intp], margin: int, block: int
) -> Iterator[tuple[int, NDArray[np.uint32]]]:
    """Yield the number of each chosen region and the pixels of its rectangle; changes to them are written.

    Regions that lie within one block are read and written together.
    """
    for window, numbers in _windows(target.shape, regions, chosen, margin, block):
        drawn = _read(target, window)
        before = drawn.copy()
        for number in numbers:
            yield number, drawn[regions.window(number, margin).clip(target.shape).relative_to(window)]
        if (drawn != before).any():
            _write(target, window, drawn)


def _windows(
    shape: tuple[int, int], regions: Regions, chosen: NDArray[np.intp], margin: int, block: int
) -> Iterator[tuple[Window, list[int]]]:
    """Yield windows and their regions: each block with those inside it, a rectangle for each other one."""
    start = (regions.boxes[chosen, :2] - margin).clip(0) // block
    last = ((regions.boxes[chosen, 2:] + margin).clip(max=shape) - 1) // block
    across = -(-shape[1] // block)
    home = np.where((start == last).all(axis=1), start[:, 0] * across + start[:, 1], -1)
    for index, pairs in groupby(sorted(zip(home.tolist(), chosen.tolist(), strict=True)), itemgetter(0)):
        numbers = [number for _, number in pairs]
        if index < 0:
            for number in numbers:
                yield regions.window(number, margin).clip(shape), [number]
        else:
            row, col = divmod(index, across)
            yield Window.of(row * block, col * block, block, block).clip(shape), numbers


def _renumber(
    drawn: Path, numbered: Path, numbers: int, gone: NDArray[np.intp], block: int
) -> NDArray[np.intp]:
    """Copy a raster, and number its objects in the scan order of their first pixels.

    Parameters
    ----------
    drawn, numbered
        The raster, and the file to make.
    numbers
        One more than the largest number in it.
    gone
        Numbers that become 0.
    block
        Side of the blocks in which it is read.

    Returns
    -------
    The old number of each new one; 0 stays 0.
    """
    with rasterio.open(drawn) as source, rasterio.open(numbered, "w", **_profile(source)) as target:
        nowhere = source.height * source.width
        first = np.full(numbers, nowhere, np.int64)
        for window in windows_of(source.shape, block):
            _region_kernels.note_first(
                _read(source, window), first, window.rows.start, window.cols.start, source.width
            )
        first[gone] = nowhere
        first[0] = -1
        old = np.argsort(first)[: (first < nowhere).sum()]
        new = np.zeros(numbers, np.uint32)
        new[old] = np.arange(len(old))
        for window in windows_of(source.shape, block):
            values = new[_read(source, window)]
            if values.any():
                _write(target, window, values)
    return old
