"""Post-processing of class maps against scipy, GDAL and the plainest way to say what it is."""

import numpy as np
import pytest
import rasterio
from hypothesis import given
from hypothesis import strategies as st
from rasterio.features import sieve as gdal_sieve
from scipy import ndimage

from geoseg.config.loader import checked
from geoseg.config.pipeline import PostProcess
from geoseg.core.errors import ConfigError
from geoseg.core.geometry import Window
from geoseg.core.legend import NODATA
from geoseg.core.ordered import Workers
from geoseg.raster.postprocess import _kernels
from geoseg.raster.postprocess.filters import closed, filtered
from geoseg.raster.postprocess.passes import write_processed
from geoseg.raster.postprocess.sieve import MARGIN, SieveBlock, widest_margin
from geoseg.raster.postprocess.steps import Steps, resolve_steps
from tests.vector.maps import HERE, LEGEND, Elsewhere, many, maps, patches, save, with_hole


def processed(folder, classes, steps, *, workers=HERE, **options):
    path = folder / "processed.tif"
    write_processed(save(folder, classes), path, steps, workers, **options)
    assert sorted(p.name for p in folder.glob("processed*")) == ["processed.tif"]
    with rasterio.open(path) as src:
        assert src.nodata == NODATA
        assert src.transform.a == 10
        return src.read(1)


def disc(radius):
    y, x = np.mgrid[-radius : radius + 1, -radius : radius + 1]
    return x * x + y * y <= radius * radius


def plainly_closed(mask, radius):
    wide = np.pad(mask, 2 * radius)
    return ndimage.binary_closing(wide, disc(radius))[2 * radius : -2 * radius, 2 * radius : -2 * radius]


def plain_majority(classes, side):
    votes = np.stack(
        [
            ndimage.convolve((classes == i).astype(int), np.ones((side, side), int), mode="constant")
            for i in range(NODATA)
        ]
    )
    most = votes.max(axis=0)
    alone = (votes == most).sum(axis=0) == 1
    return np.where(alone & (classes != NODATA), votes.argmax(axis=0), classes).astype(np.uint8)


def regions_of(classes):
    labels, count = np.zeros(classes.shape, int), 0
    for value in np.unique(classes[classes != NODATA]):
        own, found = ndimage.label(classes == value)
        labels[own > 0] = own[own > 0] + count
        count += found
    return labels, count


def mixed(number):
    """splitmix64 with Python's numbers."""
    z = (number + 0x9E3779B97F4A7C15) % 2**64
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9 % 2**64
    z = (z ^ (z >> 27)) * 0x94D049BB133111EB % 2**64
    return z ^ (z >> 31)


def plain_round(classes, limit, longest):
    """Do a round of the sieve as its docstring says, with the whole map at hand."""
    labels, count = regions_of(classes)
    places = [np.argwhere(labels == i) for i in range(1, count + 1)]
    near = {i: [] for i in range(1, count + 1)}
    for a, b in ((labels[:, :-1], labels[:, 1:]), (labels[:-1], labels[1:])):
        for i, j in np.stack([a[a != b], b[a != b]], axis=1).tolist():
            if i and j:
                near[i].append(j)
                near[j].append(i)
    large, key, value = {}, {}, {}
    for i, place in enumerate(places, start=1):
        sides = np.ptp(place, axis=0) + 1
        large[i] = len(place) >= limit or sides.max() > longest
        first = int(np.ravel_multi_index(place.T, classes.shape).min())
        key[i] = len(place), mixed(first)
        value[i] = int(classes[tuple(place[0])])
    out = classes.copy()
    for i, others in near.items():
        if large[i] or not others:
            continue
        around = [j for j in others if large[j]]
        if not around:
            if not all(key[i] < key[j] and not any(large[k] for k in near[j]) for j in others):
                continue
            around = others
        borders = np.bincount([value[j] for j in around])
        out[labels == i] = borders.argmax()
    return out


def plain_sieve(classes, limit, longest=1024):
    while True:
        after = plain_round(classes, limit, longest)
        if (after == classes).all():
            return classes
        classes = after


@many(25)
@given(maps(side=7, classes=4), st.sampled_from([2, 3, 5, 12, 60]), st.integers(1, 9), st.integers(1, 3))
def test_the_sieve_is_that_of_the_plain_way_for_any_block_and_margin(tmp_path, classes, limit, block, margin):
    found = processed(tmp_path, classes, Steps(sieve=limit), block=block, margin=margin)
    assert (found == plain_sieve(classes, limit)).all()
    assert ((found == NODATA) == (classes == NODATA)).all()


@many(15)
@given(maps(side=8, classes=3), st.integers(1, 5), st.integers(1, 4))
def test_long_regions_count_as_large_for_any_block(tmp_path, classes, longest, block):
    options = {"block": block, "margin": 1, "longest": longest}
    found = processed(tmp_path, classes, Steps(sieve=40), **options)
    assert (found == plain_sieve(classes, 40, longest)).all()


@many(20)
@given(maps(side=8, classes=4), st.sampled_from([3, 5]), st.integers(1, 3), st.integers(1, 9))
def test_majority_and_closing_are_those_of_scipy_for_any_block(tmp_path, classes, side, radius, block):
    expected = plain_majority(classes, side)
    first, second = (plainly_closed(expected == i, radius) for i in (2, 0))
    own, valid = expected.copy(), expected != NODATA
    expected[first & valid] = 2
    expected[second & valid & (own != 2) & ~first] = 0
    steps = Steps(majority=side, closing=((2, radius), (0, radius)))
    assert (processed(tmp_path, classes, steps, block=block) == expected).all()


