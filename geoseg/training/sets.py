"""The data sets of a training: one, or several with their own labels that are drawn in given shares."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geoseg.config.dataset import DatasetUse
from geoseg.config.legend import LegendDocument, resolve_legend
from geoseg.config.training import Training
from geoseg.core.errors import ConfigError
from geoseg.scenes.datasets import resolve_dataset
from geoseg.scenes.labelled import Labelled
from geoseg.scenes.truth import Truth
from geoseg.training.census import CensusCell, class_counts
from geoseg.training.mapping import map_labels
from geoseg.training.truth import truth_of


@dataclass(frozen=True)
class DataSets:
    """Which scene is of which of several data sets, and how often each is drawn."""

    names: tuple[str, ...]
    weights: tuple[float, ...]
    of_scene: tuple[int, ...]
    """Index of the data set of each scene."""

    def name_of(self, cell: CensusCell) -> str:
        """Return the name of the data set of a cell."""
        return self.names[self.of_scene[cell.region.scene]]

    def odds(self, odds: NDArray[np.float64], cells: Sequence[CensusCell]) -> NDArray[np.float64]:
        """Return the probability of drawing each cell so that each data set has its share of all draws.

        Data sets without a cell have none, and the others share what is left by their weights.

        Parameters
        ----------
        odds
            Probability of each cell without data sets, shape (cells,).
        cells
            The cells.
        """
        which = np.array([self.of_scene[c.region.scene] for c in cells])
        drawn = np.zeros_like(odds)
        for number, weight in enumerate(self.weights):
            mine = which == number
            if (total := odds[mine].sum()) > 0:
                drawn[mine] = weight * odds[mine] / total
        shares: NDArray[np.float64] = drawn / drawn.sum()
        return shares


def open_data(
    document: Training, legend: LegendDocument, catalog: Path | str | None
) -> tuple[tuple[Labelled, ...], DataSets | None]:
    """Open the labelled data of a training.

    Scenes and groups of several data sets have the name of theirs in front: `alps/tile_3`.

    Returns
    -------
    labelled
        All scenes.
    sets
        None where the training has a single data set.

    Raises
    ------
    GeosegError
        When there are no such data, or their labels cannot be mapped.
    """
    if document.dataset is not None:
        truth = truth_of(document, legend)
        return resolve_dataset(document.dataset, truth, document.bands, document.data, catalog), None
    names = names_of(document.datasets)
    bands, found, of_scene = list(document.bands), [], []
    for number, (name, use) in enumerate(zip(names, document.datasets, strict=True)):
        truth = _truth(document, legend, use, f"datasets: {name}")
        mine = resolve_dataset(use.dataset, truth, bands, use.data, catalog)
        # All have the bands of the first one where the training names none.
        bands = bands or [b.common_name for b in mine[0].scene.bands]
        found += [_named(place, name) for place in mine]
        of_scene += [number] * len(mine)
    weights = tuple(use.weight for use in document.datasets)
    return tuple(found), DataSets(names, weights, tuple(of_scene))


def names_of(uses: Sequence[DatasetUse]) -> tuple[str, ...]:
    """Return the names of data sets: those given, those in the catalog, or their numbers.

    Raises
    ------
    ConfigError
        When two have one name.
    """
    names = []
    for number, use in enumerate(uses, 1):
        known = use.dataset if isinstance(use.dataset, str) else f"data{number}"
        names.append(use.name or known)
    if double := sorted({n for n in names if names.count(n) > 1}):
        raise ConfigError(f"datasets: two are called {double[0]}; tell them apart with name:")
    return tuple(names)


def _truth(document: Training, legend: LegendDocument, use: DatasetUse, where: str) -> Truth:
    if use.legend is None and not use.classes:
        return truth_of(document, legend)
    own = None if use.legend is None else resolve_legend(use.legend)
    return truth_of(document, legend, map_labels(legend, own, use.classes, where))


def _named(place: Labelled, name: str) -> Labelled:
    scene = replace(place.scene, name=f"{name}/{place.scene.name}")
    return replace(place, scene=scene, group=f"{name}/{place.group}")


def facts(
    sets: DataSets,
    labelled: Sequence[Labelled],
    parts: dict[str, tuple[CensusCell, ...]],
    titles: Sequence[str],
    sampler: str,
) -> dict[str, Any]:
    """Return what each data set has, as plain values.

    Parameters
    ----------
    sets
        The data sets.
    labelled
        All scenes.
    parts
        Cells by part.
    titles
        What is counted in cells.
    sampler
        `random`, which draws each data set by its share, or `grid`, which takes each chip once.
    """
    train = [c for c in parts["train"] if c.labelled]
    odds = np.full(len(train), 1 / max(1, len(train)))
    if sampler == "random" and train:
        odds = sets.odds(odds, train)
    told = {}
    for number, name in enumerate(sets.names):
        scenes = [p for p, of in zip(labelled, sets.of_scene, strict=True) if of == number]
        cells = {p: [c for c in own if sets.name_of(c) == name] for p, own in parts.items()}
        every = [c for own in cells.values() for c in own]
        counts = class_counts(every, len(titles)).tolist() if every else [0] * len(titles)
        gsd = sorted({round(g, 3) for p in scenes if (g := p.scene.gsd_m) is not None})
        mine = np.array([sets.name_of(c) == name for c in train], dtype=bool)
        told[name] = {
            "scenes": len(scenes),
            **({"gsd_m": gsd[0] if len(gsd) == 1 else [gsd[0], gsd[-1]]} if gsd else {}),
            "share_of_chips": round(float(odds[mine].sum()), 4),
            "chips": {p: sum(bool(c.labelled) for c in own) for p, own in cells.items()},
            "labelled_pixels": dict(zip(titles, counts, strict=True)),
        }
    return told
