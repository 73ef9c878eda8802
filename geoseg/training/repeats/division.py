"""Divide labelled data into folds, each of which is tested once by networks that trained on the others."""

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from geoseg.config.training import Split
from geoseg.core.errors import ConfigError
from geoseg.training.census import CensusCell
from geoseg.training.split import assign

_MOST_STEPS = 300_000
"""Assignments of a unit to a fold that all tries together may make: about a second."""


def divide(cells: Sequence[CensusCell], split: Split) -> tuple[dict[str, tuple[CensusCell, ...]], ...]:
    """Return for each fold the cells of train, val and test.

    Test is the fold; val is taken from the units that are left, so it chooses epoch and temperature without
    looking at test. Of many random divisions this takes the one whose folds have the most similar class
    shares, measured as in `geoseg.training.split.assign`.

    Parameters
    ----------
    cells
        All cells of the data.
    split
        Rules of the split, with `folds`.

    Raises
    ------
    ConfigError
        When there are too few units with labels.
    """
    count = split.folds or 1
    units = units_of(cells)
    if len(units) < count:
        raise ConfigError(
            f"split.folds: {count} folds need {count} {split.by}(s) with labels at least, the data have "
            f"{len(units)}; use fewer folds" + ("" if split.by == "block" else ", or split by: block")
        )
    fold_of = _most_similar(units, cells, split, count)
    found = []
    for fold in range(count):
        test = tuple(c for c in cells if fold_of.get(c.region.unit, 0) == fold)
        rest = [c for c in cells if fold_of.get(c.region.unit, 0) != fold]
        # The share of val is one of all data, here of those that are left.
        others = without_test(split).model_copy(update={"val": split.val / (1 - 1 / count)})
        found.append({**assign(rest, others), "test": test})
    return tuple(found)


def without_test(split: Split) -> Split:
    """Return the rules that divide all data into train and val."""
    return split.model_copy(update={"folds": None, "test": 0.0})


def units_of(cells: Sequence[CensusCell]) -> list[str]:
    """Return the names of the units that have labelled pixels."""
    return sorted({c.region.unit for c in cells if c.labelled})


def _most_similar(
    units: Sequence[str], cells: Sequence[CensusCell], split: Split, count: int
) -> dict[str, int]:
    number = {unit: i for i, unit in enumerate(units)}
    counts = np.zeros((len(units), len(cells[0].classes)))
    size = np.zeros(len(units))
    for cell in cells:
        if cell.labelled:
            counts[number[cell.region.unit]] += cell.classes
            size[number[cell.region.unit]] += cell.labelled
    everywhere = np.log(counts.sum(axis=0) / size.sum() + 1e-4)
    rng = np.random.default_rng(split.seed)
    best, best_cost = np.zeros(len(units), dtype=np.intp), math.inf
    for _ in range(max(10, min(split.tries, _MOST_STEPS // len(units)))):
        fold = _fill(rng.permutation(len(units)).tolist(), size.tolist(), count)
        cost = 0.0
        for f in range(count):
            of_fold = counts[fold == f].sum(axis=0) / size[fold == f].sum()
            cost += float(np.abs(np.log(of_fold + 1e-4) - everywhere).sum())
        if cost < best_cost:
            best, best_cost = fold, cost
    return {unit: int(f) for unit, f in zip(units, best, strict=True)}


def _fill(order: Sequence[int], size: Sequence[float], count: int) -> NDArray[np.intp]:
    """Assign units in this order, each to the fold with the fewest pixels: none stays empty."""
    filled, fold = [0.0] * count, np.empty(len(order), dtype=np.intp)
    for unit in order:
        fold[unit] = least = filled.index(min(filled))
        filled[least] += size[unit]
    return fold
