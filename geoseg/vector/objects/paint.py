"""Objects painted into a raster, from large to small, and numbered in the order in which a reader meets them.

An object has its number by its first pixel that is seen, so the numbers can be checked in the raster alone.
One that is hidden whole has none, and is in no output.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geoseg.core.geometry import Span, Window, windows_of
from geoseg.core.legend import NODATA
from geoseg.vector.objects import _kernels
from geoseg.vector.objects.collected import Collected

SIDE = 1024
"""Rows and columns that are painted at once; they do not change the result."""

Valid = Callable[[Window], NDArray[np.bool_]]
"""Returns which pixels of a window of the map are valid, shape (rows, cols)."""


@dataclass(frozen=True)
class Numbered:
    """The objects that are seen in the map, by number from 1; entry 0 of each array stands for no object."""

    index: NDArray[np.int64]
    """Row of each object in `Collected.table`; -1 for no object."""
    classes: NDArray[np.uint8]
    """Class ids; 255 for no object."""
    scores: NDArray[np.uint16]
    """In 1/10000."""
    joined: NDArray[np.int32]
    """Detections from which each was joined; 1 when a tile saw all of it."""
    pixels: NDArray[np.int64]
    """Pixels that are seen."""
    edge: NDArray[np.bool_]
    """Whether it touches nodata or the frame of the map, so that the object may go on beyond it."""

    def __len__(self) -> int:
        return len(self.index) - 1

    def whole(self, objects: Collected) -> "Numbered":
        """Return the objects with the pixels of their whole masks, also where others cover them."""
        return replace(self, pixels=np.append(0, objects.table["area"][self.index[1:]]))

    @property
    def percent(self) -> NDArray[np.uint8]:
        """Scores in whole per cent; 255 for no object."""
        percent = ((self.scores.astype(np.int64) + 50) // 100).astype(np.uint8)
        percent[0] = NODATA
        return percent


@dataclass(frozen=True)
class Found:
    """The objects that a network found in a map."""

    objects: Collected
    """All of them, with their masks."""
    numbered: Numbered
    """Those that are seen."""


class Canvas:
    """Paints windows of a map."""

    def __init__(self, objects: Collected) -> None:
        order = objects.upwards()
        self._objects, self._order = objects, order
        self._boxes = objects.table["box"][order]

    def paint(self, window: Window, numbers: NDArray[np.integer]) -> NDArray[np.uint32]:
        """Return the number of the object seen at each pixel of a window, 0 for none, shape (rows, cols).

        Parameters
        ----------
        window
            The window; it may reach beyond the map.
        numbers
            Number of each row of the table; 0 leaves the object out.
        """
        painted = np.zeros(window.shape, np.uint32)
        rows, cols, boxes = window.rows, window.cols, self._boxes
        here = (boxes[:, 0] < rows.stop) & (boxes[:, 2] > rows.start)
        here &= (boxes[:, 1] < cols.stop) & (boxes[:, 3] > cols.start)
        for number in self._order[here].tolist():
            if numbers[number]:
                box = self._objects.window(number)
                part = box.intersect(window)
                seen = self._objects.mask(number)[part.relative_to(box)]
                painted[part.relative_to(window)][seen] = numbers[number]
        return painted


def number(objects: Collected, canvas: Canvas, shape: tuple[int, int], valid: Valid) -> Numbered:
    """Give numbers to the objects that are seen, in the scan order of their first pixel.

    Parameters
    ----------
    objects
        All objects; their masks have valid pixels only.
    canvas
        Paints them.
    shape
        Rows and columns of the map.
    valid
        Tells nodata, at which an object may end.
    """
    count, nowhere = len(objects) + 1, shape[0] * shape[1]
    first, pixels = np.full(count, nowhere, np.int64), np.zeros(count, np.int64)
    edge, row = np.zeros(count, np.bool_), np.arange(1, count)
    for window in windows_of(shape, SIDE):
        wider = widened(window)
        painted = canvas.paint(wider, row)
        if painted.any():
            inside = wider.clip(shape)
            blocked = np.ones(wider.shape, np.bool_)
            blocked[inside.relative_to(wider)] = ~valid(inside)
            place = window.rows.start, window.cols.start, shape[1]
            _kernels.note(painted, blocked, first, pixels, edge, *place)
    first[0] = -1
    old = np.argsort(first)[: int((first < nowhere).sum())]
    table, index = objects.table, old - 1

    def of(column: str, none: int) -> NDArray[Any]:
        values: NDArray[Any] = table[column][index] if len(table) else np.zeros(1, table.dtype[column])
        values[0] = none
        return values

    return Numbered(
        index, of("class_id", NODATA), of("score", 0), of("joined", 0), pixels[old], edge[old]
    )  # fmt: skip


def widened(window: Window) -> Window:
    """Return a window with one more pixel on each side."""
    rows, cols = window.rows, window.cols
    return Window(Span(rows.start - 1, rows.stop + 1), Span(cols.start - 1, cols.stop + 1))


def numbers_of(found: Numbered, count: int) -> NDArray[np.uint32]:
    """Return the number of each row of the table, 0 for objects that are not seen, shape (count,)."""
    numbers = np.zeros(count, np.uint32)
    numbers[found.index[1:]] = np.arange(1, len(found) + 1)
    return numbers


def painted_windows(
    canvas: Canvas, numbers: NDArray[np.uint32], shape: tuple[int, int]
) -> Iterator[tuple[Window, NDArray[np.uint32]]]:
    """Yield the windows of a map in scan order, each with the numbers of its pixels, shape (rows, cols)."""
    for window in windows_of(shape, SIDE):
        yield window, canvas.paint(window, numbers)
