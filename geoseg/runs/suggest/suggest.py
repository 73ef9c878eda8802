"""From a finished run to the file of the places that are most worth labelling."""

import warnings
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox

from geoseg.config.run_record import RunRecord
from geoseg.core.errors import BundleError, ConfigError, GeosegWarning, SceneError, one_line
from geoseg.core.geometry import Window
from geoseg.core.legend import Legend
from geoseg.core.run_files import RunFile
from geoseg.models.bundle import CARD, find_bundle
from geoseg.models.card import read_card
from geoseg.runs.record import read_record
from geoseg.runs.suggest.choose import choose, comparable
from geoseg.runs.suggest.score import Scored, layers_of, score
from geoseg.runs.suggest.write import write_places
from geoseg.scenes.opening import reopen_scene
from geoseg.scenes.scene import Scene
from geoseg.storage.store import open_store
from geoseg.storage.workspace import local_copy

_POOL = 8
"""Squares that are looked at for each that is chosen: those most worth labelling, of which some differ."""


@dataclass(frozen=True)
class Suggestion:
    """Places that were written."""

    path: Path
    size: int
    """Side of a place in pixels."""
    reasons: dict[str, int]
    """Places by what makes each of them stand out."""
    candidates: int
    """Squares of the map that were compared."""

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        return {
            "path": str(self.path), "places": sum(self.reasons.values()), "size": self.size,
            "reasons": self.reasons, "candidates": self.candidates,
        }  # fmt: skip

    def to_text(self) -> str:
        """Return the result for people, and what to do next."""
        listed = ", ".join(f"{n} {reason}" for reason, n in self.reasons.items())
        return (
            f"{self.path}: {sum(self.reasons.values())} places of {self.size} x {self.size} px out of "
            f"{self.candidates} ({listed})\n"
            "draw polygons into its layer labels, in QGIS, each with a class; then train with\n"
            f"dataset: {{kind: places, files: [{self.path}]}}"
        )


def suggest(
    place: Path | str, output: Path, *, count: int = 20, size: int | None = None, seed: int = 0
) -> Suggestion:
    """Write the places of a run that are most worth labelling.

    Parameters
    ----------
    place
        The run folder, or its URI.
    output
        The GeoPackage to write.
    count
        Places at most.
    size
        Side of a place in pixels; default: that of the chips that the network was trained on, else a tile.
    seed
        The same seed chooses the same places.

    Raises
    ------
    OutputError
        When there is no finished run, or the file cannot be written.
    ConfigError
        When the run has no class map with a CRS, nothing says what is worth labelling, or no square of that
        size is in the map.
    """
    store = open_store(place)
    record = read_record(store)
    legend = _check(record)
    side = size or _chip_size(record)
    with local_copy(store) as folder:
        layers = layers_of(folder, record.outputs)
        if not layers:
            raise ConfigError(
                f"{place}: says nothing of what is worth labelling; run it with outputs.confidence: true"
            )
        with rasterio.open(folder / RunFile.CLASSES) as src:
            geobox = GeoBox(src.shape, src.transform, src.crs)
        if geobox.crs is None:
            raise ConfigError(
                f"{place}: its map has no CRS, and polygons of labels need one; label rasters of its shape"
            )
        scored = score(folder / RunFile.CLASSES, layers, legend, side)
    if not len(scored):
        raise ConfigError(
            f"{place}: no square of {side} px with data lies in its map of {geobox.shape.x} x "
            f"{geobox.shape.y} px; choose a smaller --size"
        )
    chosen, reasons = _chosen(record, scored, count, seed)
    write_places(
        output, geobox, [scored.windows[i] for i in chosen], _columns(scored, chosen, reasons), legend,
        {
            "run": record.name, "fingerprint": record.fingerprint, "size": side, "seed": seed,
            "scene": _absolute(record.identity["scene"]),
        },
    )  # fmt: skip
    return Suggestion(output, side, dict(Counter(reasons)), len(scored))


def _check(record: RunRecord) -> Legend:
    if record.task != "classes":
        raise ConfigError(
            f"{record.name}: is of task {record.task}; places are suggested for maps of one class a pixel"
        )
    return Legend.of(record.classes)


def _chip_size(record: RunRecord) -> int:
    """Return the side of the chips that the network was trained on; a tile where that is not known."""
    model = record.pipeline.get("model", "")
    try:
        card = read_card(find_bundle(model if isinstance(model, str) else model[0]) / CARD)
        return int((card.training or {})["chips"]["size"])
    except (BundleError, LookupError, TypeError, ValueError):
        return min(record.plan.tile)


def _chosen(record: RunRecord, scored: Scored, count: int, seed: int) -> tuple[list[int], list[str]]:
    """Return the chosen squares by rank, and what makes each stand out."""
    pool = scored.order()[: _POOL * count]
    places = scored.places()
    worth = np.stack(list(places.values())).max(axis=0)
    # Square roots make equal changes of small and of large shares count more alike.
    groups = [np.sqrt(scored.shares[pool])]
    means = _band_means(record, [scored.windows[i] for i in pool])
    features = comparable(*groups, *([] if means is None else [means]))
    taken = pool[choose(features, worth[pool], count, seed)]
    rank = {int(i): n for n, i in enumerate(pool)}
    chosen = sorted(map(int, taken), key=rank.__getitem__)
    return chosen, [max(places, key=lambda kind: places[kind][i]) for i in chosen]


def _band_means(record: RunRecord, windows: list[Window]) -> NDArray[np.float64] | None:
    """Return the mean of each band in windows, in physical units; None where the scene cannot be read."""
    try:
        scene, changed = reopen_scene(record.identity["scene"])
        found = np.array([_means(scene, w) for w in windows])
    except SceneError as error:
        warnings.warn(
            f"the scene cannot be read, so places differ by their classes alone: {one_line(error)}",
            GeosegWarning,
            stacklevel=2,
        )
        return None
    if changed:
        warnings.warn(f"{scene.name}: its files were written to since the run", GeosegWarning, stacklevel=2)
    physical: NDArray[np.float64] = found * scene.gain.astype(np.float64) + scene.bias
    return physical


def _means(scene: Scene, window: Window) -> NDArray[np.float64]:
    pixels = scene.read(window)
    means: NDArray[np.float64] = pixels.values[:, pixels.valid].mean(axis=1, dtype=np.float64)
    return means


def _columns(scored: Scored, chosen: list[int], reasons: list[str]) -> dict[str, Any]:
    worth = np.stack(list(scored.places().values())).max(axis=0)
    return {
        "reason": reasons,
        "score": worth[chosen].round(4),
        **{kind: values[chosen].round(4) for kind, values in scored.scores.items()},
    }


def _absolute(node: Any) -> Any:
    """Return the identity of a scene with absolute paths, since the file is used from other folders."""
    if isinstance(node, dict):
        return {k: v if k in {"name", "crs"} else _absolute(v) for k, v in node.items()}
    if isinstance(node, list | tuple):
        return [_absolute(v) for v in node]
    if isinstance(node, str) and len(node) < 4096 and "://" not in node and Path(node).is_file():
        return str(Path(node).absolute())
    return node
