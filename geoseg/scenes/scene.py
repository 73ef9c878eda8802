"""A scene: bands on one grid, read window by window."""

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import Any, Self

import numpy as np
from affine import Affine
from numpy.typing import NDArray
from odc.geo.crs import CRS
from odc.geo.geobox import GeoBox

from geoseg.config.scene import ModelMaskEntry, SceneEntry
from geoseg.core import buffers
from geoseg.core.geometry import Span, Window, reflect, windows_of
from geoseg.scenes import grid, sources
from geoseg.scenes.bands import SceneBand, SceneMask, read_on
from geoseg.scenes.class_masks import ClassMap, ClassMask
from geoseg.scenes.pixels import Pixels
from geoseg.scenes.remote import is_remote
from geoseg.scenes.sources import SourceFile

SAMPLE_WINDOWS = 8
SAMPLE_SIZE = 256
"""Statistics use up to 8 x 8 windows of 256 x 256 pixels, spread evenly."""

_SAMPLES_AT_ONCE = 4
"""Windows of a sample that are read at the same time: each is decoded on one core, or downloaded."""

_OVERVIEW_ROWS = 256
"""Rows of the scene that an overview reads at once."""

_PREVIEW_WINDOW = 2048
"""Pixels of the scene along the side of a window of a preview."""


@dataclass(frozen=True)
class Part:
    """Where a part of a scene lies."""

    whole: GeoBox
    """The grid of the whole scene."""
    window: Window
    """The part, in pixels of that grid."""


