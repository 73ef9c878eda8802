"""A picture of a scene: true colour or its first bands, with a contrast stretch."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from geoseg.scenes.pixels import Pixels
from geoseg.scenes.scene import Reader, Scene

LONGEST = 3072
"""Largest number of pixels along the longer side."""

_TRUE_COLOR = ("red", "green", "blue")
_PERCENTILES = (2, 98)
_STRETCH_PIXELS = 1 << 20
"""The percentiles of the stretch are measured on about this many pixels."""

_ROWS = 256
"""Rows that are stretched at a time."""


@dataclass(frozen=True)
class ScenePicture:
    """A picture of a scene."""

    rgb: NDArray[np.uint8]
    """Shape (rows, cols, 3); white where a band has no value."""
    title: str
    """What the colours show: `True colour`, or the names of the bands."""
    limits: tuple[tuple[float, float], ...] = ()
    """For each channel the numbers of the scene that are black and full colour."""


def scene_picture(scene: Scene, longest: int = LONGEST, read: Reader | None = None) -> ScenePicture:
    """Return true colour where the scene has red, green and blue, else its first three bands.

    Each band is stretched between its 2nd and 98th percentile. Windows are read by `read`, see
    `Scene.preview`.

    Raises
    ------
    SceneError
        When a file cannot be read.
    """
    wanted, title = colors_of(scene)
    # The stretch undoes scale, offset and haze, so the raw numbers suffice.
    return picture_of(scene.pick(wanted).preview(longest, read), title)


def picture_of(pixels: Pixels, title: str) -> ScenePicture:
    """Return the picture of three bands, each stretched between its 2nd and 98th percentile."""
    rgb = np.full((*pixels.valid.shape, 3), 255, dtype=np.uint8)
    step = max(1, math.isqrt(pixels.valid.size // _STRETCH_PIXELS))
    limits: list[tuple[float, float]] = []
    for channel, band in enumerate(pixels.values):
        seen = band[::step, ::step][pixels.valid[::step, ::step]]
        low, high = np.percentile(seen, _PERCENTILES) if seen.size else (0.0, 1.0)
        limits.append((float(low), float(high)))
        for rows in (slice(r, r + _ROWS) for r in range(0, len(band), _ROWS)):
            valid = pixels.valid[rows]
            rgb[rows, :, channel][valid] = stretched(band[rows][valid], float(low), float(high))
    return ScenePicture(rgb, title, tuple(limits))


def colors_of(scene: Scene) -> tuple[list[int], str]:
    """Return the bands that are shown as red, green and blue, by their place among all, and what they are."""
    names = [b.common_name for b in scene.bands]
    if all(n in names for n in _TRUE_COLOR):
        return [names.index(n) for n in _TRUE_COLOR], "True colour"
    first = [min(i, len(names) - 1) for i in range(3)]
    return first, _band_names([names[i] for i in first])


def stretched(values: NDArray[np.generic], low: float, high: float) -> NDArray[np.uint8]:
    """Return numbers between a low and a high one as brightness, 0 to 255."""
    scaled = ((values.astype(np.float32) - np.float32(low)) / np.float32(max(high - low, 1e-9))).clip(0, 1)
    return (np.float32(255) * scaled ** np.float32(0.8)).astype(np.uint8)


def _band_names(names: list[str]) -> str:
    distinct = list(dict.fromkeys(names))
    return f"Band{'s' * (len(distinct) > 1)} {', '.join(distinct)}"
