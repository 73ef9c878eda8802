"""The maps of a network that finds objects: the detections of all blocks, merged, painted and traced."""

import functools
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from affine import Affine
from numpy.typing import NDArray

from geoseg.core.detections import SCORES
from geoseg.core.errors import OutputError
from geoseg.core.files import as_output_error
from geoseg.core.geometry import Span, Window, windows_of
from geoseg.core.legend import NO_OBJECT, NODATA
from geoseg.inference.plan import Plan
from geoseg.raster.staging import Staging
from geoseg.scenes.windows import to_rasterio
from geoseg.storage.store import FolderStore
from geoseg.tiling.blocks import Block, BlockAxis
from geoseg.vector.objects.collected import collected
from geoseg.vector.objects.merge import Merger
from geoseg.vector.objects.paint import SIDE, Canvas, Found, Valid, number, numbers_of, painted_windows
from geoseg.vector.objects.reported import cropped
from geoseg.vector.objects.rule import MergedObject, Place, Rule, detections
from geoseg.vector.objects.staged import DAMAGED, decode, decode_valid

_KEPT = 32
"""Blocks whose nodata is in memory: a window meets some neighbours."""


@dataclass(frozen=True)
class Painted:
    """The merged objects of a map, and the rasters that they were painted into."""

    found: Found
    numbers: Path
    """Number of the object at each pixel, a tiled GeoTIFF."""
    blocks: Staging
    """Class and per cent of the object at each pixel, as staged blocks of a class map."""
    cores: list[Block]
    """These blocks."""
    pixels: dict[int, int]
    """Pixels by class id."""
    looked_at: int
    """Valid pixels, those that no object has included."""


@contextmanager
def painted(plan: Plan, staging: Staging, nodata: list[int]) -> Iterator[Painted]:
    """Merge what all tiles of a run report and paint it; the files are temporary.

    Parameters
    ----------
    plan
        The plan; all its blocks are finished.
    staging
        The local folder of the blocks.
    nodata
        Pixels of nodata of each block, which tell whether there is any.

    Raises
    ------
    OutputError
        When a block is damaged, or a file cannot be written.
    """
    folder = staging.folder
    shape = plan.scene.shape
    valid = _valid(plan, staging) if plan.aoi is not None or any(nodata) else _all_valid
    cells = folder / "painted"
    shutil.rmtree(cells, ignore_errors=True)  # of a run that was killed
    try:
        with collected(_merged(plan, staging, valid), folder / "objects.bits") as objects:
            canvas = Canvas(objects)
            found = Found(objects, number(objects, canvas, shape, valid))
            yield _paint(found, canvas, staging, cells, shape, _looked_at(plan, valid, nodata))
    finally:
        shutil.rmtree(cells, ignore_errors=True)
        (folder / _NUMBERS).unlink(missing_ok=True)


_NUMBERS = "objects.tif"


def _merged(plan: Plan, staging: Staging, valid: Valid) -> Iterator[MergedObject]:
    """Yield the objects of all blocks; pixels outside of an area of interest are taken off."""
    choice = plan.blocks.choice
    rule = Rule(match=round(plan.pipeline.objects.match * SCORES))
    merger = Merger(plan.grid, rule, None if choice is None else choice.tiles)
    for block in plan.blocks:
        with _as_damaged(staging, block):
            found = detections(decode(_bytes(staging, block)))
        for one in merger.add(_places(plan, block), found):
            if valid is _all_valid:
                yield one
            elif (rest := _clipped(one, valid, plan.scene.shape)) is not None:
                yield rest


def _places(plan: Plan, block: Block) -> Iterator[Place]:
    """Yield row and column of the tiles of a block."""
    rows, cols = plan.grid.rows, plan.grid.cols
    for tile in block.tiles:
        yield rows.index(tile.rows.start), cols.index(tile.cols.start)


def _clipped(one: MergedObject, valid: Valid, shape: tuple[int, int]) -> MergedObject | None:
    top, left, bottom, right = one.box
    around = Window(Span(top, bottom), Span(left, right))
    inside = around.clip(shape)
    if not inside:
        return None
    seen = one.mask[inside.relative_to(around)] & valid(inside)
    rest = cropped(seen, inside.rows.start, inside.cols.start)
    if rest is None:
        return None
    mask, box = rest
    beyond = int(np.count_nonzero(one.mask) - np.count_nonzero(mask))
    return replace(one, box=box, mask=mask, beyond=beyond)


