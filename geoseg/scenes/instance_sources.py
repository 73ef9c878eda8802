"""Sources of objects: polygons, of which each is an object, and rasters of object numbers."""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox

from geoseg.core.errors import SceneError
from geoseg.core.geometry import Span, Window, windows_of
from geoseg.core.legend import IGNORE, NO_OBJECT, UNLABELLED, Remap
from geoseg.scenes.burning import PolygonCodes, burn
from geoseg.scenes.instances import LabelObject, WindowObjects, cropped, present
from geoseg.scenes.labels import Labels

_SIDE = 2048
"""Side of the windows in which a raster of numbers is counted."""


@dataclass(frozen=True)
class Outlines:
    """Polygons in pixels of a grid, with an index; each is an object."""

    shapes: NDArray[Any]
    """Coordinates are columns and negative rows."""
    channels: NDArray[np.uint8]
    numbers: NDArray[np.int64]

    @cached_property
    def _tree(self) -> shapely.STRtree:
        return shapely.STRtree(self.shapes)

    def read(self, window: Window) -> tuple[LabelObject, ...]:
        """Burn each polygon that touches a window into its own box."""
        rows, cols = window.rows, window.cols
        touching = self._tree.query(shapely.box(cols.start, -rows.stop, cols.stop, -rows.start))
        return present([self._burnt(int(i), window) for i in touching])

    def _burnt(self, i: int, window: Window) -> LabelObject | None:
        left, bottom, right, top = shapely.bounds(self.shapes[i])
        box = Window(
            Span(int(np.floor(-top)), int(np.ceil(-bottom))), Span(int(np.floor(left)), int(np.ceil(right)))
        ).intersect(window)
        if not box:
            return None
        mask = burn([self.shapes[i]], [1], box.shape, 0, box.rows.start, box.cols.start) == 1
        # Its area in pixels is also their number, but for those that the outline cuts.
        pixels = max(int(mask.sum()), round(float(shapely.area(self.shapes[i]))))
        return cropped(int(self.numbers[i]), int(self.channels[i]), box, mask, pixels)


@dataclass(frozen=True)
class PolygonObjects:
    """A layer of polygons; each feature is an object, and features may overlap."""

    polygons: PolygonCodes
    geobox: GeoBox
    remap: Remap

    @cached_property
    def _outlines(self) -> Outlines:
        whole = Window.of(0, 0, self.geobox.shape.y, self.geobox.shape.x)
        shapes, codes, numbers = self.polygons.features(self.geobox, whole)
        values = np.array(codes, dtype=np.int64)
        if unknown := self.remap.unknown(values):
            raise SceneError(
                f"{self.polygons.path}: {self.polygons.attribute} holds {min(unknown)}, which the legend "
                "does not know; give it to a class with codes:, or list it under ignore: in the legend"
            )
        return Outlines(shapes, self.remap.channels(values), numbers)

    def read(self, window: Window) -> WindowObjects:
        """Return the objects of a window that lies inside the grid."""
        return WindowObjects(self._outlines.read(window))

    def identity(self) -> dict[str, Any]:
        """Return the version of the file, layer, column and names."""
        return self.polygons.identity()


@dataclass(frozen=True)
class NumberedObjects:
    """A raster of object numbers, 0 where there is none, and the class of each."""

    numbers: Labels
    classes: Labels | None
    """Raster of class codes on the same grid; None: `only`."""
    remap: Remap
    only: int = 0
    """Channel of all objects where there is no raster of classes."""

    @cached_property
    def _known(self) -> dict[int, tuple[int, int]]:
        """Class and pixels of each object, from one pass over the rasters."""
        shape = self.numbers.geobox.shape.y, self.numbers.geobox.shape.x
        counts: dict[tuple[int, int], int] = {}
        for window in windows_of(shape, _SIDE):
            ids = self.numbers.read(window)
            channels = self._channels(window)
            own = ids > NO_OBJECT
            pairs, times = np.unique(np.stack([ids[own], channels[own]]), axis=1, return_counts=True)
            for number, channel, n in zip(*pairs.tolist(), times.tolist(), strict=True):
                counts[number, channel] = counts.get((number, channel), 0) + n
        best: dict[int, tuple[int, int]] = {}
        total: dict[int, int] = {}
        for (number, channel), n in sorted(counts.items()):
            total[number] = total.get(number, 0) + n
            most = best.get(number)
            # The class of most of its pixels; pixels without a class do not vote.
            if channel != IGNORE and (most is None or n > most[1]):
                best[number] = channel, n
        return {k: (best.get(k, (IGNORE, 0))[0], n) for k, n in total.items()}

    def _channels(self, window: Window) -> NDArray[np.int64]:
        if self.classes is None:
            return np.full(window.shape, self.only, dtype=np.int64)
        codes = self.classes.read(window)
        strange = self.remap.unknown(codes).keys() - {NO_OBJECT}
        if strange:
            raise SceneError(
                f"{self.classes.path}: holds {min(strange)}, which the legend does not know; give it to a "
                "class with codes:, or list it under ignore: in the legend"
            )
        return self.remap.channels(codes).astype(np.int64)

    def read(self, window: Window) -> WindowObjects:
        """Return the objects of a window that lies inside the grid."""
        ids = self.numbers.read(window)
        if (negative := ids[(ids < NO_OBJECT) & (ids != UNLABELLED)]).size:
            raise SceneError(
                f"{self.numbers.path}: holds {negative[0]}; objects are numbered from 1, 0 is none"
            )
        found = []
        for number in np.unique(ids[ids > NO_OBJECT]).tolist():
            channel, pixels = self._known[number]
            found.append(cropped(number, channel, window, ids == number, pixels))
        unknown = ids == UNLABELLED
        return WindowObjects(present(found), unknown if unknown.any() else None)

    def identity(self) -> dict[str, Any]:
        """Return the versions of both files."""
        classes = {} if self.classes is None else {"classes": self.classes.identity()}
        return {"numbers": self.numbers.identity(), **classes}
