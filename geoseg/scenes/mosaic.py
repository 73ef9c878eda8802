"""A mosaic: a scene that is made of other scenes, its members, window by window.

It is no virtual raster of GDAL, because scale, offset, nodata and masks differ by member: those of Sentinel-2
change with the baseline of the processing.
"""

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from affine import Affine
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox

from geoseg.config.scene import SceneEntry
from geoseg.core.errors import SceneError, listed
from geoseg.core.geometry import Span, Window
from geoseg.core.secrets import redact
from geoseg.scenes import grid
from geoseg.scenes.bands import SceneBand
from geoseg.scenes.class_masks import ClassMap, ClassMask
from geoseg.scenes.members import MemberEntry, members
from geoseg.scenes.mosaic_grid import common_grid
from geoseg.scenes.opening import open_scene
from geoseg.scenes.pixels import Pixels
from geoseg.scenes.placement import Member, place
from geoseg.scenes.remote import is_remote
from geoseg.scenes.scene import Scene, part_at
from geoseg.scenes.sources import SourceFile, with_absolute_path

_AT_ONCE = 16
"""Members on servers whose headers are read at the same time."""

_WARPED = 3
"""Pixels that are read at most for a pixel of another CRS, about: it may be turned, and finer."""


@dataclass(frozen=True)
class MosaicBand(SceneBand):
    """A band of a mosaic: its source is that of the first member."""

    numbers: str = "float32"
    """Data type of the numbers of the mosaic."""

    @property
    def dtype(self) -> np.dtype[Any]:
        """Data type of its numbers."""
        return np.dtype(self.numbers)