@pytest.mark.parametrize("radius", [1, 2, 3, 5, 8])
def test_a_disc_has_the_pixels_within_its_radius(radius):
    mask = np.zeros((2 * radius + 3, 2 * radius + 5), np.bool_)
    mask[radius + 1, radius + 2] = True
    assert (_kernels.dilated(mask, radius)[1:-1, 2:-2] == disc(radius)).all()
    assert _kernels.dilated(mask, radius).sum() == disc(radius).sum()


def test_regions_are_those_of_scipy(tmp_path):
    classes = with_hole(patches(1, (40, 50), width=0.7))
    labels, count = _kernels.regions(classes)
    expected, number = regions_of(classes)
    assert count == number
    assert len(np.unique(np.stack([labels, expected], axis=-1).reshape(-1, 2), axis=0)) == number + 1


def test_all_steps_are_the_same_for_any_block_size_and_order(tmp_path):
    classes = with_hole(patches(2, (90, 80), width=0.8))
    steps = Steps(majority=3, closing=((1, 2), (3, 1)), sieve=25)
    expected = processed(tmp_path, classes, steps)
    assert (expected != classes).any()
    for block in (16, 33):
        assert (processed(tmp_path, classes, steps, block=block, margin=4) == expected).all()
    elsewhere = Workers(Elsewhere(), 5)
    assert (processed(tmp_path, classes, steps, block=16, workers=elsewhere) == expected).all()
    labels, count = regions_of(expected)
    for i in range(1, count + 1):
        alone = ~(ndimage.binary_dilation(labels == i) & (labels != i) & (labels > 0)).any()
        assert (labels == i).sum() >= 25 or alone


def test_the_sieve_is_that_of_gdal_where_each_small_region_has_one_neighbour(tmp_path):
    rng = np.random.default_rng(5)
    classes = np.where(np.arange(90)[:, None] < 47, 1, 2) * np.ones((90, 70), int)
    for y in range(2, 86, 6):
        for x in range(2, 66, 6):
            high, wide = rng.integers(1, 5, 2)
            classes[y : y + high, x : x + wide] = rng.integers(3, 6)
    classes[44:50] = np.where(np.arange(44, 50)[:, None] < 47, 1, 2)  # none lies on the border
    classes = classes.astype(np.uint8)
    for limit in (2, 7, 13):
        expected = gdal_sieve(classes, limit)
        assert (expected != classes).any()
        assert (processed(tmp_path, classes, Steps(sieve=limit), block=31) == expected).all()


def test_noise_of_small_regions_becomes_large_ones_in_few_rounds(tmp_path, monkeypatch):
    from geoseg.raster.postprocess import passes

    rounds, write = [], passes._write
    monkeypatch.setattr(passes, "_write", lambda *args: (rounds.append(1), write(*args))[1])
    noise = np.random.default_rng(0).integers(0, 5, (200, 200)).astype(np.uint8)
    found = processed(tmp_path, noise, Steps(sieve=50))
    labels, _ = regions_of(found)
    assert np.bincount(labels.ravel())[1:].min() >= 50
    assert 1 < len(rounds) <= 40


def test_a_window_is_widened_only_for_a_region_that_matters(tmp_path):
    classes = np.zeros((9, 400), np.uint8)
    classes[4, 150:351] = 1  # 201 px, cut by the first window around the block
    path = save(tmp_path, classes)
    block = Window.of(0, 130, 9, 100)
    assert SieveBlock(path, block, 140)().margin == MARGIN
    assert SieveBlock(path, block, 202)().margin == 2 * MARGIN
    assert widest_margin(202) == 605
    assert widest_margin(10**9) < 3100


def test_an_example_of_each_step():
    field = np.zeros((9, 12), np.uint8)
    field[1:8, 1:11] = 1
    field[1:8, 5] = 2  # a path through it
    assert (closed(field, ((1, 2),))[2:7, 5] == 1).all()
    assert (closed(field, ((2, 1), (1, 2))) == field).all()  # the path comes first
    salt = np.zeros((5, 5), np.uint8)
    salt[2, 2], salt[0, 0] = 3, NODATA
    assert filtered(salt, Steps(majority=3)).tolist() == np.where(salt == 3, 0, salt).tolist()
    even = np.array([[0, 0, 1, 1]], np.uint8)
    assert filtered(even, Steps(majority=3)).tolist() == even.tolist()
    tie = np.array([[4, 1, 4, 2, 2]], np.uint8)
    assert filtered(tie, Steps(majority=3)).tolist() == [[4, 4, 4, 2, 2]]


def settings(**values):
    return checked(values, PostProcess, "postprocess")


def test_settings_become_ids_and_pixels():
    found = resolve_steps(settings(majority=3, closing={"c2": 4, "c1": 1}, sieve=950), LEGEND, 100.0)
    assert found == Steps(3, ((2, 4), (1, 1)), 10)
    assert found.margin == 1 + 2 * 4
    assert found.in_words(LEGEND) == "majority of 3 x 3 px; closing of c2 4 px, c1 1 px; sieve of 10 px"
    assert resolve_steps(settings(sieve="7 px"), LEGEND, None).sieve == 7
    assert not resolve_steps(settings(), LEGEND, None)
    with pytest.raises(ConfigError, match=r"postprocess.sieve: 50 is in metres, but the scene has no CRS"):
        resolve_steps(settings(sieve=50), LEGEND, None)
    with pytest.raises(ConfigError, match=r"postprocess.closing: the model has no class 'c9'"):
        resolve_steps(settings(closing={"c9": 1}), LEGEND, None)
    with pytest.raises(ConfigError, match=r"majority: .*odd"):
        settings(majority=4)