def _all_valid(window: Window) -> NDArray[np.bool_]:
    return np.ones(window.shape, np.bool_)


def _valid(plan: Plan, staging: Staging) -> Valid:
    """Return what tells the valid pixels of a window that lie in the area of interest."""
    blocks, outline = plan.blocks, None if plan.aoi is None else plan.aoi.outline

    @functools.lru_cache(_KEPT)
    def of_block(row: int, col: int) -> NDArray[np.bool_] | None:
        block = blocks.block(row, col)
        with _as_damaged(staging, block):
            return decode_valid(_bytes(staging, block), block.core.shape)

    def valid(window: Window) -> NDArray[np.bool_]:
        found = np.zeros(window.shape, np.bool_)
        for row in _meeting(blocks.rows, window.rows):
            for col in _meeting(blocks.cols, window.cols):
                core = Window(blocks.rows.core(row), blocks.cols.core(col))
                part = core.intersect(window)
                if part and blocks.is_mapped(row, col):
                    its = of_block(row, col)
                    found[part.relative_to(window)] = True if its is None else its[part.relative_to(core)]
        return found if outline is None else found & outline.near(window).inside(window)

    return valid


def _meeting(axis: BlockAxis, span: Span) -> Iterator[int]:
    """Yield the blocks along an axis whose cores meet a span."""
    stride = axis.size * axis.tiles.stride
    first = (span.start - axis.core(0).start) // stride - 1
    last = (span.stop - axis.core(0).start) // stride + 1
    for i in range(max(0, first), min(axis.count, last + 1)):
        if axis.core(i).intersect(span):
            yield i


def _bytes(staging: Staging, block: Block) -> bytes:
    place = Path(staging.path(block))
    with as_output_error(place, "read"):
        return place.read_bytes()


@contextmanager
def _as_damaged(staging: Staging, block: Block) -> Iterator[None]:
    try:
        yield
    except DAMAGED as error:
        raise OutputError(
            f"{staging.path(block)}: is damaged; run the same command again, finished blocks are kept"
        ) from error


def _paint(
    found: Found, canvas: Canvas, staging: Staging, cells: Path, shape: tuple[int, int], looked_at: int
) -> Painted:
    """Paint numbers into a raster, and classes and scores into blocks of a class map."""
    numbered, path = found.numbered, staging.folder / _NUMBERS
    numbers = numbers_of(numbered, len(found.objects))
    FolderStore(cells).create()
    blocks = replace(staging, store=FolderStore(cells), suffix=".tif", bands=("class", "confidence [%]"))
    profile: dict[str, Any] = {
        "driver": "GTiff", "height": shape[0], "width": shape[1], "count": 1, "dtype": "uint32",
        "crs": staging.crs, "transform": Affine(*staging.transform), "nodata": NO_OBJECT, "tiled": True,
        "blockxsize": 256, "blockysize": 256, "compress": "deflate", "zlevel": 1, "bigtiff": "if_safer",
        "sparse_ok": True,
    }  # fmt: skip
    cores, pixels = list[Block](), np.zeros(256, np.int64)
    percent = numbered.percent
    with as_output_error(path), rasterio.open(path, "w", **profile) as target:
        for window, drawn in painted_windows(canvas, numbers, shape):
            if drawn.any():
                target.write(drawn, 1, window=to_rasterio(window))
            planes = np.stack([numbered.classes[drawn], percent[drawn]])
            pixels += np.bincount(planes[0].reshape(-1), minlength=256)
            place = window.rows.start // SIDE, window.cols.start // SIDE
            block = Block(*place, (), window, window, window, 0, 0)
            blocks.write(block, planes, {})
            cores.append(block)
    pixels[NODATA] = 0
    by_class = {int(i): int(pixels[i]) for i in np.flatnonzero(pixels)}
    return Painted(found, path, blocks, cores, by_class, looked_at)


def _looked_at(plan: Plan, valid: Valid, nodata: list[int]) -> int:
    """Return the valid pixels of the map."""
    height, width = plan.scene.shape
    if plan.aoi is None:
        return height * width - sum(nodata)
    return sum(int(np.count_nonzero(valid(w))) for w in windows_of((height, width), SIDE))
