"""Scenes with labels, on which networks are trained and measured."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from geoseg.core.errors import SceneError
from geoseg.core.geometry import Window, reflect
from geoseg.core.legend import IGNORE, Remap
from geoseg.core.resize import nearest, resized_where
from geoseg.scenes.scene import Scene


@dataclass(frozen=True)
class LabelledPixels:
    """Values and labels of a window."""

    values: NDArray[np.float32]
    """Physical values, NaN where invalid, shape (bands, rows, cols)."""
    channels: NDArray[Any]
    """Channel number of the class, 255 where there is none, shape (rows, cols); of a field numbers (float32),
    NaN where there is none; of labels 0 or 1 of each class, 255 where nothing is known, (C, rows, cols)."""


def empty_label(channels: NDArray[Any]) -> Any:
    """Return what stands for no label in an array of labels: NaN in numbers, 255 elsewhere."""
    return np.float32(np.nan) if channels.dtype.kind == "f" else np.uint8(IGNORE)


class TruthReader(Protocol):
    """Labels on the grid of a scene."""

    @property
    def path(self) -> str:
        """The file with the labels."""

    def read(self, window: Window) -> NDArray[Any]:
        """Read a window, which may extend beyond the grid."""
        ...

    def identity(self) -> dict[str, Any]:
        """Return path, size and time of the last change, for fingerprints."""


@dataclass(frozen=True)
class Labelled:
    """A scene with its labels."""

    scene: Scene
    labels: TruthReader
    remap: Remap
    """Codes of the classes."""
    group: str
    """Scenes of one group overlap or touch."""
    part: str | None = None
    """`train`, `val` or `test`, where the data state it."""
    valid_range: tuple[float, float] | None = None
    """Physical values outside are invalid."""

    @property
    def name(self) -> str:
        """Name of the scene."""
        return self.scene.name

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width in pixels."""
        return self.scene.shape

    @property
    def nbytes(self) -> int:
        """Bytes of the whole scene in memory."""
        return self.shape[0] * self.shape[1] * (4 * len(self.scene.bands) + 1)

    def read(self, window: Window) -> LabelledPixels:
        """Read a window that may extend beyond the scene, where values are reflected and pixels unlabelled.

        Raises
        ------
        SceneError
            When a file cannot be read, or contains a code that is not in the legend.
        """
        values = self.scene.physical(self.scene.read(window))
        if self.valid_range is not None:
            low, high = self.valid_range
            with np.errstate(invalid="ignore"):
                values[:, ((values < low) | (values > high)).any(axis=0)] = np.nan
        channels = self._truth(window)
        channels[..., np.isnan(values[0])] = empty_label(channels)
        return LabelledPixels(values, channels)

    def _truth(self, window: Window) -> NDArray[Any]:
        codes = self.labels.read(window)
        if unknown := self.remap.unknown(codes):
            raise SceneError(f"{self.labels.path}: {_unknown(unknown)}")
        return self.remap.channels(codes)


class LabelledField(Labelled):
    """A scene with labels that are no codes of classes: numbers, or several labels for each pixel."""

    def _truth(self, window: Window) -> NDArray[Any]:
        return self.labels.read(window)


def _unknown(codes: Mapping[int, int]) -> str:
    listed = ", ".join(f"{code} ({pixels} px)" for code, pixels in list(codes.items())[:8])
    return (
        f"label values outside the legend: {listed}; give them to a class with codes:, or list them under "
        "ignore: in the legend; codes of one of several datasets stand under its classes:"
    )


@dataclass(frozen=True)
class Resized:
    """A labelled scene in another size: values bilinear, labels the nearest ones."""

    source: Labelled
    shape: tuple[int, int]
    """Height and width in pixels."""

    @property
    def name(self) -> str:
        """Name of the scene."""
        return self.source.name

    def read(self, window: Window) -> LabelledPixels:
        """Return a window, as `Labelled.read` does; the whole scene is read for it."""
        pixels = self.source.read(Window.of(0, 0, *self.source.shape))
        valid = ~np.isnan(pixels.values[0])
        values, seen = resized_where(np.where(valid, pixels.values, np.float32(0)), valid, self.shape)
        rows, cols = (nearest(n, m) for n, m in zip(self.source.shape, self.shape, strict=True))
        channels = pixels.channels[..., rows[:, None], cols]
        channels[..., ~seen] = empty_label(channels)
        return _window_of(LabelledPixels(np.where(seen, values, np.float32(np.nan)), channels), window)


@dataclass(frozen=True)
class InMemory:
    """A labelled scene that is kept in memory from the first read."""

    source: Labelled | Resized

    @property
    def name(self) -> str:
        """Name of the scene."""
        return self.source.name

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width in pixels."""
        return self.source.shape

    @cached_property
    def _whole(self) -> LabelledPixels:
        return self.source.read(Window.of(0, 0, *self.shape))

    def read(self, window: Window) -> LabelledPixels:
        """Return a window, as `Labelled.read` does."""
        return _window_of(self._whole, window)


def _window_of(whole: LabelledPixels, window: Window) -> LabelledPixels:
    """Return a window of a whole scene, beyond which values are reflected and pixels unlabelled."""
    known = whole.channels
    shape = known.shape[-2], known.shape[-1]
    inside, origin = window.clip(shape), Window.of(0, 0, *shape)
    if inside == window:
        here = window.relative_to(origin)
        return LabelledPixels(whole.values[:, *here], known[..., *here])
    rows, cols = reflect(window.rows, shape[0]), reflect(window.cols, shape[1])
    channels = np.full((*known.shape[:-2], *window.shape), empty_label(known))
    channels[..., *inside.relative_to(window)] = known[..., *inside.relative_to(origin)]
    return LabelledPixels(whole.values[:, rows[:, None], cols], channels)
