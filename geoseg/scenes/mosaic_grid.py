"""The grid of a mosaic: one CRS and pixel size over all of its members."""

import math
from collections.abc import Sequence

import numpy as np
from affine import Affine
from odc.geo.crs import CRS
from odc.geo.geobox import GeoBox
from pyproj.exceptions import CRSError

from geoseg.core.errors import SceneError
from geoseg.core.geometry import Span
from geoseg.scenes import grid
from geoseg.scenes.placement import Bounds, bounds_on, pixels_in, project
from geoseg.scenes.scene import Scene
from geoseg.scenes.sources import LONGEST_SIDE, MOST_PIXELS

_FACTOR = 2
"""By how much the ground sample distances of members may differ."""

_HALF = 0.5 + 1e-6

_SLACK = 1.02
"""That of one product differs by its place in the projection."""


def common_grid(name: str, scenes: Sequence[Scene], crs: str = "auto", gsd: float | None = None) -> GeoBox:
    """Return the grid of a mosaic: that of its finest member in the CRS, extended to the union of all.

    Parameters
    ----------
    name
        Name of the mosaic, for messages.
    scenes
        The members, each on a grid of its own.
    crs
        CRS of the mosaic; `auto`: that of the most area.
    gsd
        Ground sample distance in metres; None: that of the finest member.

    Raises
    ------
    SceneError
        When a member has no CRS or a ground sample distance unlike that of the first one, the CRS cannot show
        a member, or the grid has too many pixels.
    """
    sizes = _sizes(name, scenes)
    target = _crs_of_most(scenes, sizes) if crs == "auto" else _crs_of(name, crs)
    anchor = _anchor(name, [s for s in scenes if s.geobox.crs == target], scenes, target, gsd)
    found = []
    for scene in scenes:
        try:
            found.append(bounds_on(scene.geobox, anchor))
        except SceneError as error:
            raise SceneError(f"{name}: {scene.name}: {error}") from None
    rows, cols = _union(found, tuple(anchor.shape))
    height, width = len(rows), len(cols)
    if height * width > MOST_PIXELS or max(height, width) > LONGEST_SIDE:
        raise SceneError(f"{name}: its members cover {width} x {height} px together, more than any map has")
    if (rows, cols) == (Span(0, anchor.shape.y), Span(0, anchor.shape.x)):
        return anchor
    whole = GeoBox((height, width), anchor.transform @ Affine.translation(cols.start, rows.start), target)
    grid.check_place(scenes[0].sources[0].path, whole)
    return whole


def _union(found: Sequence[Bounds], anchor: tuple[int, int]) -> tuple[Span, Span]:
    """Return rows and columns of all pixels whose centres lie on a member."""
    lefts, tops, rights, bottoms = zip(*found, strict=True)
    window = pixels_in((min(lefts), min(tops), max(rights), max(bottoms)))
    rows, cols = window.rows, window.cols
    # A coarser grid over one member may end half a pixel beyond it, or before it.
    below, right = (
        length if abs(end - length) <= _HALF else span.stop
        for length, end, span in zip(anchor, (max(bottoms), max(rights)), (rows, cols), strict=True)
    )
    return Span(rows.start, below), Span(cols.start, right)


def _sizes(name: str, scenes: Sequence[Scene]) -> list[float]:
    """Return the ground sample distance of each member in metres; a unit where it is not known."""
    for scene in scenes:
        if scene.geobox.crs is None:
            raise SceneError(
                f"{name}: {scene.name}: has no CRS, so its place in the mosaic is unknown; give it one: "
                "gdal_edit.py -a_srs EPSG:CODE"
            )
    sizes, first = [scene.gsd_m or 1.0 for scene in scenes], scenes[0]
    other = sizes[0]
    for scene, one in zip(scenes, sizes, strict=True):
        if max(one, other) > _FACTOR * _SLACK * min(one, other):
            raise SceneError(
                f"{name}: {scene.name}: its GSD of {one:.3g} m is more than {_FACTOR} times another than the "
                f"{other:.3g} m of {first.name}; make two mosaics, or resample it with gdalwarp -tr"
            )
    return sizes


def _crs_of(name: str, crs: str) -> CRS:
    try:
        found = CRS(crs)
    except CRSError:
        raise SceneError(f"{name}: crs: {crs} is not known to PROJ") from None
    if not (found.geographic or found.projected):
        raise SceneError(
            f"{name}: crs: {crs} is neither geographic nor projected, so it has no grid of pixels"
        )
    return found


def _crs_of_most(scenes: Sequence[Scene], sizes: Sequence[float]) -> CRS:
    """Return the CRS of most of the area, that of the first member where it is equal."""
    areas: list[tuple[CRS, float]] = []
    for scene, size in zip(scenes, sizes, strict=True):
        area = scene.shape[0] * scene.shape[1] * size**2
        place = next((i for i, (crs, _) in enumerate(areas) if crs == scene.geobox.crs), None)
        if place is None:
            areas.append((scene.geobox.crs, area))
        else:
            areas[place] = areas[place][0], areas[place][1] + area
    return max(areas, key=lambda found: round(found[1]))[0]


def _anchor(
    name: str, inside: Sequence[Scene], scenes: Sequence[Scene], target: CRS, gsd: float | None
) -> GeoBox:
    """Return a grid in the CRS of the mosaic whose pixels are those of the mosaic."""
    if inside:
        finest = min(inside, key=lambda s: round(abs(s.geobox.resolution.x), 9))
        return finest.geobox if gsd is None else grid.common_grid([b.source for b in finest.bands], gsd)
    finest = min(scenes, key=lambda s: s.gsd_m or math.inf)
    height, width = finest.shape
    middle = finest.geobox.transform @ (np.array([width / 2]), np.array([height / 2]))
    try:
        x, y = (float(v[0]) for v in project(finest.geobox.crs, target, *middle))
    except SceneError as error:
        raise SceneError(f"{name}: {finest.name}: {error}") from None
    if not math.isfinite(x + y):
        raise SceneError(f"{name}: {finest.name}: lies beyond what {grid.crs_name(target)} can show")
    unit = 1e-5 if target.geographic else 1.0
    ground = grid.gsd_m(GeoBox((1, 1), Affine(unit, 0, x, 0, -unit, y), target)) or 1.0
    wanted = gsd or finest.gsd_m or 1.0
    side = unit * wanted / ground
    metres = 0.0 if target.geographic else wanted / grid.metres_in_unit(target)
    if metres and math.isclose(side, metres, rel_tol=1e-3):
        side = metres  # as the products in this CRS have it
    left, top = math.floor(x / side) * side, math.ceil(y / side) * side
    return GeoBox((1, 1), Affine(side, 0, left, 0, -side, top), target)