@dataclass(frozen=True, repr=False)
class Scene:
    """Bands of one place and time on one grid."""

    name: str
    geobox: GeoBox
    """The grid: CRS (or None), transform and shape. Of a part of a scene that of the part."""
    bands: tuple[SceneBand, ...]
    masks: tuple[SceneMask, ...] = ()
    """Quality bands; a pixel is nodata where one of them says so."""
    haze: tuple[float, ...] = ()
    """Haze that dark-object subtraction removes from each band, in physical units; empty without it."""
    declared_gsd_m: float | None = None
    """GSD from the catalog, for scenes without a CRS."""
    acquired: datetime | None = None
    """Time of acquisition, None when the catalog does not state it."""
    entry: SceneEntry | None = field(default=None, repr=False, compare=False)
    """What the scene was opened by: the entry that a user wrote, or that the metadata of a product gave."""
    part: Part | None = None
    """Where the grid lies in that of the whole scene, see `cut`; None: it is the whole."""
    base: Path = field(default=Path(), repr=False, compare=False)
    """Folder of the relative paths of the entry."""
    class_masks: tuple[ClassMask, ...] = ()
    """What other networks mask of the scene."""

    def __repr__(self) -> str:
        height, width = self.shape
        bands = ", ".join(b.common_name for b in self.bands)
        gsd = "" if self.gsd_m is None else f"{self.gsd_m:g} m, "
        crs = grid.crs_name(self.geobox.crs)
        return f"<{type(self).__name__} {self.name}: {width} x {height} px, {gsd}CRS {crs}, bands {bands}>"

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width in pixels."""
        return self.geobox.shape.y, self.geobox.shape.x

    @property
    def whole(self) -> GeoBox:
        """The grid of the whole scene, on which files are read."""
        return self.geobox if self.part is None else self.part.whole

    @property
    def window(self) -> Window:
        """The pixels of the whole scene that the grid has."""
        return Window.of(0, 0, *self.shape) if self.part is None else self.part.window

    def in_whole(self, window: Window) -> Window:
        """Return a window in pixels of the whole scene."""
        return window.shift(self.window.rows.start, self.window.cols.start)

    def cut(self, window: Window) -> Self:
        """Return the part of the scene in a window inside of it.

        Beyond the part the pixels of the scene are read, which are reflected at the border of the whole only.

        Examples
        --------
        >>> part = scene.cut(Window.of(100, 50, 256, 256))
        >>> part.shape
        (256, 256)
        >>> part.in_whole(Window.of(0, 0, 256, 256)) == Window.of(100, 50, 256, 256)
        True
        """
        rows, cols = window.rows, window.cols
        geobox = self.geobox[rows.start : rows.stop, cols.start : cols.stop]
        return replace(self, geobox=geobox, part=Part(self.whole, self.in_whole(window)))

    @property
    def gsd_m(self) -> float | None:
        """Ground sample distance in metres, None when unknown."""
        measured = grid.gsd_m(self.geobox)
        return self.declared_gsd_m if measured is None else measured

    @property
    def is_photograph(self) -> bool:
        """Whether it is a photograph: 8-bit numbers, no place on the earth, pixels of no known size."""
        return self.geobox.crs is None and self.declared_gsd_m is None and self.dtype == np.uint8

    @property
    def dtype(self) -> np.dtype[Any]:
        """Data type that holds the numbers of every band."""
        return np.result_type(*(b.dtype for b in self.bands))

    @property
    def level(self) -> str | None:
        """Return whether its numbers are reflectance of the atmosphere's top (`toa`) or of the `surface`."""
        return None if self.entry is None else self.entry.level

    @property
    def gain(self) -> NDArray[np.float32]:
        """Factor from numbers to physical units, shape (bands,)."""
        return np.array([b.scale for b in self.bands], dtype=np.float32)

    @property
    def bias(self) -> NDArray[np.float32]:
        """Summand from numbers to physical units after the factor, minus the haze, shape (bands,)."""
        haze = self.haze or (0.0,) * len(self.bands)
        return np.array([b.offset - h for b, h in zip(self.bands, haze, strict=True)], dtype=np.float32)

    @property
    def members(self) -> "tuple[Scene, ...]":
        """The scenes that own the files: this one, or those that a mosaic is made of."""
        return (self,)

    @property
    def model_masks(self) -> tuple[tuple[int, ModelMaskEntry], ...]:
        """The masks from models that entries ask for, each with the place of its scene among `members`."""
        entries = [(i, m.entry) for i, m in enumerate(self.members) if m.entry is not None]
        return tuple((i, mask) for i, entry in entries for mask in entry.model_masks)

    def with_class_masks(self, masks: Mapping[int, Sequence[ClassMask]]) -> "Scene":
        """Return the scene masked by other networks, by the place of the masked scene among `members`."""
        return replace(self, class_masks=tuple(masks.get(0, ())))

    def with_class_maps(self, maps: Mapping[str, ClassMap]) -> "Scene":
        """Return the scene with the maps of its class masks, by key; those without are to come later."""
        return replace(self, class_masks=tuple(m.with_map(maps) for m in self.class_masks))

    def member_windows(self, window: Window) -> list[tuple[int, Window]]:
        """Return what `read` reads for a window: places among `members`, each with a window of that scene."""
        return [(0, self._inside(self.in_whole(window)))]

    def class_parts(self, window: Window) -> list[tuple[ClassMask, Window]]:
        """Return the class masks that `read` needs for a window, each with the part of its map."""
        members = self.members
        found = ((members[place], part) for place, part in self.member_windows(window))
        return [(mask, mask.part(scene.whole, part)) for scene, part in found for mask in scene.class_masks]

    @property
    def sources(self) -> tuple[SourceFile, ...]:
        """The files of its bands and quality bands, each once."""
        return tuple(dict.fromkeys([*(b.source for b in self.bands), *(m.source for m in self.masks)]))

    @property
    def period(self) -> tuple[datetime, datetime] | None:
        """First and last time of acquisition, None when they are not known."""
        return None if self.acquired is None else (self.acquired, self.acquired)

    @property
    def counts_observations(self) -> bool:
        """Whether `read` says how often each pixel was seen."""
        return False

    @property
    def remote(self) -> bool:
        """Whether one of its files, or of the files of a VRT, is on a server."""
        return any(is_remote(version.path) for f in self.sources for version in f.files)

    def reading_bytes(self, pixels: int) -> int:  # noqa: ARG002 (see the subclasses)
        """Return the memory for reading a window of so many pixels, beside that of its numbers."""
        return 0

    def pick(self, indexes: Sequence[int]) -> "Scene":
        """Return the scene with some of its bands, by their place among all, from 0."""
        haze = tuple(self.haze[i] for i in indexes) if self.haze else ()
        return replace(self, bands=tuple(self.bands[i] for i in indexes), haze=haze)

    def near(self, window: Window) -> "Scene":  # noqa: ARG002 (see the subclasses)
        """Return the scene with no more than `read` needs for a window: it is sent to workers."""
        return self

    def with_absolute_paths(self) -> "Scene":
        """Return the scene with absolute paths, for processes with another current folder."""
        bands = tuple(replace(b, source=sources.with_absolute_path(b.source)) for b in self.bands)
        masks = tuple(replace(m, source=sources.with_absolute_path(m.source)) for m in self.masks)
        return replace(self, bands=bands, masks=masks)

    def read(self, window: Window) -> Pixels:
        """Read a window; pixels beyond the whole scene are reflected at its border.

        Raises
        ------
        SceneError
            When a file cannot be read.
        """
        return self._read_whole(self.in_whole(window))

    def _read_whole(self, window: Window) -> Pixels:
        """Read a window in pixels of the whole scene."""
        height, width = self.whole.shape
        rows, cols = reflect(window.rows, height), reflect(window.cols, width)
        inside, middle = self._inside(window), window.clip((height, width))
        if inside != middle:
            # The window reaches further beyond the scene than into it: reflections need pixels outside of it.
            return self._read_whole(inside).at(rows - inside.rows.start, cols - inside.cols.start)
        values = buffers.empty((len(self.bands), *window.shape), self.dtype)
        here = middle.relative_to(window)
        seen = self._read_inside(inside, values[:, *here])
        if window == inside:
            return Pixels.of(values, seen)
        around = np.empty(window.shape, dtype=seen.dtype)
        around[here] = seen
        for array in (values, around):
            _reflect(array, rows - window.rows.start, cols - window.cols.start, here)
        return Pixels.of(values, around)

    def _inside(self, window: Window) -> Window:
        """Return the window with all pixels that are read for one, reflected ones too; both of the whole."""
        height, width = self.whole.shape
        places = reflect(window.rows, height), reflect(window.cols, width)
        return Window(*(Span(int(p.min()), int(p.max()) + 1) for p in places))

    def _read_inside(self, window: Window, out: NDArray[Any]) -> NDArray[Any]:
        """Read all bands of a window of the whole scene, in its pixels, into `out` (bands, rows, cols).

        Returns
        -------
        seen
            Where all bands are valid, shape (rows, cols), bool. A scene that counts observations returns
            their number, uint8.
        """
        valid = np.ones(window.shape, dtype=np.bool_)
        for source, dtype in dict.fromkeys((b.source, b.dtype) for b in self.bands):
            here = [i for i, b in enumerate(self.bands) if (b.source, b.dtype) == (source, dtype)]
            indexes, invalid = zip(*((self.bands[i].index, self.bands[i].invalid) for i in here), strict=True)
            whole = len(here) == len(self.bands)  # all of them, in their order
            read, known = read_on(source, indexes, self.whole, window, None, invalid, out if whole else None)
            if read is not out:
                out[here] = read
            if known is not None:
                valid &= known
        for mask in self.masks:
            valid &= mask.valid_in(self.whole, window)
        for found in self.class_masks:
            valid &= found.valid_in(self.whole, window)
        return valid

    def physical(self, pixels: Pixels) -> NDArray[np.float32]:
        """Return values in physical units (reflectance), NaN where invalid, shape (bands, rows, cols)."""
        scaled = pixels.values.astype(np.float32) * self.gain[:, None, None] + self.bias[:, None, None]
        return np.where(pixels.valid, scaled, np.float32(np.nan))

    def sample(self, read: "Reader | None" = None) -> Pixels:
        """Read pixels spread over the whole scene, for statistics, shape (bands, 1, pixels).

        Windows are read by `read`, which by default is the method.
        """
        read = read or _read_plainly
        windows = self.sample_windows()
        if self.remote and all(n <= SAMPLE_WINDOWS * SAMPLE_SIZE for n in self.shape):
            # Of a small scene the sample is the whole, read at once and by one handle for each file: its
            # internal tiles are then there for the blocks, and not downloaded again.
            whole = Window.of(0, 0, *self.shape)
            pixels = read(self, whole)
            places = [w.relative_to(whole) for w in windows]
            parts = [Pixels(pixels.values[:, *here], pixels.valid[here]) for here in places]
        else:
            with ThreadPoolExecutor(_SAMPLES_AT_ONCE) as pool:
                parts = list(pool.map(lambda w: read(self, w), windows))
        return Pixels.pooled(parts)

    def valid_sample(self, read: "Reader | None" = None) -> Pixels:
        """Read pixels for statistics: the sample or, where that is all nodata, an overview of the scene.

        A large scene may be valid in a corner only.
        """
        pixels = self.sample(read)
        return pixels if pixels.valid.any() else self.overview(1024, read)

    def sample_windows(self) -> list[Window]:
        """Return the windows of `sample`: the whole of a small scene, evenly spread parts of a large one."""
        there = self.window
        rows, cols = (spread(axis, SAMPLE_WINDOWS) for axis in (there.rows, there.cols))
        return [Window(r, c).shift(-there.rows.start, -there.cols.start) for r in rows for c in cols]

    def overview(self, longest: int, read: "Reader | None" = None) -> Pixels:
        """Read the whole scene reduced to at most `longest` pixels a side, nearest neighbour.

        Its windows are read by `read`, which by default is the method.
        """
        read = read or _read_plainly
        step = max(1, -(-max(self.shape) // longest))
        height, width = (-(-n // step) for n in self.shape)
        rows = np.minimum(np.arange(height) * step + step // 2, self.shape[0] - 1)
        columns = np.minimum(np.arange(width) * step + step // 2, self.shape[1] - 1)
        values = np.empty((len(self.bands), height, width), dtype=self.dtype)
        valid = np.empty((height, width), dtype=np.bool_)
        # Many lines at once: they share internal tiles.
        together = max(1, _OVERVIEW_ROWS // step)
        for part in (slice(i, min(i + together, height)) for i in range(0, height, together)):
            first, last = int(rows[part][0]), int(rows[part][-1])
            lines = read(self, Window.of(first, 0, last - first + 1, self.shape[1]))
            here = (rows[part] - first)[:, None], columns
            values[:, part], valid[part] = lines.values[:, *here], lines.valid[here]
        return Pixels(values, valid)

    def preview(self, longest: int, read: "Reader | None" = None) -> Pixels:
        """Read the whole scene for a picture, reduced to at most `longest` pixels a side.

        Overviews of the files are used where they exist; they may be up to twice as coarse as `longest`
        allows. `overview` does not use them, and returns the same pixels with or without them. Windows are
        read by `read`, which by default is the method.
        """
        read = read or _read_plainly
        small = self._reduced(longest)
        if small is None:
            return self.overview(longest, read)
        height, width = small.shape
        values = np.empty((len(self.bands), height, width), dtype=self.dtype)
        valid = np.empty((height, width), dtype=np.bool_)
        # In windows, since a file without overviews is read at its full resolution.
        side = max(16, _PREVIEW_WINDOW // -(-max(self.shape) // max(small.shape)))
        for part in windows_of(small.shape, side):
            pixels = read(small, part)
            here = part.rows.relative_to(0), part.cols.relative_to(0)
            values[:, *here], valid[here] = pixels.values, pixels.valid
        return Pixels(values, valid)

    def _reduced(self, longest: int) -> "Scene | None":
        """Return the scene on a grid of at most `longest` pixels a side; None where no overview helps."""
        step = max(1, -(-max(self.shape) // longest))
        # To read an overview takes a fraction of the time for the next finer one and its resampling.
        bands = self._coarser(1 << (step - 1).bit_length())
        whole = bands[0].source.geobox
        plain = self.part is None and all(b.source.geobox == self.geobox for b in self.bands)
        if plain and max(whole.shape) <= longest:
            return replace(self, geobox=whole, bands=bands)
        if step == 1:
            return self
        small = self.coarser(step)
        return None if small.bands == self.bands else small

    def coarser(self, step: int) -> "Scene":
        """Return the scene on a grid over the same extent with pixels `step` times as wide.

        It is read from the coarsest overviews that are finer.
        """
        bands = self._coarser(step)
        geobox = self.geobox.zoom_to(_shape_at(self.shape, step))
        return replace(self, geobox=geobox, bands=bands, part=None)

    def _coarser(self, step: int) -> tuple[SceneBand, ...]:
        """Return the bands with the overviews for pixels `step` times as wide as those of the scene."""

        def reduced(source: SourceFile) -> SourceFile:
            finer = abs(self.geobox.resolution.x) / abs(source.geobox.resolution.x)
            return sources.coarser(source, step * finer * (1 + 1e-9))

        return tuple(replace(b, source=reduced(b.source)) for b in self.bands)

    def read_apart(self) -> "list[tuple[tuple[int, ...], Scene]]":
        """Return the scenes of the bands that are read together, those of one file, without masks.

        Each comes with the places of its bands among all, from 0. A pixel is valid where it is valid in each
        of them, in all `masks` and in all `class_masks`.
        """
        files = dict.fromkeys(b.source for b in self.bands)
        places = [tuple(i for i, b in enumerate(self.bands) if b.source == f) for f in files]
        return [(p, replace(self.pick(p), masks=(), class_masks=())) for p in places]

    def changed_file(self) -> str | None:
        """Return the path of a file that was written to since the scene was opened; None: none was.

        Raises
        ------
        SceneError
            When a file cannot be looked at again.
        """
        return next((path for f in self.sources if (path := sources.changed_file(f)) is not None), None)

    def identity(self) -> dict[str, Any]:
        """Return all facts that determine the pixels of the scene, for the fingerprint."""
        masks = [[m.source.path, m.index, m.invalid_values, m.invalid_bits] for m in self.masks]
        return {
            "name": self.name,
            "shape": self.shape,
            "transform": tuple(self.geobox.transform)[:6],
            "crs": None if self.geobox.crs is None else self.geobox.crs.to_wkt(),
            "bands": [
                [b.common_name, b.source.path, b.index, b.scale, b.offset, b.nodata]
                # Only when there is one, so that older fingerprints stay valid.
                + ([] if b.saturated is None else [b.saturated])
                for b in self.bands
            ],
            "mask": masks[0] if masks else None,
            **({"masks": masks[1:]} if masks[1:] else {}),
            "haze": self.haze,
            "files": [[v.path, v.size, v.stamp] for f in self.sources for v in f.files],
            "alpha": [[f.path, *f.alpha] for f in self.sources if f.alpha],
            # Only of a part, so that fingerprints of whole scenes stay valid.
            **({} if self.part is None else {"part": _place_of(self.part)}),
        }


Reader = Callable[[Scene, Window], Pixels]
"""Reads a window of a scene, with retries for example."""


def _read_plainly(scene: Scene, window: Window) -> Pixels:
    return scene.read(window)


def _shape_at(shape: tuple[int, int], step: int) -> tuple[int, int]:
    """Return the shape of a grid over the same extent whose pixels are `step` times as wide, rounded up."""
    return -(-shape[0] // step), -(-shape[1] // step)


def _place_of(part: Part) -> dict[str, Any]:
    """Return where a part lies, as plain values; `part_at` reads them."""
    rows, cols = part.window.rows, part.window.cols
    return {
        "shape": tuple(part.whole.shape),
        "transform": tuple(part.whole.transform)[:6],
        "rows": (rows.start, rows.stop),
        "columns": (cols.start, cols.stop),
    }


def part_at(place: Mapping[str, Any] | None, crs: CRS | str | None) -> Part | None:
    """Return the part of a scene from the `part` of its identity; None without one."""
    if place is None:
        return None
    whole = GeoBox(tuple(place["shape"]), Affine(*place["transform"]), crs)
    return Part(whole, Window(Span(*place["rows"]), Span(*place["columns"])))


def _reflect(
    array: NDArray[Any], rows: NDArray[np.intp], cols: NDArray[np.intp], middle: tuple[slice, slice]
) -> None:
    """Fill an array (..., rows, cols) around its middle with its own pixels at these rows and columns."""
    beyond_rows, beyond_cols = (
        np.delete(np.arange(len(places)), here) for places, here in zip((rows, cols), middle, strict=True)
    )
    array[..., beyond_rows, middle[1]] = array[..., rows[beyond_rows], middle[1]]
    array[..., beyond_cols] = array[..., cols[beyond_cols]]


def spread(axis: Span, windows: int) -> list[Span]:
    """Return spans of `SAMPLE_SIZE` spread evenly over an axis, or that cover a short one.

    All but the first and the last begin at multiples of `SAMPLE_SIZE` in the whole scene: in most files they
    lie in one internal tile.
    """
    if len(axis) <= windows * SAMPLE_SIZE:
        cuts = range(axis.start - axis.start % SAMPLE_SIZE, axis.stop, SAMPLE_SIZE)
        return [Span(cut, cut + SAMPLE_SIZE).intersect(axis) for cut in cuts]
    starts = np.linspace(axis.start, axis.stop - SAMPLE_SIZE, windows).astype(int)
    starts[1:-1] -= starts[1:-1] % SAMPLE_SIZE
    return [Span(int(s), int(s) + SAMPLE_SIZE) for s in starts]
