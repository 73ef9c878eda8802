"""Areas of interest: the part of a scene that is mapped.

A pixel is inside when its centre is. The area is brought to the CRS of the scene with more vertices, since a
straight edge of one CRS is none in another.
"""

import hashlib
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray
from odc.geo.crs import CRS
from pyproj import Transformer
from pyproj.exceptions import ProjError
from shapely.affinity import translate

from geoseg.config.area import Area
from geoseg.core.errors import ConfigError, OutsideError
from geoseg.core.geometry import Span, Window
from geoseg.scenes.areas import WGS84, GivenArea, polygons_of, read_area
from geoseg.scenes.grid import crs_name
from geoseg.scenes.scene import Scene
from geoseg.tiling.outline import Outline

LOOKED_AT = 512
"""Least pixels along a side of what is looked at before a run: fewer may well be one field or one lake."""

_TOLERANCE = 0.05
"""Pixels by which an edge may leave its course in another CRS."""
_HALVINGS = 16
_MOST_VERTICES = 4_000_000
_DECIMALS = 6
"""Of coordinates in pixels: rounding errors must not move an edge from one side of a centre to the other."""

Place = Callable[[NDArray[np.float64]], NDArray[np.float64]]


@dataclass(frozen=True, eq=False)
class Aoi:
    """The part of one scene that is mapped."""

    source: str
    """What was given, without credentials; of WKT and GeoJSON the begin."""
    geometry: shapely.Polygon | shapely.MultiPolygon
    """The area in the CRS of the scene, as far as the scene reaches."""
    window: Window
    """The pixels of the scene that the map has: the bounds of the area."""
    outline: Outline
    """The area in pixels of the map."""
    sha256: str
    """Hash of the area in pixels of the scene: it decides which pixels are mapped."""

    def looked_at(self, scene: Scene) -> Window:
        """Return what is looked at before a run: the map, or more of the whole scene around a small one."""
        spans = zip((self.window.rows, self.window.cols), scene.whole.shape, strict=True)
        rows, cols = (_widened(span, length) for span, length in spans)
        return Window(rows, cols)


def resolve_aoi(area: Area, scene: Scene) -> Aoi:
    """Return the part of a scene that lies in an area of interest.

    Parameters
    ----------
    area
        A file (`parcels.gpkg`, `parcels.gpkg|layer=NAME`), WKT or GeoJSON in longitude and latitude, or a
        box: west, south, east, north in degrees. Several features are one area.
    scene
        The whole scene.

    Raises
    ------
    ConfigError
        When the area cannot be read, is empty or has no place on the Earth, or the scene has none.
    OutsideError
        When no pixel of the scene has its centre inside.

    Examples
    --------
    >>> aoi = resolve_aoi("16.0,40.6,16.01,40.61", scene)
    >>> part = scene.cut(aoi.window)
    """
    given = read_area(area)
    if scene.geobox.crs is None:
        raise ConfigError(
            f"aoi: {scene.name} has no CRS, so an area has no place in it; give it one with gdal_edit.py "
            "-a_srs EPSG:CODE, or cut it with gdal_translate -srcwin"
        )
    geometry = _placed(given, scene)
    if geometry.is_empty:
        here, there = _extent(given.polygons, given.crs), _extent(_box(scene, 0), scene.geobox.crs)
        raise OutsideError(
            f"{given.source}: lies outside {scene.name}: it covers {here}, the scene {there} (west, south, "
            "east, north)"
        )
    in_pixels = shapely.transform(geometry, lambda xy: _pixels(scene, xy))
    west, north, east, south = shapely.bounds(in_pixels)
    window = Window(_whole(north, south), _whole(west, east)).clip(scene.shape)
    corner = window.cols.start, window.rows.start
    rings = shapely.get_rings(shapely.get_parts(in_pixels))
    outline = Outline.of(shapely.get_coordinates(ring) - corner for ring in rings)
    if not window or not outline.count(window.shape):
        raise OutsideError(
            f"{given.source}: no pixel of {scene.name} has its centre inside; the area is smaller than a "
            "pixel, or only touches the scene"
        )
    known = shapely.to_wkb(shapely.normalize(in_pixels), byte_order=1)
    return Aoi(given.source, geometry, window, outline, hashlib.sha256(known).hexdigest())


