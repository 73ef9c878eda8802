"""Scenes with labels, on which networks are trained and measured."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geoseg.core.errors import SceneError
from geoseg.core.geometry import Window, reflect
from geoseg.core.legend import IGNORE, Remap
from geoseg.scenes.instances import ObjectLabels
from geoseg.scenes.labels import Labels
from geoseg.scenes.scene import Scene


@dataclass(frozen=True)
class LabelledPixels:
    """Values and labels of a window."""

    values: NDArray[np.float32]
    """Physical values, NaN where invalid, shape (bands, rows, cols)."""
    channels: NDArray[np.uint8]
    """Channel number of the class, 255 where there is none, shape (rows, cols)."""


@dataclass(frozen=True)
class Labelled:
    """A scene with its labels."""

    scene: Scene
    labels: Labels | ObjectLabels
    remap: Remap
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
        codes = self.labels.read(window)
        if unknown := self.remap.unknown(codes):
            raise SceneError(f"{self.labels.path}: {_unknown(unknown)}")
        channels = self.remap.channels(codes)
        channels[np.isnan(values[0])] = IGNORE
        return LabelledPixels(values, channels)


def _unknown(codes: Mapping[int, int]) -> str:
    listed = ", ".join(f"{code} ({pixels} px)" for code, pixels in list(codes.items())[:8])
    return (
        f"label values outside the legend: {listed}; give them to a class with codes:, or list them under "
        "ignore: in the legend"
    )


@dataclass(frozen=True)
class InMemory:
    """A labelled scene that is kept in memory from the first read."""

    source: Labelled

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
        inside = window.clip(self.shape)
        if inside == window:
            here = window.relative_to(Window.of(0, 0, *self.shape))
            return LabelledPixels(self._whole.values[:, *here], self._whole.channels[here])
        rows, cols = reflect(window.rows, self.shape[0]), reflect(window.cols, self.shape[1])
        channels: NDArray[Any] = np.full(window.shape, IGNORE, dtype=np.uint8)
        channels[inside.relative_to(window)] = self._whole.channels[
            inside.relative_to(Window.of(0, 0, *self.shape))
        ]
        return LabelledPixels(self._whole.values[:, rows[:, None], cols], channels)
