"""Compare a class map and its polygons in strips of rows.

Only the polygons that intersect a strip are in memory.
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
from geoseg.runs.validate.finished_folder import FinishedFolder
from geoseg.runs.validate.polygon_file import Box, ProjectedLayer
from geoseg.runs.validate.reading import row_spans


@dataclass
class Tally:
    """Counts over all strips; arrays are indexed by class id."""

    polygons: int = 0
    parts: NDArray[np.int64] = field(default_factory=lambda: np.zeros(256, np.int64))
    """Polygons of each class, counting each part of a multipolygon."""
    invalid: list[str] = field(default_factory=list)
    """Reasons why polygons are not valid."""
    area: float = 0.0
    """Planar area of all polygons, in pixels."""
    overlaps: int = 0
    """Pixels under several polygons."""
    gaps: int = 0
    """Pixels that lack a polygon."""
    on_nodata: int = 0
    """Pixels of nodata under a polygon."""
    mismatched: int = 0
    """Pixels under a polygon of another class."""
    open_edges: int = 0
    """Unshared edges that do not belong to the outline."""
    partly_covered: int = 0
    """Pairs of adjacent pixels of one class of which only one is covered."""
    mapped: NDArray[np.int64] = field(default_factory=lambda: np.zeros(256, np.int64))
    """Pixels of each class in the map."""
    burnt: NDArray[np.int64] = field(default_factory=lambda: np.zeros(256, np.int64))
    """Pixels of each class in the rasterised polygons."""
    burnt_m2: NDArray[np.float64] = field(default_factory=lambda: np.zeros(256))
    """Their area in square metres."""
    uncovered: NDArray[np.int64] = field(default_factory=lambda: np.zeros(256, np.int64))
    """Uncovered pixels of classes that have polygons."""
    uncovered_confidence: NDArray[np.float64] = field(default_factory=lambda: np.zeros(256))
    """Sum of the confidence of these pixels, each 0 to 1."""


@dataclass(frozen=True)
class _Strip:
    """Rows of the class map from `start` to `stop`, read with some rows around them."""

    start: int
    stop: int
    first: int
    """First row that was read."""
    around: NDArray[np.uint8]
    """Class ids of all rows that were read."""
    expected: NDArray[np.bool_]
    """Pixels of these rows that polygons should cover."""

    @property
    def own(self) -> slice:
        """The rows of the strip among those that were read."""
        return slice(self.start - self.first, self.stop - self.first)

    @property
    def classes(self) -> NDArray[np.uint8]:
        """Class ids of the strip."""
        return self.around[self.own]


def tally_strips(run: FinishedFolder, projected: ProjectedLayer, edges: Edges | None) -> Tally:
    """Count polygons and pixels, strip by strip.

    Parameters
    ----------
    run
        The run.
    projected
        Its polygons.
    edges
        The unshared edges of the polygons, in the CRS of the map; None when there are too many to check.
    """
    tally, box = Tally(), run.geobox
    transform, areas = Affine(*box.transform[:6]), pixel_area_m2(box)
    if areas is None:
        areas = np.full(box.shape.y, abs(transform.a * transform.e))
    unshared = np.empty((0, 2)) if edges is None else _pixels_of(edges.middles, transform, box.shape)
    above: NDArray[np.int64] | None = None
    for start, stop in row_spans(box.shape):
        strip = _read_strip(run, start, stop)
        here = transform @ Affine.translation(0, start)
        geometry, ids = projected.polygons(bounds_of(here, strip.classes.shape))
        _count_polygons(tally, geometry, ids, here, (start, stop, box.shape.y))
        if not run.edges_moved:
            # A region may span the whole map. Its edges follow pixels and are clipped without rounding.
            # Simplified polygons, which have fewer vertices, stay whole.
            geometry = shapely.clip_by_rect(geometry, *bounds_of(here, strip.classes.shape))
        burnt = burn(geometry, ids, here, strip.classes.shape)
        times, values = burnt >> 8, (burnt & 255).astype(np.uint8)
        _count_pixels(tally, run, strip, times, values)
        _count_open_edges(tally, run, strip, unshared)
        state = np.where(strip.expected[strip.own], strip.classes.astype(np.int64) * 2 + (times > 0), -1)
        tally.partly_covered += _count_partly_covered(state, above)
        above = state[-1]
        once = np.where(times == 1, values, np.uint8(NODATA))
        lines = np.stack([np.bincount(line, minlength=256) for line in once])
        tally.burnt += lines.sum(axis=0)
        tally.burnt_m2 += areas[start:stop] @ lines
    return tally


def _read_strip(run: FinishedFolder, start: int, stop: int) -> _Strip:
    margin = max(run.reach, 1)
    first, last = max(start - margin, 0), min(stop + margin, run.geobox.shape.y)
    with rasterio.open(run.folder / RunFile.CLASSES) as src:
        around = src.read(1, window=Window(0, first, src.width, last - first))
    expected = (around != NODATA) & ~np.isin(around, list(run.recipe.rules.leave_out))
    return _Strip(start, stop, first, around, expected)


def _count_pixels(
    tally: Tally,
    run: FinishedFolder,
    strip: _Strip,
    times: NDArray[np.int32],
    values: NDArray[np.uint8],
) -> None:
    """Compare the polygons over each pixel, their number `times` and class `values`, with the map."""
    own, classes, valid = strip.own, strip.classes, strip.around != NODATA
    inside, loose = valid[own], near_other(valid, run.reach)[own]
    tally.overlaps += int((times > 1).sum())
    tally.on_nodata += int((~inside & (times > 0) & ~loose).sum())
    bare = strip.expected[own] & (times == 0)
    if run.gaps_are_known:
        tally.gaps += int((bare & ~near_other(strip.expected, run.reach)[own]).sum())
    other = (times == 1) & inside & (values != classes)
    if run.boundary is not None:
        other &= classes != run.boundary
    tally.mismatched += int(other.sum())
    tally.mapped += np.bincount(classes[inside], minlength=256)
    tally.uncovered += np.bincount(classes[bare], minlength=256)
    if RunFile.CONFIDENCE in run.outputs:
        with rasterio.open(run.folder / RunFile.CONFIDENCE) as src:
            share = src.read(1, window=Window(0, strip.start, src.width, strip.stop - strip.start))
        tally.uncovered_confidence += np.bincount(classes[bare], weights=share[bare], minlength=256)


def _count_open_edges(
    tally: Tally, run: FinishedFolder, strip: _Strip, unshared: NDArray[np.float64]
) -> None:
    """Count unshared edges away from the outline: from nodata, classes left out, and the frame of the map."""
    mine = unshared[(unshared[:, 0] >= strip.start) & (unshared[:, 0] < strip.stop)].astype(np.int64)
    outline = near_other(strip.expected, max(run.reach, 1), frame=True)
    tally.open_edges += int((~outline[mine[:, 0] - strip.first, mine[:, 1]]).sum())


def near_other(mask: NDArray[np.bool_], reach: int, *, frame: bool = False) -> NDArray[np.bool_]:
    """Return which pixels lie within `reach` pixels of another mask value, or, with `frame`, of the frame."""
    if reach == 0:
        return np.zeros(mask.shape, dtype=np.bool_)
    size = 2 * reach + 1
    beside_false = maximum_filter(~mask, size, mode="constant", cval=int(frame))
    beside_true = maximum_filter(mask, size, mode="constant", cval=0)
    near: NDArray[np.bool_] = np.where(mask, beside_false, beside_true)
    return near


def _count_partly_covered(state: NDArray[np.int64], above: NDArray[np.int64] | None) -> int:
    """Count the pairs of adjacent pixels of one class of which only one is covered."""
    pairs = [(state[1:], state[:-1]), (state[:, 1:], state[:, :-1])]
    if above is not None:
        pairs.append((state[0], above))
    return sum(int(((a != b) & (a >= 0) & (b >= 0) & (a >> 1 == b >> 1)).sum()) for a, b in pairs)


def _pixels_of(xy: NDArray[np.float64], transform: Affine, shape: tuple[int, int]) -> NDArray[np.float64]:
    """Return the (row, column) of the pixel under each point; points on the frame are in its last pixel."""
    col, row = ~transform @ (xy[:, 0], xy[:, 1])
    return np.stack([np.floor(row).clip(0, shape[0] - 1), np.floor(col).clip(0, shape[1] - 1)], axis=1)


def bounds_of(transform: Affine, shape: tuple[int, int]) -> Box:
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
    """Count and check each polygon once, in the strip with its upper end."""
    start, stop, height = rows
    if not len(geometry):
        return
    upper = shapely.bounds(geometry)[:, 3]
    # Coordinates transformed from another CRS may lie a little above their row.
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


def burn(
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