def _widened(span: Span, length: int) -> Span:
    more = max(0, LOOKED_AT - len(span))
    start = max(0, min(span.start - more // 2, length - LOOKED_AT, span.start))
    return Span(start, max(span.stop, min(length, start + LOOKED_AT)))


def _whole(first: float, last: float) -> Span:
    """Return the pixels whose centres lie between two places."""
    return Span(math.floor(first + 0.5), math.floor(last + 0.5))


def _pixels(scene: Scene, xy: NDArray[np.float64]) -> NDArray[np.float64]:
    col, row = ~scene.geobox.transform @ (xy[:, 0], xy[:, 1])
    # Plus 0: a minus zero has other bytes.
    return np.column_stack([np.round(col, _DECIMALS), np.round(row, _DECIMALS)]) + 0.0


def _box(scene: Scene, beyond: int) -> shapely.Polygon:
    """Return the extent of a scene, and some pixels beyond."""
    height, width = scene.shape
    x, y = scene.geobox.transform @ (
        np.array([-beyond, width + beyond], np.float64),
        np.array([-beyond, height + beyond], np.float64),
    )
    box: shapely.Polygon = shapely.box(min(x), min(y), max(x), max(y))
    return box


def _placed(given: GivenArea, scene: Scene) -> Any:
    """Return an area in the CRS of a scene, as far as the scene reaches."""
    target, polygons = scene.geobox.crs, given.polygons
    if given.crs != target:
        place = _way(given, target)
        near = _near(scene, given.crs)
        if near is not None:
            polygons = np.array([_brought(polygons, near, _turn(given.crs))], dtype=object)
        moved = [_moved(g, place, scene) for g in polygons if not g.is_empty]
        polygons = polygons_of(np.array(moved, dtype=object))
    return _brought(polygons, _box(scene, 1), _turn(target))


def _way(given: GivenArea, target: CRS) -> Place:
    """Return the function from the CRS of an area to another one."""
    try:
        transformer = Transformer.from_crs(given.crs.proj, target.proj, always_xy=True)
    except ProjError as error:
        raise ConfigError(
            f"{given.source}: there is no way from {crs_name(given.crs)} to the CRS of the scene, "
            f"{crs_name(target)}; give the area in that one"
        ) from error

    def place(xy: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.stack(transformer.transform(*xy.T), axis=1)

    return place


def _near(scene: Scene, crs: CRS) -> shapely.Polygon | None:
    """Return a box in another CRS around a scene, None when it is not known.

    What lies far away need not be brought to the CRS of the scene, which may not know it.
    """
    bounds = _box(scene, 1).bounds
    try:
        transformer = Transformer.from_crs(scene.geobox.crs.proj, crs.proj, always_xy=True)
        west, south, east, north = transformer.transform_bounds(*bounds, densify_pts=101)
    except ProjError:
        return None
    if west > east:
        east += _turn(crs) or math.nan
    if not np.isfinite([west, south, east, north]).all():
        return None
    # The bounds follow points on the border of the scene, between which it may reach further.
    more = 0.05 * max(east - west, north - south)
    return shapely.box(west - more, south - more, east + more, north + more)


def _turn(crs: CRS) -> float | None:
    """Return once around the Earth in the unit of a geographic CRS; None for others."""
    return 2 * math.pi / float(crs.proj.axis_info[0].unit_conversion_factor) if crs.geographic else None


def _brought(polygons: NDArray[np.object_], box: shapely.Polygon, turn: float | None) -> Any:
    """Return the union of polygons as far as a box reaches; in degrees they may lie turns away from it."""
    found: list[Any] = []
    for turns in (0,) if turn is None else (-2, -1, 0, 1, 2):
        by = turns * (turn or 0.0)
        there = shapely.box(box.bounds[0] - by, box.bounds[1], box.bounds[2] - by, box.bounds[3])
        cut = shapely.intersection(polygons[shapely.intersects(polygons, there)], there)
        found += cut.tolist() if by == 0 else [translate(g, by) for g in cut]
    return shapely.multipolygons(polygons_of(np.array([shapely.union_all(found)], dtype=object)))


def _moved(geometry: Any, place: Place, scene: Scene) -> Any:
    """Return an area in the CRS of a scene, with vertices so dense that its edges keep their course."""
    turn = _turn(scene.geobox.crs)
    xy, ring = shapely.get_coordinates(shapely.get_rings(shapely.get_parts(geometry)), return_index=True)
    along = ring[1:] == ring[:-1]
    step = float(np.hypot(*(xy[1:] - xy[:-1])[along].T).max())
    for _ in range(_HALVINGS):
        fine = shapely.segmentize(geometry, step)
        rings = shapely.get_rings(shapely.get_parts(fine))
        xy, ring = shapely.get_coordinates(rings, return_index=True)
        along = ring[1:] == ring[:-1]
        start, stop = xy[:-1][along], xy[1:][along]
        middle = (place(start) + place(stop)) / 2 - place((start + stop) / 2)
        if turn is not None:
            middle[:, 0] -= turn * np.round(2 * middle[:, 0] / turn) / 2
        off = np.hypot(*(middle / [scene.geobox.resolution.x, scene.geobox.resolution.y]).T)
        if not (off > _TOLERANCE).any() or len(xy) > _MOST_VERTICES:
            break
        step /= 2
    moved = shapely.transform(fine, place)
    if not np.isfinite(shapely.get_coordinates(moved)).all():
        raise ConfigError(
            f"aoi: a part of the area lies beyond what {crs_name(scene.geobox.crs)}, the CRS of "
            f"{scene.name}, can show; make it smaller"
        )
    return moved if turn is None else _unwrapped(moved, turn)


def _unwrapped(geometry: Any, turn: float) -> Any:
    """Return an area in degrees whose rings do not jump at the antimeridian."""

    def ring(line: Any) -> NDArray[np.float64]:
        xy = shapely.get_coordinates(line)
        return np.column_stack([np.unwrap(xy[:, 0], period=turn), xy[:, 1]])

    def polygon(part: Any) -> Any:
        outer, *inner = (ring(line) for line in shapely.get_rings(part))
        middle = outer[:, 0].mean()
        for hole in inner:
            hole[:, 0] += turn * np.round((middle - hole[:, 0].mean()) / turn)
        if abs(outer[0, 0] - outer[-1, 0]) > turn / 2:
            raise ConfigError("aoi: a polygon surrounds a pole, which the degrees of the scene do not show")
        return shapely.Polygon(outer, inner)

    return shapely.multipolygons([polygon(p) for p in shapely.get_parts(geometry)])


def _extent(polygons: Any, crs: CRS) -> str:
    """Return the extent of polygons in longitude and latitude, for a message."""
    bounds: tuple[float, ...] = tuple(map(float, shapely.total_bounds(polygons)))
    if crs != WGS84:
        try:
            there = Transformer.from_crs(crs.proj, WGS84.proj, always_xy=True)
            west, south, east, north = bounds
            bounds = there.transform_bounds(west, south, east, north, densify_pts=21)
        except ProjError:
            return f"{', '.join(f'{v:.7g}' for v in bounds)} in {crs_name(crs)}"
    return ", ".join(f"{v:.5f}".rstrip("0").rstrip(".") for v in bounds)
