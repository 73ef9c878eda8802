"""The layers of the map on the page, as data URIs that together stay below 5.6 MB."""

import base64
import io
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import rasterio
from numpy.typing import NDArray
from PIL import Image
from rasterio.enums import Resampling

from geoseg.core.legend import NODATA, Legend
from geoseg.report.scene_picture import ScenePicture
from geoseg.styles.raster import STRANGENESS

CLASSES_LONGEST = 4096
CONFIDENCE_LONGEST = 2048
PROBABILITIES_LONGEST = 1024
"""Largest number of pixels along the longer side of a layer."""

BYTES = {
    "scene": 1_500_000, "classes": 1_300_000, "confidence": 400_000, "disagreement": 350_000,
    "strangeness": 350_000, "probabilities": 250_000, "small": 100_000,
}  # fmt: skip
"""Largest size of each layer in bytes before base64, which adds a third; a larger layer is made smaller."""

STRANGENESS_STEP = 10
"""Width of a colour class of the distance from the training pixels, in per cent of the limit."""

STEP = 5
"""Width of a colour class of the confidence, in per cent."""

VALUE_STEPS = 100
"""Colours of a map of numbers."""

NO_LABEL = (232, 232, 232)
"""Colour of pixels without a label."""

_QUALITIES = (88, 80, 70)


@dataclass(frozen=True)
class MapLayer:
    """A picture of the whole map."""

    uri: str
    """The picture as a data URI."""
    shape: tuple[int, int]
    """Height and width of the picture in pixels."""


def class_layer(path: Path, legend: Legend) -> MapLayer:
    """Paint a class map in the colours of its legend, transparent where there is no class."""
    classes = read_small(path, CLASSES_LONGEST, Resampling.nearest)
    index = np.full(256, len(legend), dtype=np.uint8)
    index[legend.ids] = np.arange(len(legend))
    return _palette(index[classes], [c.rgb for c in legend.classes], BYTES["classes"])


@dataclass(frozen=True)
class ProbabilityLayer:
    """The probabilities of all classes in one grey picture, one below the other."""

    layer: MapLayer
    count: int
    """Number of classes."""
    step: int
    """Pixels of the map along a side of one pixel of the picture."""


