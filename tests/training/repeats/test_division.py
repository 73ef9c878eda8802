"""Folds: each unit is tested once, and is in no other part of its fold."""

from types import SimpleNamespace

import numpy as np
import pytest

from geoseg.config.training import Split
from geoseg.core.errors import ConfigError
from geoseg.training.repeats.division import divide


def cell(unit, classes):
    counts = np.array(classes)
    return SimpleNamespace(region=SimpleNamespace(unit=unit), classes=counts, labelled=int(counts.sum()))


def some_cells(units=9, seed=0):
    rng = np.random.default_rng(seed)
    return [
        cell(f"p{u}", rng.integers(0, 100, 3)) for u in range(units) for _ in range(int(rng.integers(1, 4)))
    ]


@pytest.mark.parametrize("folds", [2, 3, 8])
def test_each_unit_is_tested_once_and_lies_in_one_part_of_every_fold(folds):
    cells = some_cells()
    found = divide(cells, Split(by="place", folds=folds, val=0.2, tries=20))
    assert len(found) == folds
    tested = [c for parts in found for c in parts["test"]]
    assert sorted(map(id, tested)) == sorted(map(id, cells))
    for parts in found:
        units = {part: {c.region.unit for c in some} for part, some in parts.items()}
        assert all(units.values())
        assert not units["train"] & units["val"]
        assert not (units["train"] | units["val"]) & units["test"]
        assert sum(len(some) for some in parts.values()) == len(cells)


def test_folds_have_alike_sizes_and_class_shares():
    cells = [cell(f"p{i}", [100, 0] if i % 2 else [0, 100]) for i in range(12)]
    for parts in divide(cells, Split(by="place", folds=3, val=0.2)):
        assert sum(c.classes for c in parts["test"]).tolist() == [200, 200]


def test_a_unit_without_labels_is_no_fold_of_its_own():
    cells = [cell(f"p{i}", [50, 50]) for i in range(4)] + [cell("bare", [0, 0])]
    found = divide(cells, Split(by="place", folds=4, val=0.2))
    assert all(sum(c.labelled for c in parts["test"]) == 100 for parts in found)
    assert sum(c.region.unit == "bare" for parts in found for c in parts["test"]) == 1


def test_too_few_units_are_said_in_one_line():
    with pytest.raises(ConfigError, match=r"3 folds need 3 place\(s\) with labels at least, the data have 2"):
        divide([cell("a", [1, 1]), cell("b", [1, 1])], Split(by="place", folds=3))
