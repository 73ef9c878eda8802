"""Masks from models: the class map of another network, some classes of which mean nodata."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox

from geoseg.core.geometry import Span, Window
from geoseg.core.legend import NODATA
from geoseg.scenes import grid, resample


class ClassMap(Protocol):
    """A class map, finished blocks or arrays."""

    def read(self, window: Window) -> NDArray[np.uint8]:
        """Read a window inside its grid, shape (rows, cols): class ids, 255 where there is none."""


@dataclass(frozen=True)
class HeldMap:
    """A part of a class map in memory."""

    window: Window
    classes: NDArray[np.uint8]

    def read(self, window: Window) -> NDArray[np.uint8]:
        """Read a window inside the part."""
        return self.classes[window.relative_to(self.window)]


@dataclass(frozen=True)
class ClassMask:
    """Some classes of a map mean nodata. Where the map has no class, the scene is nodata, too."""

    key: str
    """Its name among the masks of a scene."""
    geobox: GeoBox
    """The grid of the map."""
    invalid: tuple[int, ...]
    """Ids of the classes."""
    dilate: int = 0
    """Pixels of the map by which they are widened, as a circle is."""
    classes: ClassMap | None = None
    """The map; None: it comes later, see `Scene.with_class_maps`."""

    def part(self, target: GeoBox, window: Window) -> Window:
        """Return the window of the map that a window of another grid over the same ground needs."""
        rows, cols = self._taps(target, window)
        spans = (Span(t.first - self.dilate, t.stop + self.dilate) for t in (rows, cols))
        return Window(*spans).clip(tuple(self.geobox.shape))

    def valid_in(self, target: GeoBox, window: Window) -> NDArray[np.bool_]:
        """Return where a window of a grid is valid, by the nearest pixel of the map, shape (rows, cols)."""
        if self.classes is None:
            raise ValueError(f"{self.key}: its map is not there yet")
        rows, cols = self._taps(target, window)
        part = self.part(target, window)
        classes = self.classes.read(part)
        bad = np.isin(classes, self.invalid)
        if self.dilate and bad.any():
            from scipy.ndimage import distance_transform_edt  # noqa: PLC0415 (slow to import)

            bad = distance_transform_edt(~bad) <= self.dilate
        valid = ~bad & (classes != NODATA)
        found: NDArray[np.bool_] = valid[
            np.ix_(rows.index[:, 0] - part.rows.start, cols.index[:, 0] - part.cols.start)
        ]
        return found

    def with_map(self, maps: Mapping[str, ClassMap]) -> "ClassMask":
        """Return the mask with its map among maps by key, None where it is not among them."""
        return replace(self, classes=maps.get(self.key))

    def _taps(self, target: GeoBox, window: Window) -> tuple[resample.Taps, resample.Taps]:
        rows, cols = (
            resample.nearest(grid.edges_in(self.geobox, target, span, axis), self.geobox.shape[axis])
            for axis, span in enumerate((window.rows, window.cols))
        )
        return rows, cols
