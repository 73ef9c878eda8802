import warnings

import numpy as np
import pytest

from geoseg.config.scene import SceneEntry
from geoseg.config.training import Split
from geoseg.core.errors import GeosegWarning
from geoseg.scenes.labelled import Labelled
from geoseg.scenes.labels import open_labels
from geoseg.scenes.opening import open_scene
from geoseg.scenes.truth import FlagTruth, NumberTruth, Place
from geoseg.training.census import take_census
from geoseg.training.places import Pair, find_pairs, places_of
from geoseg.training.split import assign, regions_of, warn_of_leaks
from tests.conftest import BAND_NAMES, reflectance, write_raster
from tests.training.worlds import LEGEND, labelled_scene


def chip(folder, name, image, codes, crs=None, origin=(0.0, 0.0), group=None):
    """Write a chip and its labels."""
    where = {"crs": crs, "origin": origin}
    path = write_raster(folder / f"{name}.tif", image, names=BAND_NAMES, scale=0.0001, **where)
    labels = write_raster(folder / f"{name}_labels.tif", codes, **where)
    scene = open_scene(SceneEntry(uri=str(path)), name, folder)
    return Labelled(scene, open_labels(str(labels), scene.geobox), LEGEND.remap, group or name)


@pytest.fixture(scope="module")
def land():
    """Codes of 300 x 300 px in patches of some pixels, and the image of two days."""
    rng = np.random.default_rng(0)
    coarse = rng.integers(1, 4, (100, 100), dtype=np.uint8)
    days = [reflectance(300, 300, seed=s) for s in (1, 2)]
    return coarse.repeat(3, axis=0).repeat(3, axis=1), days


CUTS = {
    "a": (0, 0, 0),
    "a-later": (0, 0, 1),
    "corner": (24, 24, 1),  # 40 x 40 px of a and a-later
    "strip": (0, 61, 0),  # three columns of a, one of corner's columns and more
    "far": (150, 150, 0),
    "far-later": (140, 190, 1),
    "alone": (230, 10, 0),
}
"""First row, first column and day of chips of 64 x 64 px."""


@pytest.fixture(scope="module")
def chips(land, tmp_path_factory):
    codes, days = land
    folder, rng, made = tmp_path_factory.mktemp("chips"), np.random.default_rng(5), []
    for name, (row, col, day) in CUTS.items():
        here = np.s_[row : row + 64, col : col + 64]
        labels = codes[here].copy()
        if day:  # the map of another year differs a little
            changed = rng.random(labels.shape) < 0.004
            labels[changed] = labels[changed] % 3 + 1
        made.append(chip(folder, name, days[day][:, *here], labels))
    return made


def test_chips_that_show_the_same_land_are_found_on_any_day(chips):
    places = places_of(len(chips), find_pairs(chips), [c.name for c in chips])
    assert dict(zip(CUTS, places, strict=True)) == {
        "a": "a", "a-later": "a", "corner": "a", "strip": "a",
        "far": "far", "far-later": "far", "alone": "alone",
    }  # fmt: skip


def test_land_that_only_looks_alike_is_not_the_same(tmp_path):
    # Long fields: every row of a chip is that of any other chip, with a change or two.
    codes = [np.full((64, 64), 1, np.uint8) for _ in range(4)]
    for n, plane in enumerate(codes):
        plane[:, 10 + n :] = 2
    chips = [chip(tmp_path, f"c{n}", reflectance(64, 64, seed=n), c) for n, c in enumerate(codes)]
    assert find_pairs(chips) == ()


@pytest.mark.parametrize("kind", ["numbers", "flags"])
def test_labels_of_any_task_tell_the_same_land(land, tmp_path, kind):
    codes, days = land
    made = []
    for name in ("a", "corner", "far"):
        row, col, day = CUTS[name]
        here = np.s_[row : row + 64, col : col + 64]
        if kind == "numbers":
            labels, truth = codes[here] * np.float32(1.5), NumberTruth()
            labels[-8:] = np.nan  # where nothing is known, nothing is the same
        else:
            labels, truth = np.stack([codes[here] == 1, codes[here] > 1]).astype(np.uint8), FlagTruth("ab")
        where = {"crs": None, "origin": (0.0, 0.0)}
        pixels = days[day][:, *here]
        image = write_raster(tmp_path / f"{name}.tif", pixels, names=BAND_NAMES, scale=0.0001, **where)
        path = write_raster(tmp_path / f"{name}_labels.tif", labels, **where)
        scene = open_scene(SceneEntry(uri=str(image)), name, tmp_path)
        made.append(truth.label(Place(scene, str(path), name)))
    (pair,) = find_pairs(made)
    assert (pair.one, pair.other, pair.how) == (0, 1, "show the same land")


@pytest.mark.parametrize("keep", [1, 4])
def test_of_large_data_the_same_runs_are_kept(chips, monkeypatch, keep):
    pixels = sum(64 * 64 for _ in chips)
    monkeypatch.setattr("geoseg.training.places.MOST_HASHES", 4 * pixels // keep)
    found = {(p.one, p.other) for p in find_pairs(chips)}
    assert {(0, 1), (0, 2), (4, 5)} <= found


def test_footprints_overlap_or_touch(tmp_path):
    east = {"a": 5e5, "over": 5e5 + 320, "beside": 5e5 + 960, "far": 6e5}
    places = [
        labelled_scene(tmp_path, n, (64, 64), s, n, None, (x, 4.5e6), keep=False)
        for s, (n, x) in enumerate(east.items())
    ]
    found = {(p.one, p.other, p.how): p.share for p in find_pairs(places)}
    assert found == {
        (0, 1, "overlap"): pytest.approx(0.5, abs=0.01), (1, 2, "touch"): pytest.approx(0, abs=0.01)
    }  # fmt: skip


def test_a_pair_says_how_much_land_both_show(chips):
    names = list(CUTS)
    share = {(names[p.one], names[p.other]): p.share for p in find_pairs(chips)}
    assert share["a", "a-later"] == 1
    assert share["a", "corner"] == (40 / 64) ** 2
    assert share["a", "strip"] == 3 / 64
    assert share["far", "far-later"] == 54 * 24 / 64**2


def test_scenes_that_share_little_may_be_places_of_their_own(chips):
    pairs = find_pairs(chips, least=0.3)
    assert {p.share for p in pairs} == {p.share for p in find_pairs(chips) if p.share >= 0.3}
    places = places_of(len(chips), pairs, [c.name for c in chips])
    assert dict(zip(CUTS, places, strict=True))["strip"] == "strip"
    assert len(set(places)) == 4


def test_groups_are_places_too():
    assert places_of(4, [Pair(1, 2, "touch", 0.0)], ["g", "g", "x", "y"]) == ["g", "g", "g", "y"]


def test_a_split_by_place_leaks_nothing_and_by_file_it_is_said(chips):
    pairs = find_pairs(chips)

    def parts_of(by):
        split = Split(by=by, val=0.3, test=0.3, tries=20)
        return assign(take_census(chips, regions_of(chips, split, 64, pairs), 64, 3), split)

    with warnings.catch_warnings():
        warnings.simplefilter("error", GeosegWarning)
        warn_of_leaks(chips, parts_of("place"), pairs)
    with pytest.warns(GeosegWarning, match=r"pairs of scenes show the same land.* \(train\).*split by place"):
        warn_of_leaks(chips, parts_of("file"), pairs)
