"""Parts of lazy arrays: which chunks a window takes, and how it is put together from them."""

from bisect import bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise, product
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geoseg.core.geometry import Span, Window
from geoseg.scenes.class_masks import ClassMap, HeldMap
from geoseg.scenes.scene import Scene


@dataclass(frozen=True)
class ChunkAxis:
    """The parts of one axis of an array: chunks, or cores of blocks."""

    starts: tuple[int, ...]
    """Where each begins, and where the last one ends."""

    @classmethod
    def of(cls, sizes: Iterable[int]) -> "ChunkAxis":
        """Return the axis with parts of these sizes."""
        return cls((0, *accumulate(sizes)))

    def spans(self) -> list[Span]:
        """Return the parts."""
        return [Span(start, stop) for start, stop in pairwise(self.starts)]

    def meeting(self, span: Span) -> list[tuple[int, slice, slice]]:
        """Return number, slice in the span and slice in the part of each part that meets a span."""
        found = []
        for i in range(max(0, bisect_right(self.starts, span.start) - 1), len(self.starts) - 1):
            if self.starts[i] >= span.stop:
                break
            part = Span(self.starts[i], self.starts[i + 1]).intersect(span)
            if part:
                found.append((i, part.relative_to(span.start), part.relative_to(self.starts[i])))
        return found


@dataclass(frozen=True, eq=False)
class LazyMap:
    """A class map that is computed when it is needed."""

    array: Any
    """An array of Dask, shape (rows, cols), uint8."""

    def read(self, window: Window) -> NDArray[np.uint8]:
        """Compute a window inside the map."""
        rows, cols = window.relative_to(Window.of(0, 0, 0, 0))
        return np.asarray(self.array[rows, cols].compute())


@dataclass(frozen=True)
class MapPart:
    """The part of a lazy class map that a window of a scene needs, and where the chunks lie in it."""

    key: str
    """Name of the mask among those of the scene."""
    window: Window
    """The part, in pixels of the map."""
    pieces: tuple[tuple[tuple[slice, slice], tuple[slice, slice]], ...]
    """Of each chunk, in their order: rows and columns of the part, and of the chunk."""

    def held(self, chunks: Sequence[NDArray[np.uint8]]) -> HeldMap:
        """Return the part in memory."""
        classes = np.empty(self.window.shape, np.uint8)
        for (there, here), chunk in zip(self.pieces, chunks, strict=True):
            classes[there] = chunk[here]
        return HeldMap(self.window, classes)


def lazy_maps(scene: Scene) -> list[Any]:
    """Return the arrays of Dask that mask a scene."""
    masks = (mask for member in scene.members for mask in member.class_masks)
    return [mask.classes.array for mask in masks if isinstance(mask.classes, LazyMap)]


def map_parts(scene: Scene, window: Window) -> tuple[tuple[MapPart, ...], list[Any]]:
    """Return the parts of lazy class maps that a scene reads for a window, and the keys of their chunks."""
    parts: list[MapPart] = []
    keys: list[Any] = []
    for mask, part in scene.class_parts(window):
        if not isinstance(mask.classes, LazyMap):
            continue
        array = mask.classes.array
        rows, cols = (
            ChunkAxis.of(sizes).meeting(span)
            for sizes, span in zip(array.chunks, (part.rows, part.cols), strict=True)
        )
        met = list(product(rows, cols))
        parts.append(MapPart(mask.key, part, tuple(((t, u), (h, i)) for (_, t, h), (_, u, i) in met)))
        keys += [(array.name, i, j) for (i, _, _), (j, _, _) in met]
    return tuple(parts), keys


def held_maps(parts: Sequence[MapPart], chunks: Sequence[NDArray[np.uint8]]) -> dict[str, ClassMap]:
    """Return the parts of class maps by key, made of chunks in the order of `map_parts`."""
    maps: dict[str, ClassMap] = {}
    first = 0
    for part in parts:
        maps[part.key] = part.held(chunks[first : first + len(part.pieces)])
        first += len(part.pieces)
    return maps


def with_held_maps(scene: Scene, parts: Sequence[MapPart], chunks: Sequence[NDArray[np.uint8]]) -> Scene:
    """Return a scene with the parts of class maps that are made of chunks, in the order of `map_parts`."""
    return scene.with_class_maps(held_maps(parts, chunks)) if parts else scene
