"""How much each square of a map is worth labelling, by what the run wrote of it."""

import contextlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from numpy.typing import NDArray

from geoseg.core.geometry import Window
from geoseg.core.legend import NODATA, Legend
from geoseg.core.run_files import RunFile
from geoseg.scenes.windows import to_rasterio

UNCERTAIN, DISAGREEMENT, STRANGE = "uncertain", "disagreement", "strange"

_LEAST_SEEN = 0.5
"""Least share of pixels with a class in a square that is worth labelling."""


@dataclass(frozen=True)
class Scored:
    """Squares of a map, a row for each."""

    windows: tuple[Window, ...]
    scores: dict[str, NDArray[np.float64]]
    """Mean of each measure over the pixels with a class, the more the more worth labelling, (squares,)."""
    shares: NDArray[np.float64]
    """Share of each class, shape (squares, C)."""

    def __len__(self) -> int:
        return len(self.windows)

    def places(self) -> dict[str, NDArray[np.float64]]:
        """Return the place of each square among all by each measure, 0 to 1; equal ones share the lowest."""
        last = max(1, len(self) - 1)
        return {k: np.searchsorted(np.sort(v), v, "left") / last for k, v in self.scores.items()}

    def order(self) -> NDArray[np.int64]:
        """Return the squares from the most worth labelling on: by the measure in which each stands out."""
        places = np.stack(list(self.places().values()))
        return np.lexsort((-places.mean(axis=0), -places.max(axis=0)))


def layers_of(folder: Path, outputs: Mapping[str, Any]) -> dict[str, Path]:
    """Return the maps of a run that tell what is worth labelling, by measure."""
    unsure = next((n for n in (RunFile.PROBABILITIES, RunFile.CONFIDENCE) if n in outputs), None)
    named = {UNCERTAIN: unsure, DISAGREEMENT: RunFile.DISAGREEMENT, STRANGE: RunFile.STRANGENESS}
    return {kind: folder / name for kind, name in named.items() if name is not None and name in outputs}


def score(class_map: Path, layers: Mapping[str, Path], legend: Legend, size: int) -> Scored:
    """Score all squares of a side of `size` pixels that lie in a map, side by side.

    Squares of which less than half has a class are left out.
    """
    windows, rows = [], []
    with contextlib.ExitStack() as stack:
        classes = stack.enter_context(rasterio.open(class_map))
        opened = {kind: stack.enter_context(rasterio.open(path)) for kind, path in layers.items()}
        for top in range(0, classes.height - size + 1, size):
            for left in range(0, classes.width - size + 1, size):
                window = Window.of(top, left, size, size)
                here = classes.read(1, window=to_rasterio(window))
                seen = here != NODATA
                if seen.mean() < _LEAST_SEEN:
                    continue
                measures = [_MEASURES[kind](src, window, seen) for kind, src in opened.items()]
                counts = np.bincount(here[seen], minlength=256)[legend.ids]
                windows.append(window)
                rows.append((measures, counts / counts.sum()))
    measured = np.array([m for m, _ in rows]).reshape(len(rows), len(layers))
    shares = np.array([s for _, s in rows]).reshape(len(rows), len(legend))
    return Scored(tuple(windows), dict(zip(layers, measured.T, strict=True)), shares)


def _uncertain(src: rasterio.DatasetReader, window: Window, seen: NDArray[np.bool_]) -> float:
    """Return 1 less the mean confidence, or less the mean margin between the two most probable classes."""
    shares = src.read(window=to_rasterio(window))[:, seen]
    if len(shares) == 1:
        return 1 - float(shares[0].mean(dtype=np.float64))
    second, first = np.partition(shares, -2, axis=0)[-2:]
    return 1 - float((first - second).mean(dtype=np.float64))


def _mean(src: rasterio.DatasetReader, window: Window, seen: NDArray[np.bool_]) -> float:
    """Return the mean of the pixels that have a number."""
    values = src.read(1, window=to_rasterio(window))[seen].astype(np.float64)
    if src.nodata is not None:
        values = values[values != src.nodata]
    values = values[np.isfinite(values)]
    return float(values.mean()) if len(values) else 0.0


_MEASURES: dict[str, Callable[[rasterio.DatasetReader, Window, NDArray[np.bool_]], float]] = {
    UNCERTAIN: _uncertain,
    DISAGREEMENT: _mean,
    STRANGE: _mean,
}