def confidence_layer(path: Path, longest: int = CONFIDENCE_LONGEST, kind: str = "confidence") -> MapLayer:
    """Paint a confidence map in the colours of `confidence_colors`, transparent where there is none.

    `kind` is the entry of `BYTES` that limits it.
    """
    shares = read_small(path, longest, Resampling.average)
    colors = confidence_colors()
    empty = shares > 1
    np.multiply(shares, 100, out=shares)
    steps = np.minimum(np.rint(shares, out=shares) // STEP, len(colors) - 1).astype(np.uint8)
    steps[empty] = len(colors)
    return _palette(steps, colors, BYTES[kind])


def value_layer(path: Path, low: float, high: float, longest: int = CLASSES_LONGEST) -> MapLayer:
    """Paint a map of numbers in the colours of `value_colors`, transparent where there is none."""
    values = read_small(path, longest, Resampling.average)
    colors = value_colors()
    empty = np.isnan(values)
    values[empty] = low
    place = ((values - low) * (len(colors) / (high - low))).clip(0, len(colors) - 1)
    index = place.astype(np.uint8)
    index[empty] = len(colors)
    return _palette(index, colors, BYTES["classes"])


def value_colors() -> list[tuple[int, int, int]]:
    """Return the colours of the numbers of a map, from the least to the largest."""
    colors = mpl.colormaps["viridis"](np.linspace(0, 1, VALUE_STEPS), bytes=True)
    return [(int(r), int(g), int(b)) for r, g, b, _ in colors]


def label_layer(path: Path, band: int, color: tuple[int, int, int], most: int) -> MapLayer:
    """Paint the pixels that have a label, grey where they have not, in at most `most` bytes."""
    flags = read_small(path, CLASSES_LONGEST, Resampling.nearest, band)
    index = np.where(flags == 1, 0, np.where(flags == 0, 1, 2)).astype(np.uint8)
    return _palette(index, [color, NO_LABEL], most)


def confidence_colors() -> list[tuple[int, int, int]]:
    """Return a colour for each `STEP` per cent of confidence, from 0 % (dark) to 100 % (light)."""
    colors = mpl.colormaps["viridis"](np.linspace(0, 1, 100 // STEP), bytes=True)
    return [(int(r), int(g), int(b)) for r, g, b, _ in colors]


def strangeness_layer(path: Path) -> MapLayer:
    """Paint distances from the training pixels in `strangeness_colors`, transparent where there is none."""
    values, colors = read_small(path, CONFIDENCE_LONGEST, Resampling.average), strangeness_colors()
    empty = values > STRANGENESS[-1][0] + 0.01
    steps = np.minimum(values * (100 / STRANGENESS_STEP), len(colors) - 1).astype(np.uint8)
    steps[empty] = len(colors)
    return _palette(steps, colors, BYTES["strangeness"])


def strangeness_colors() -> list[tuple[int, int, int]]:
    """Return a colour for each `STRANGENESS_STEP` per cent of the limit, those of the raster's style."""
    middles = np.arange(STRANGENESS_STEP / 200, STRANGENESS[-1][0], STRANGENESS_STEP / 100)
    stops = [value for value, *_ in STRANGENESS]
    parts = np.array([[int(color[i : i + 2], 16) for i in (1, 3, 5)] for _, color, _ in STRANGENESS])
    found = np.stack([np.interp(middles, stops, channel) for channel in parts.T], axis=1).round()
    return [(int(r), int(g), int(b)) for r, g, b in found]


def strangeness_legend() -> list[list[int | str]]:
    """Return what the colours of the layer mean, for the script of the map."""
    width = STRANGENESS_STEP / 100
    return [
        [*rgb, f"{i * width:.1f} to {(i + 1) * width:.1f} of the training's limit"]
        for i, rgb in enumerate(strangeness_colors())
    ]


def probability_layer(path: Path) -> ProbabilityLayer:
    """Return the probabilities of all classes in per cent, 255 without data.

    Of a large map, a pixel is the mean of a square of its pixels.
    """
    with rasterio.open(path) as src:
        count, length = src.count, max(src.shape)
    step = max(1, -(-length // PROBABILITIES_LONGEST))
    while True:
        bands = [read_small(path, length, Resampling.average, i + 1, step) for i in range(count)]
        percent = np.concatenate(bands)
        empty = ~(percent <= 1)
        percent[empty] = 0
        grey = np.rint(percent * 100).astype(np.uint8)
        grey[empty] = NODATA
        data = _encoded(Image.fromarray(grey), "PNG")
        if len(data) <= BYTES["probabilities"] or min(bands[0].shape) < 2:
            return ProbabilityLayer(_layer("png", data, grey), count, step)
        step = max(step + 1, math.ceil(step * _smaller(len(data), BYTES["probabilities"])))


def band_titles(path: Path) -> list[str]:
    """Return what the bands of a map of probabilities are of."""
    with rasterio.open(path) as src:
        return [(d or f"band {i}").removeprefix("probability of ") for i, d in enumerate(src.descriptions, 1)]


def scene_layer(picture: ScenePicture) -> MapLayer:
    """Return the picture of a scene as JPEG, at the best quality that `BYTES` allows."""
    image, most = Image.fromarray(picture.rgb), BYTES["scene"]
    while True:
        for quality in _QUALITIES:
            data = _encoded(image, "JPEG", quality=quality)
            if len(data) <= most:
                return MapLayer(_uri("jpeg", data), (image.height, image.width))
        factor = _smaller(len(data), most)
        size = max(1, int(image.width / factor)), max(1, int(image.height / factor))
        image = image.resize(size, Image.Resampling.BOX)


def read_small(
    path: Path, longest: int, resampling: Resampling, band: int = 1, step: int = 1
) -> NDArray[Any]:
    """Read a band from its overviews: at most `longest` pixels a side, each of at least `step` of the map."""
    with rasterio.open(path) as src:
        step = max(step, -(-max(src.shape) // longest))
        shape = tuple(-(-n // step) for n in src.shape)
        pixels: NDArray[Any] = src.read(band, out_shape=shape, resampling=resampling)
    return pixels


def _palette(index: NDArray[np.uint8], colors: list[tuple[int, int, int]], most: int) -> MapLayer:
    """Return an indexed PNG of at most `most` bytes; the index after the last colour is transparent."""
    bits = next(b for b in (1, 2, 4, 8) if len(colors) < 1 << b)
    opacity = b"\xff" * len(colors) + b"\0"
    while True:
        image = Image.fromarray(index)
        image.putpalette([v for rgb in (*colors, (0, 0, 0)) for v in rgb])
        data = _encoded(image, "PNG", bits=bits, transparency=opacity)
        if len(data) <= most or min(index.shape) < 2:
            return _layer("png", data, index)
        factor = _smaller(len(data), most)
        rows, cols = (_sampled(n, max(1, int(n / factor))) for n in index.shape)
        index = np.ascontiguousarray(index[rows[:, None], cols])


def _smaller(size: int, most: int) -> float:
    """Return by how much the sides of a picture of `size` bytes must shrink, at least a twentieth."""
    return max(1.05, 1.02 * math.sqrt(size / most))


def _sampled(length: int, count: int) -> NDArray[np.int64]:
    """Return the pixels in the middle of `count` equal parts of a side."""
    return ((2 * np.arange(count) + 1) * length) // (2 * count)


def _encoded(image: Image.Image, form: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, form, **options)
    return buffer.getvalue()


def _layer(kind: str, data: bytes, pixels: NDArray[np.uint8]) -> MapLayer:
    return MapLayer(_uri(kind, data), (pixels.shape[0], pixels.shape[1]))


def _uri(kind: str, data: bytes) -> str:
    return f"data:image/{kind};base64,{base64.b64encode(data).decode('ascii')}"
