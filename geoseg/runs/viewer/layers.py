"""The layers of the map of a run: which raster, in which colours, and what a pixel of it says."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geoseg.config.run_record import RecordedClass, RunRecord
from geoseg.core.run_files import RunFile
from geoseg.report.map_images import confidence_colors, strangeness_colors, value_colors
from geoseg.report.quicklook import value_limits
from geoseg.runs.viewer.tiles import Place, Raster, empty_png, png

Values = np.ma.MaskedArray[Any, Any]
Paint = Callable[[Values], NDArray[np.uint8]]
"""From pixels, shape (bands, rows, cols), to colours, shape (rows, cols, 4)."""

_BEYOND = 2.54
"""The value of a strangeness map for all that is stranger still."""
_NO_LABEL = (232, 232, 232)


@dataclass(frozen=True)
class MapLayer:
    """A raster of the run in its colours."""

    name: str
    """Part of the address of its tiles."""
    title: str
    raster: Raster
    paint: Paint
    say: Callable[[Values], str]
    """What a pixel says, shape (bands,)."""
    legend: list[tuple[str, str]] = field(default_factory=list)
    """Colours and what they mean."""
    ramp: tuple[list[str], str, str] | None = None
    """Colours from the least to the largest number, and both in words."""

    def tile(self, place: Place) -> bytes:
        """Return a tile as PNG."""
        values = self.raster.tile(place)
        return empty_png() if values is None else png(self.paint(values))


def map_layers(record: RunRecord, folder: Path) -> Iterator[MapLayer]:
    """Yield the maps of a run that lie in its folder, the one that is shown first at the beginning."""

    def here(name: RunFile) -> bool:
        return name in record.outputs and (folder / name).is_file()

    def raster(name: RunFile) -> Raster:
        return Raster(str((folder / name).absolute()))

    legend = [(c.color, c.title) for c in record.classes]
    if here(RunFile.LABELS):
        paint, say = _labels(record), _label_names(record.classes)
        yield MapLayer("labels", "Labels", raster(RunFile.LABELS), paint, say, legend)
    elif here(RunFile.CLASSES):
        paint, say = _classes(record.classes), _class_name(record.classes)
        yield MapLayer("classes", "Classes", raster(RunFile.CLASSES), paint, say, legend)
    if here(RunFile.VALUES) and (about := record.values) is not None:
        low, high = value_limits(about)
        unit = f" {about.unit}" if about.unit else ""
        yield _numbers(
            "values", about.title, raster(RunFile.VALUES), value_colors(), (low, max(high, low + 1e-9)),
            lambda v: f"{v:.4g}{unit}",
        )  # fmt: skip
    if here(RunFile.CONFIDENCE):
        yield _numbers(
            "confidence", "Confidence" if record.objects is None else "Score",
            raster(RunFile.CONFIDENCE), confidence_colors(), (0.0, 1.0),
            lambda v: f"{100 * v:.0f} %",
        )  # fmt: skip
    if here(RunFile.DISAGREEMENT):
        yield _numbers(
            "disagreement", "Disagreement", raster(RunFile.DISAGREEMENT), confidence_colors(), (0.0, 1.0),
            lambda v: f"{100 * v:.0f} %",
        )  # fmt: skip
    if here(RunFile.STRANGENESS):
        yield _numbers(
            "strangeness", "Unlike the training", raster(RunFile.STRANGENESS), strangeness_colors(),
            (0.0, _BEYOND), lambda v: f"{v:.2f} of the training's limit",
        )  # fmt: skip


def _classes(classes: list[RecordedClass]) -> Paint:
    table = np.zeros((256, 4), dtype=np.uint8)
    for c in classes:
        table[c.id] = (*_rgb(c.color), 255)

    def paint(values: Values) -> NDArray[np.uint8]:
        rgba: NDArray[np.uint8] = table[values.data[0].astype(np.uint8)]
        rgba[np.ma.getmaskarray(values)[0]] = 0
        return rgba

    return paint


def _class_name(classes: list[RecordedClass]) -> Callable[[Values], str]:
    titles = {c.id: c.title for c in classes}
    return lambda values: titles.get(int(values[0]), str(values[0]))


def _labels(record: RunRecord) -> Paint:
    """Paint the labels of a pixel, the rarest on top, as the quicklook does."""
    order = sorted(range(len(record.classes)), key=lambda i: -record.pixels.get(record.classes[i].slug, 0))

    def paint(values: Values) -> NDArray[np.uint8]:
        rgba = np.full((*values.shape[1:], 4), (*_NO_LABEL, 255), dtype=np.uint8)
        for i in order:
            rgba[values.data[i] == 1] = (*_rgb(record.classes[i].color), 255)
        rgba[np.ma.getmaskarray(values)[0]] = 0
        return rgba

    return paint


def _label_names(classes: list[RecordedClass]) -> Callable[[Values], str]:
    def say(values: Values) -> str:
        return ", ".join(c.title for c, v in zip(classes, values, strict=True) if v == 1) or "none"

    return say


def _numbers(
    name: str,
    title: str,
    raster: Raster,
    colors: list[tuple[int, int, int]],
    limits: tuple[float, float],
    say: Callable[[float], str],
) -> MapLayer:
    low, high = limits
    table = np.array([(*c, 255) for c in colors], dtype=np.uint8)

    def paint(values: Values) -> NDArray[np.uint8]:
        empty = np.ma.getmaskarray(values)[0] | ~np.isfinite(values.data[0])
        numbers = np.where(empty, low, values.data[0])
        steps = ((numbers - low) * (len(colors) / (high - low))).clip(0, len(colors) - 1)
        rgba: NDArray[np.uint8] = table[steps.astype(np.intp)]
        rgba[empty] = 0
        return rgba

    ramp = [f"#{r:02x}{g:02x}{b:02x}" for r, g, b in colors[:: max(1, len(colors) // 20)]]
    return MapLayer(name, title, raster, paint, lambda v: say(float(v[0])), ramp=(ramp, say(low), say(high)))


def _rgb(color: str) -> tuple[int, int, int]:
    return int(color[1:3], 16), int(color[3:5], 16), int(color[5:7], 16)
