"""Labels that tell objects apart: the mask and the class of each object on the grid of a scene."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox

from geoseg.core.geometry import Window
from geoseg.core.legend import IGNORE, UNLABELLED, Remap
from geoseg.scenes.labels import Labels

BACKGROUND = -(2**31) + 1
"""Label code of pixels that belong to no object, where objects were looked for."""


@dataclass(frozen=True)
class LabelObject:
    """An object, or the part of it in a window."""

    number: int
    """Of the object in its source: feature id, pixel value or annotation."""
    channel: int
    """Position of its class in the legend; 255 where it is ignored."""
    row: int
    """First row of the mask in the scene."""
    col: int
    mask: NDArray[np.bool_]
    """Pixels of the object in the window, within their own box."""
    pixels: int
    """Pixels of the whole object."""

    @property
    def window(self) -> Window:
        """The box of the mask."""
        return Window.of(self.row, self.col, *self.mask.shape)


@dataclass(frozen=True)
class WindowObjects:
    """The objects of a window."""

    objects: tuple[LabelObject, ...]
    """Those with a pixel in it, by number; objects may overlap."""
    unknown: NDArray[np.bool_] | None = None
    """Pixels where nobody looked for objects, shape (rows, cols); None: none."""


class ObjectSource(Protocol):
    """A source of objects: polygons, a raster of numbers, or COCO annotations."""

    def read(self, window: Window) -> WindowObjects:
        """Return the objects of a window that lies inside the grid."""

    def identity(self) -> dict[str, Any]:
        """Return the facts by which a change of the objects is noticed."""


@dataclass(frozen=True)
class ObjectLabels:
    """Objects on the grid of a scene. Can be read by several threads at once."""

    path: str
    """The file with the objects."""
    geobox: GeoBox
    source: ObjectSource
    remap: Remap
    """Codes of the classes, and last of the background."""
    area: Labels | None = None
    """Polygons of the part of the scene where objects were looked for; None: everywhere."""

    def read(self, window: Window) -> NDArray[np.int32]:
        """Return the code of the class of each pixel, see `geoseg.scenes.labels.Labels.read`.

        Small objects lie over large ones; pixels of no object are `BACKGROUND`.
        """
        shape = self.geobox.shape.y, self.geobox.shape.x
        inside = window.clip(shape)
        found = np.full(window.shape, UNLABELLED, dtype=np.int32)
        if inside:
            codes = found[inside.relative_to(window)]
            here = self._within(inside)
            codes[:] = BACKGROUND
            for one in sorted(here.objects, key=lambda o: (-o.pixels, o.number)):
                codes[one.window.relative_to(inside)][one.mask] = self.remap.codes[one.channel][0]
            if here.unknown is not None:
                codes[here.unknown] = UNLABELLED
        return found

    def objects(self, window: Window) -> tuple[LabelObject, ...]:
        """Return the objects of a window, which may extend beyond the grid; see `WindowObjects`."""
        inside = window.clip((self.geobox.shape.y, self.geobox.shape.x))
        return self._within(inside).objects if inside else ()

    def _within(self, window: Window) -> WindowObjects:
        """Return the objects of classes; the pixels of others are unknown, as are those beyond the area."""
        here = self.source.read(window)
        ignored = [o for o in here.objects if o.channel == IGNORE]
        unknown = here.unknown
        if self.area is not None or ignored:
            unknown = np.zeros(window.shape, dtype=np.bool_) if unknown is None else unknown.copy()
        if self.area is not None:
            assert unknown is not None  # noqa: S101 (made above)
            unknown |= self.area.read(window) == UNLABELLED
        for one in ignored:
            assert unknown is not None  # noqa: S101 (made above)
            unknown[one.window.relative_to(window)] |= one.mask
        return WindowObjects(tuple(o for o in here.objects if o.channel != IGNORE), unknown)

    def identity(self) -> dict[str, Any]:
        """Return path, size and time of the last change, for fingerprints."""
        area = {} if self.area is None else {"area": self.area.identity()}
        return {"path": self.path, **self.source.identity(), **area}


def with_background(remap: Remap) -> Remap:
    """Return codes with a last channel for the pixels of no object."""
    return Remap((*remap.codes, (BACKGROUND,)), remap.ignored)


def cropped(
    number: int, channel: int, window: Window, mask: NDArray[np.bool_], pixels: int
) -> LabelObject | None:
    """Return an object from its mask in a window, cut to its own box; None where it has no pixel."""
    rows, cols = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    if not len(rows):
        return None
    inside = mask[rows[0] : rows[-1] + 1, cols[0] : cols[-1] + 1].copy()
    row, col = window.rows.start + int(rows[0]), window.cols.start + int(cols[0])
    return LabelObject(number, channel, row, col, inside, pixels)


def present(found: Sequence[LabelObject | None]) -> tuple[LabelObject, ...]:
    """Return the objects that have a pixel, by number."""
    return tuple(sorted((o for o in found if o is not None), key=lambda o: o.number))
