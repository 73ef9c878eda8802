import warnings

import numpy as np
import pytest

from geoseg.config.training import Split
from geoseg.core.errors import ConfigError, GeosegWarning
from geoseg.core.geometry import Window
from geoseg.training.census import CensusCell, Region, class_counts, take_census
from geoseg.training.split import PARTS, assign, regions_of, warn_of_leaks
from tests.training.worlds import Known, labelled_scene


def cell(unit, classes, place=0):
    window = Window.of(0, 0, 8, 8)
    return CensusCell(Region(place, window, unit), window, np.array(classes), 64, np.zeros(2), np.zeros(2))


def cells(groups=30, seed=0):
    rng = np.random.default_rng(seed)
    return [cell(f"g{g}", rng.integers(0, 100, 3), i) for i, g in enumerate(rng.integers(0, groups, 120))]


def test_every_cell_is_in_one_part_and_units_stay_together():
    every = cells()
    parts = assign(every, Split())
    assert sum(len(p) for p in parts.values()) == len(every)
    units = {part: {c.region.unit for c in found} for part, found in parts.items()}
    assert not units["train"] & units["val"]
    assert not units["train"] & units["test"]
    assert not units["val"] & units["test"]


def test_parts_have_about_their_shares_and_alike_classes():
    every = cells()
    parts = assign(every, Split(val=0.2, test=0.2))
    total = class_counts(every, 3)
    for part, share in (("train", 0.6), ("val", 0.2), ("test", 0.2)):
        counts = class_counts(parts[part], 3)
        assert counts.sum() / total.sum() == pytest.approx(share, abs=0.06)
        assert counts / counts.sum() == pytest.approx(total / total.sum(), abs=0.03)


def test_more_tries_never_make_the_parts_less_alike():
    def cost(tries):
        parts = assign(cells(seed=3), Split(tries=tries))
        whole = class_counts(cells(seed=3), 3)
        shares = [class_counts(parts[p], 3) / class_counts(parts[p], 3).sum() for p in PARTS]
        return sum(np.abs(np.log(s / (whole / whole.sum()))).sum() for s in shares)

    assert cost(500) <= cost(1) + 1e-9


def test_the_same_seed_divides_alike():
    one, two = (assign(cells(), Split(tries=20)) for _ in range(2))
    assert [[c.region for c in one[p]] for p in PARTS] == [[c.region for c in two[p]] for p in PARTS]


def test_three_units_are_enough_for_three_parts():
    parts = assign([cell("a", [9, 9, 9]), cell("b", [9, 1, 2]), cell("c", [5, 5, 5])], Split(tries=50))
    assert all(len(p) == 1 for p in parts.values())


def test_too_few_units_are_refused():
    with pytest.raises(ConfigError, match=r"2 group.s. cannot be divided into 3 parts"):
        assign([cell("a", [1, 1, 1]), cell("b", [1, 1, 1])], Split())


def test_given_parts_are_taken_as_they_are():
    every = [cell("train", [1, 2, 3]), cell("val", [1, 1, 1])]
    parts = assign(every, Split(by="given"))
    assert [len(parts[p]) for p in PARTS] == [1, 1, 0]
    with pytest.raises(ConfigError, match="needs a part"):
        assign([*every, cell("", [1, 1, 1])], Split(by="given"))


def test_a_part_without_labels_is_refused():
    every = [cell("train", [1, 2, 3]), cell("val", [0, 0, 0])]
    assign(every, Split(by="given"))  # nobody asked for this val
    with pytest.raises(ConfigError, match="holds no labelled pixel"):
        assign([cell("a", [1, 1, 1]), cell("b", [0, 0, 0])], Split(test=0, val=0.4, tries=5))


def test_blocks_keep_the_buffer_between_them():
    split = Split(by="block", block=64, buffer=10)
    place = Known(np.zeros((200, 130), np.uint8))
    regions = regions_of([place], split, 32)
    assert len(regions) == 3 * 2
    covered = np.zeros((200, 130), int)
    for r in regions:
        covered[r.window.rows.start : r.window.rows.stop, r.window.cols.start : r.window.cols.stop] += 1
    assert covered.max() == 1
    gaps = np.flatnonzero(covered[:, 0] == 0)
    assert len(gaps) == 2 * 10
    assert covered[0, 0] == covered[-1, -1] == 1  # no buffer at the scene's border


def test_blocks_too_small_for_a_chip_are_refused():
    with pytest.raises(ConfigError, match="cannot hold a chip of 64 px"):
        regions_of([Known(np.zeros((99, 99), np.uint8))], Split(by="block", block=64, buffer=10), 64)


def divide(places, split, tmp_path):
    regions = regions_of(places, split, 32)
    return assign(take_census(places, regions, 32, 3), split)


def test_overlapping_scenes_in_two_parts_are_said(tmp_path):
    places = [
        labelled_scene(tmp_path, n, (64, 64), s, n, part, (5e5 + east, 4.5e6), keep=False)
        for s, (n, part, east) in enumerate([("a", "train", 0), ("b", "val", 320), ("c", "test", 9000)])
    ]
    parts = divide(places, Split(by="given"), tmp_path)
    with pytest.warns(GeosegWarning, match="1 of 1 regions of val overlap train"):
        warn_of_leaks(places, parts)


def test_test_must_not_overlap_val_either(tmp_path):
    places = [
        labelled_scene(tmp_path, n, (64, 64), s, n, part, (5e5 + east, 4.5e6), keep=False)
        for s, (n, part, east) in enumerate([("a", "train", 9000), ("b", "val", 0), ("c", "test", 320)])
    ]
    with pytest.warns(GeosegWarning, match="1 of 1 regions of test overlap val"):
        warn_of_leaks(places, divide(places, Split(by="given"), tmp_path))


def test_scenes_that_only_touch_and_blocks_with_a_buffer_do_not_leak(tmp_path):
    places = [
        labelled_scene(tmp_path, n, (64, 64), s, n, part, (5e5 + 640 * s, 4.5e6), keep=False)
        for s, (n, part) in enumerate([("a", "train"), ("b", "val")])
    ]
    with warnings.catch_warnings():
        warnings.simplefilter("error", GeosegWarning)
        warn_of_leaks(places, divide(places, Split(by="given"), tmp_path))
        one = [labelled_scene(tmp_path, "d", (200, 200), keep=False)]
        warn_of_leaks(one, divide(one, Split(by="block", block=64, buffer=0, tries=5), tmp_path))