@dataclass(frozen=True, repr=False)
class Mosaic(Scene):
    """A scene whose pixels are those of the first member that is valid there."""

    placed: tuple[Member, ...] = ()
    """The members, the first one first."""
    as_stored: bool = True
    """Whether numbers are those of the members; otherwise they are physical values in single precision."""

    method = "first"
    """As in a document."""

    @property
    def members(self) -> tuple[Scene, ...]:
        """The scenes that it is made of, in order."""
        return tuple(m.scene for m in self.placed)

    @property
    def sources(self) -> tuple[SourceFile, ...]:
        """The files of all members."""
        return tuple(dict.fromkeys(source for member in self.members for source in member.sources))

    @property
    def level(self) -> str | None:
        """Return whether its numbers are reflectance of the atmosphere's top (`toa`) or of the `surface`."""
        return next((m.level for m in self.members if m.level is not None), None)

    @property
    def period(self) -> tuple[datetime, datetime] | None:
        """First and last time of acquisition; None when that of a member is not known."""
        times = [m.acquired for m in self.members]
        known = [t for t in times if t is not None]
        return super().period or ((min(known), max(known)) if known and len(known) == len(times) else None)

    def reading_bytes(self, pixels: int) -> int:
        """Return the memory for reading a window of so many pixels, beside that of its numbers."""
        number = max((m.scene.dtype.itemsize for m in self.placed), default=0)
        # Read in another CRS and interpolated, or read; then scaled, and NaN put where it is invalid.
        times = 1 + _WARPED if any(m.warp for m in self.placed) else 1
        one = times * (len(self.bands) * number + 1) + 4
        return pixels * (one if self.as_stored else one + 3 * 4 * len(self.bands))

    def pick(self, indexes: Sequence[int]) -> Scene:
        """Return the mosaic with some of its bands, by their place among all, from 0."""
        placed = tuple(replace(m, scene=m.scene.pick(indexes)) for m in self.placed)
        haze = tuple(self.haze[i] for i in indexes) if self.haze else ()
        return replace(self, bands=tuple(self.bands[i] for i in indexes), haze=haze, placed=placed)

    def near(self, window: Window) -> Scene:
        """Return the mosaic with the members of a window alone."""
        # Entries say what members were opened by, and may be long.
        found = self._meeting(self._inside(self.in_whole(window)))
        placed = tuple(replace(m, scene=replace(m.scene, entry=None)) for m in found)
        return replace(self, placed=placed, entry=None)

    def with_class_masks(self, masks: Mapping[int, Sequence[ClassMask]]) -> Scene:
        """Return the mosaic with members masked by other networks, by their place."""
        placed = (
            replace(m, scene=m.scene.with_class_masks({0: masks.get(i, ())}))
            for i, m in enumerate(self.placed)
        )
        return replace(self, placed=tuple(placed))

    def with_class_maps(self, maps: Mapping[str, ClassMap]) -> Scene:
        """Return the mosaic with the maps of the class masks of its members, by key."""
        placed = (replace(m, scene=m.scene.with_class_maps(maps)) for m in self.placed)
        return replace(self, placed=tuple(placed))

    def member_windows(self, window: Window) -> list[tuple[int, Window]]:
        """Return what `read` reads for a window: places among `members`, each with a window of that scene."""
        inside = self._inside(self.in_whole(window))
        met = ((i, self.placed[i]) for i in self._places(inside))
        parts = ((i, member.part(member.window.intersect(inside))) for i, member in met)
        return [(i, part) for i, part in parts if part]

    def read_apart(self) -> list[tuple[tuple[int, ...], Scene]]:
        """Return the mosaic itself: which member gives a pixel depends on all bands."""
        return [(tuple(range(len(self.bands))), self)]

    def with_absolute_paths(self) -> Scene:
        """Return the mosaic with absolute paths, for processes with another current folder."""
        bands = tuple(replace(b, source=with_absolute_path(b.source)) for b in self.bands)
        placed = tuple(replace(m, scene=m.scene.with_absolute_paths()) for m in self.placed)
        return replace(self, bands=bands, placed=placed)

    def identity(self) -> dict[str, Any]:
        """Return all facts that determine the pixels of the mosaic, for the fingerprint."""
        own = super().identity()
        wkt, found = own["crs"], [m.identity() for m in self.members]
        return {
            **{key: own[key] for key in ("name", "shape", "transform", "crs", "files", "part") if key in own},
            "method": self.method,
            "bands": [[b.common_name, b.numbers, b.scale, b.offset] for b in self.mosaic_bands],
            "haze": next((m.haze for m in self.members if any(m.haze)), ()),
            # Of hundreds of members, most have the CRS of the mosaic, whose text is long.
            "members": [
                {k: v for k, v in m.items() if k != "files" and not (k == "crs" and v == wkt)} for m in found
            ],
        }

    @property
    def mosaic_bands(self) -> tuple[MosaicBand, ...]:
        """The bands."""
        return tuple(b for b in self.bands if isinstance(b, MosaicBand))

    @cached_property
    def _bounds(self) -> NDArray[np.int64]:
        """First and last row and column of each member, shape (members, 4)."""
        found = [
            (w.rows.start, w.rows.stop, w.cols.start, w.cols.stop) for w in (m.window for m in self.placed)
        ]
        return np.array(found, dtype=np.int64).reshape(-1, 4)

    def _meeting(self, window: Window) -> list[Member]:
        """Return the members that meet a window, in order."""
        return [self.placed[i] for i in self._places(window)]

    def _places(self, window: Window) -> list[int]:
        """Return the places of the members that meet a window, ascending.

        One comparison of arrays: 500 members take some microseconds, and keep their order.
        """
        top, bottom, left, right = self._bounds.T
        rows, cols = window.rows, window.cols
        meets = (top < rows.stop) & (bottom > rows.start) & (left < cols.stop) & (right > cols.start)
        places: list[int] = np.flatnonzero(meets).tolist()
        return places

    def _read_inside(self, window: Window, out: NDArray[Any]) -> NDArray[Any]:
        out[:] = 0
        seen = np.zeros(window.shape, dtype=np.bool_)
        for member in self._meeting(window):
            part = _still_open(seen, window, member.window)
            if not part:
                continue
            pixels = member.read(part)
            here = part.relative_to(window)
            new = pixels.valid & ~seen[here]
            np.copyto(out[:, *here], self._numbers(member.scene, pixels), where=new)
            seen[here] |= new
            if seen.all():
                break
        return seen

    def _numbers(self, scene: Scene, pixels: Pixels) -> NDArray[Any]:
        return pixels.values if self.as_stored else scene.physical(pixels)

    def _reduced(self, longest: int) -> Scene | None:
        step = max(1, -(-max(self.shape) // longest))
        if step == 1:
            return self
        coarser = [m.coarser(step) for m in self.members]
        if all(c.bands == m.bands for c, m in zip(coarser, self.members, strict=True)):
            return None
        # Of a part, on its grid.
        target = self.geobox.zoom_to((-(-self.shape[0] // step), -(-self.shape[1] // step)))
        placed = tuple(m for s in coarser if (m := place(s, target)) is not None)
        return replace(self, geobox=target, placed=placed, part=None)


def _still_open(seen: NDArray[np.bool_], window: Window, member: Window) -> Window:
    """Return the smallest part of a member's window with all pixels of a window that are still to be seen."""
    part = member.intersect(window)
    if not part:
        return part
    unseen = ~seen[part.relative_to(window)]
    rows, cols = (np.flatnonzero(unseen.any(axis=axis)) for axis in (1, 0))
    if not rows.size:
        return Window.of(part.rows.start, part.cols.start, 0, 0)
    return Window(
        Span(part.rows.start + int(rows[0]), part.rows.start + int(rows[-1]) + 1),
        Span(part.cols.start + int(cols[0]), part.cols.start + int(cols[-1]) + 1),
    )


def open_mosaic(
    entry: SceneEntry,
    name: str,
    base: Path,
    bands: Sequence[str] | None = None,
    gsd: float | None = None,
    catalog: Path | str | None = None,
) -> Mosaic:
    """Open a mosaic or a composite; of each member the headers are read once.

    Parameters
    ----------
    entry
        The mosaic.
    name
        Its name, for messages.
    base
        Folder of relative paths.
    bands
        Common names of the bands, in the order wanted; None takes all, which every member must have.
    gsd
        Ground sample distance of the grid in metres; default: the entry's, else that of the finest member.
    catalog
        The catalog with names of members.

    Raises
    ------
    SceneError
        When a member cannot be opened, or is unlike the first one in bands, meaning of its numbers or GSD.
    """
    found = members(entry, name, base, catalog)

    def opened(member: MemberEntry) -> Scene:
        own, called, folder = member
        scene = open_scene(own, called, folder, bands)
        if isinstance(scene, Mosaic):
            raise SceneError(
                f"{name}: {called}: is a mosaic itself, which cannot be a member; list its scenes"
            )
        return scene

    if any(is_remote(uri) for own, _, _ in found for uri in _uris(own)):
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            scenes = list(pool.map(opened, found))
    else:
        scenes = list(map(opened, found))
    scenes = [_like(scenes[0], scene, name) for scene in scenes]
    target = common_grid(name, scenes, entry.crs or "auto", gsd or entry.gsd)
    fitting = [_as_fine_as(target, scene) for scene in scenes]
    times = {scene.acquired for scene in scenes}
    taken = entry.datetime or (times.pop() if len(times) == 1 else None)
    return assemble(name, target, fitting, entry.method or "first", acquired=taken, entry=entry)


def _uris(entry: SceneEntry) -> list[str]:
    return [uri for uri in (entry.uri, *(band.uri for band in entry.bands.values())) if uri]


def assemble(name: str, target: GeoBox, scenes: Sequence[Scene], method: str, **facts: Any) -> Mosaic:
    """Return the mosaic or composite of open scenes, the first one first, on a grid."""
    from geoseg.scenes.composite import Composite  # noqa: PLC0415 (which is a mosaic)

    first = scenes[0]
    # Numbers that mean the same everywhere stay as they are. Others become physical values: to count all in
    # the numbers of one member, by whole differences of the offset, would change the last bit of what comes
    # of them, since number * scale + offset is rounded after each step.
    as_stored = method == "first" and all(_meaning(s) == _meaning(first) for s in scenes)
    bands = tuple(_band(b, as_stored=as_stored) for b in first.bands)
    placed = tuple(m for scene in scenes if (m := place(scene, target)) is not None)
    kind = Composite if method == "median" else Mosaic
    haze = first.haze if as_stored else ()
    return kind(redact(name), target, bands, haze=haze, placed=placed, as_stored=as_stored, **facts)


def reassemble(identity: Mapping[str, Any], scenes: Sequence[Scene]) -> Mosaic:
    """Return the mosaic of an identity, from its members that were opened again."""
    target = GeoBox(tuple(identity["shape"]), Affine(*identity["transform"]), identity["crs"])
    part = part_at(identity.get("part"), identity["crs"])
    made = assemble(identity["name"], target if part is None else part.whole, scenes, identity["method"])
    return made if part is None else replace(made, geobox=target, part=part)


def _meaning(scene: Scene) -> list[tuple[Any, ...]]:
    return [(b.dtype, b.scale, b.offset, scene.haze) for b in scene.bands]


def _band(band: SceneBand, *, as_stored: bool) -> MosaicBand:
    facts = {key: getattr(band, key) for key in SceneBand.__dataclass_fields__}
    if as_stored:
        return MosaicBand(**facts, numbers=str(band.dtype))
    return MosaicBand(**{**facts, "scale": 1.0, "offset": 0.0, "nodata": None, "declared": True})


def _like(first: Scene, scene: Scene, name: str) -> Scene:
    """Return a member with the bands in the order of the first one.

    Raises
    ------
    SceneError
        When it has other bands, or numbers of another kind that nothing gives a meaning.
    """
    here, there = ([b.common_name for b in s.bands] for s in (scene, first))
    if sorted(here) != sorted(there):
        differing = listed(sorted(set(here) ^ set(there)) or here, 6)
        raise SceneError(
            f"{name}: {scene.name}: is of another layout than {first.name}: it has {len(here)} bands and not "
            f"{len(there)}, or others ({differing}); name the bands that all have under bands:"
        )
    if None not in {scene.level, first.level} and scene.level != first.level:
        raise SceneError(
            f"{name}: {scene.name}: is {scene.level} reflectance, and {first.name} {first.level}; a mosaic "
            "is of one level of processing"
        )
    if here != there:
        scene = scene.pick([here.index(band) for band in there])
    for one, other in zip(scene.bands, first.bands, strict=True):
        if one.declared != other.declared:
            which = first.name if one.declared else scene.name
            raise SceneError(
                f"{name}: {scene.name}: band {one.name}: {which} declares neither scale nor offset and the "
                "other one does; write scale and offset beside mosaic"
            )
        if one.dtype != other.dtype and not one.declared:
            raise SceneError(
                f"{name}: {scene.name}: holds {one.dtype}, and {first.name} {other.dtype}; without a scale "
                "their numbers cannot be brought together"
            )
    return scene


def _as_fine_as(target: GeoBox, scene: Scene) -> Scene:
    """Return a member of another CRS on a grid that is no finer than that of the mosaic.

    Interpolated from finer pixels, most of them would take no part.
    """
    if scene.geobox.crs == target.crs:
        return scene
    here, there = scene.gsd_m, grid.gsd_m(target)
    if here is None or there is None or here > there * (1 - 1e-3):
        return scene
    return replace(scene, geobox=grid.common_grid([b.source for b in scene.bands], there))
