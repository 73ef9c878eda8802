"""A class map and its polygons, walked together in strips.

Of the polygons only those that reach into a strip are in memory.
"""

from dataclasses import dataclass, field

import numpy as np
import rasterio
import shapely
from numpy.typing import NDArray
from rasterio.enums import MergeAlg
from rasterio.features import rasterize
from rasterio.transform import Affine
from rasterio.windows import Window
from scipy.ndimage import maximum_filter

from geoseg.core.legend import NODATA
from geoseg.core.run_files import RunFile
from geoseg.raster.area import pixel_area_m2
from geoseg.runs.validate.edges import Edges
from geoseg.runs.validate.files import FinishedFolder
from geoseg.runs.validate.layers import Box, Placed
from geoseg.runs.validate.rasters import row_spans


@dataclass
class Tally:
    """What the strips add up to."""

    polygons: int = 0
    parts: NDArray[np.int64] = field(default_factory=lambda: np.zeros(256, np.int64))
    """Polygons of each class, those of a multipolygon one by one."""
    invalid: list[str] = field(default_factory=list)
    area: float = 0.0
    """Planar area of all polygons, in pixels."""
    overlaps: int = 0
    gaps: int = 0
    beyond: int = 0
    """Pixels of nodata under a polygon."""
    others: int = 0
    """Pixels under a polygon of another class."""
    open_edges: int = 0
    """Edges without a partner that are no part of the outline."""
    torn: int = 0
    """Covered pixels beside uncovered ones of their class."""
    mapped: NDArray[np.int64] = field(default_factory=lambda: np.zeros(256, np.int64))
    burnt: NDArray[np.int64] = field(default_factory=lambda: np.zeros(256, np.int64))
    burnt_m2: NDArray[np.float64] = field(default_factory=lambda: np.zeros(256))
    bare: NDArray[np.int64] = field(default_factory=lambda: np.zeros(256, np.int64))
    """Uncovered pixels of classes that have polygons."""
    bare_confidence: NDArray[np.float64] = field(default_factory=lambda: np.zeros(256))
    """Sum of their confidence."""


def walk(run: FinishedFolder, placed: Placed, edges: Edges | None) -> Tally:
    """Add up what polygons and map say, strip by strip.

    Parameters
    ----------
    run
        The run.
    placed
        Its polygons.
    edges
        What no neighbour shares, in the CRS of the map.
    """
    tally, box, reach = Tally(), run.geobox, run.reach
    transform, areas = Affine(*box.transform[:6]), pixel_area_m2(box)
    if areas is None:
        areas = np.full(box.shape.y, abs(transform.a * transform.e))
    lonely = np.empty((0, 2)) if edges is None else _pixels_of(edges.middles, transform, box.shape)
    above: NDArray[np.int64] | None = None
    around_rows = max(reach, 1)
    for start, stop in row_spans(box.shape):
        first, last = max(start - around_rows, 0), min(stop + around_rows, box.shape.y)
        own = slice(start - first, stop - first)
        with rasterio.open(run.folder / RunFile.CLASSES) as src:
            around = src.read(1, window=Window(0, first, src.width, last - first))
        classes, valid = around[own], around != NODATA
        wanted = valid & ~np.isin(around, list(run.recipe.rules.leave_out))
        here = transform @ Affine.translation(0, start)
        geometry, ids = placed.polygons(_bounds(here, classes.shape))
        _count_polygons(tally, geometry, ids, here, (start, stop, box.shape.y))
        if not run.moved:
            # A region may reach through the whole map. Its edges along pixels are cut without rounding;
            # simplified ones, which are short, are left whole.
            geometry = shapely.clip_by_rect(geometry, *_bounds(here, classes.shape))
        burnt = _burn(geometry, ids, here, classes.shape)
        times, values = burnt >> 8, (burnt & 255).astype(np.uint8)
        inside, loose = valid[own], near_other(valid, reach)[own]
        tally.overlaps += int((times > 1).sum())
        tally.beyond += int((~inside & (times > 0) & ~loose).sum())
        bare = wanted[own] & (times == 0)
        if run.gaps_are_known:
            tally.gaps += int((bare & ~near_other(wanted, reach)[own]).sum())
        other = (times == 1) & inside & (values != classes)
        if run.boundary is not None:
            other &= classes != run.boundary
        tally.others += int(other.sum())
        tally.mapped += np.bincount(classes[inside], minlength=256)
        tally.bare += np.bincount(classes[bare], minlength=256)
        if RunFile.CONFIDENCE in run.outputs:
            with rasterio.open(run.folder / RunFile.CONFIDENCE) as src:
                share = src.read(1, window=Window(0, start, src.width, stop - start))
            tally.bare_confidence += np.bincount(classes[bare], weights=share[bare], minlength=256)
        state = np.where(wanted[own], classes.astype(np.int64) * 2 + (times > 0), -1)
        tally.torn += _torn(state, above)
        above = state[-1]
        mine = lonely[(lonely[:, 0] >= start) & (lonely[:, 0] < stop)].astype(np.int64)
        # Where a line may lie alone: along nodata and classes left out, and along the frame.
        outline = near_other(wanted, around_rows, frame=True)
        tally.open_edges += int((~outline[mine[:, 0] - first, mine[:, 1]]).sum())
        once = np.where(times == 1, values, np.uint8(NODATA))
        lines = np.stack([np.bincount(line, minlength=256) for line in once])
        tally.burnt += lines.sum(axis=0)
        tally.burnt_m2 += areas[start:stop] @ lines
    return tally


def near_other(mask: NDArray[np.bool_], reach: int, *, frame: bool = False) -> NDArray[np.bool_]:
    """Return which pixels lie within `reach` pixels of one where a mask differs, or of its frame as well."""
    if reach == 0:
        return np.zeros(mask.shape, dtype=np.bool_)
    size = 2 * reach + 1
    beside_false = maximum_filter(~mask, size, mode="constant", cval=int(frame))
    beside_true = maximum_filter(mask, size, mode="constant", cval=0)
    near: NDArray[np.bool_] = np.where(mask, beside_false, beside_true)
    return near


def _torn(state: NDArray[np.int64], above: NDArray[np.int64] | None) -> int:
    """Count the pairs of neighbours of one class of which one alone is covered."""
    pairs = [(state[1:], state[:-1]), (state[:, 1:], state[:, :-1])]
    if above is not None:
        pairs.append((state[0], above))
    return sum(int(((a != b) & (a >= 0) & (b >= 0) & (a >> 1 == b >> 1)).sum()) for a, b in pairs)


def _pixels_of(xy: NDArray[np.float64], transform: Affine, shape: tuple[int, int]) -> NDArray[np.float64]:
    """Return the (row, column) in which points lie, those of the frame in its last pixel."""
    col, row = ~transform @ (xy[:, 0], xy[:, 1])
    return np.stack([np.floor(row).clip(0, shape[0] - 1), np.floor(col).clip(0, shape[1] - 1)], axis=1)


def _bounds(transform: Affine, shape: tuple[int, int]) -> Box:
    """Return the extent of a grid: left, lower, right, upper."""
    left, upper = transform @ (0, 0)
    right, lower = transform @ (shape[1], shape[0])
    return left, min(lower, upper), right, max(lower, upper)


def _count_polygons(
    tally: Tally,
    geometry: NDArray[np.object_],
    ids: NDArray[np.int64],
    transform: Affine,
    rows: tuple[int, int, int],
) -> None:
    """Look at each polygon once: in the strip where it begins."""
    start, stop, height = rows
    if not len(geometry):
        return
    upper = shapely.bounds(geometry)[:, 3]
    # What comes back from another CRS may lie a little above its line.
    row = np.floor((upper - transform.f) / transform.e + 1e-3).astype(np.int64) + start
    chosen = (row.clip(0, height - 1) >= start) & (row.clip(0, height - 1) < stop)
    mine = geometry[chosen]
    tally.polygons += len(mine)
    tally.parts += np.bincount(
        ids[chosen] & 255, weights=shapely.get_num_geometries(mine), minlength=256
    ).astype(np.int64)
    tally.area += float(shapely.area(mine).sum()) / abs(transform.a * transform.e)
    good = shapely.is_valid(mine) & ~shapely.is_empty(mine) & (shapely.get_dimensions(mine) == 2)
    tally.invalid += list(shapely.is_valid_reason(mine[~good]))


def _burn(
    geometry: NDArray[np.object_], ids: NDArray[np.int64], transform: Affine, shape: tuple[int, int]
) -> NDArray[np.int32]:
    """Return 256 for each polygon over a pixel's centre, plus the sum of their classes."""
    solid = shapely.area(geometry) > 0
    if not solid.any():
        return np.zeros(shape, dtype=np.int32)
    shapes = zip(geometry[solid], (256 + ids[solid]).tolist(), strict=True)
    burnt: NDArray[np.int32] = rasterize(
        shapes, shape, fill=0, transform=transform, merge_alg=MergeAlg.add, dtype="int32"
    )
    return burnt
