import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from geoseg.tiling.arrays import HOST, all_of


def confidence(sums):
    """Give the confidence plane of one channel."""
    one = np.array(sums, dtype=np.int32)[None, None]
    return HOST.decide(one, all_of(one), np.array([9], np.uint8), every=False)[1, 0]


@settings(max_examples=100, deadline=None)
@given(st.lists(st.integers(0, 2**30), min_size=1, max_size=50))
def test_percent_rounds_to_the_nearest_whole(sums):
    exact = np.array(sums, dtype=np.int64) * 100 / 2**30
    found = confidence(sums)
    assert found.dtype == np.uint8
    # Seven bits are dropped on the way, a hundred-thousandth of a percent.
    assert np.abs(found - exact).max() <= 0.5 + 2e-5


@pytest.mark.parametrize(
    ("share", "expected"),
    [(0.0, 0), (1.0, 100), (0.5, 50), (1 / 8, 13), (3 / 8, 38), (0.004, 0), (0.0051, 1)],
)
def test_percent_of_known_shares_rounds_half_up(share, expected):
    assert confidence([round(share * 2**30)]).tolist() == [expected]


@settings(max_examples=100, deadline=None)
@given(st.integers(1, 9), st.integers(1, 6), st.integers(1, 6), st.booleans(), st.integers(0, 10**6))
def test_the_class_is_the_argmax_and_the_first_of_equals(channels, height, width, every, seed):
    rng = np.random.default_rng(seed)
    sums = rng.integers(0, 4, (channels, height, width)).astype(np.int32) * 2**28
    ids = rng.permutation(255)[:channels].astype(np.uint8)
    before = sums.copy()
    planes = HOST.decide(sums, all_of(sums), ids, every=every)
    assert planes.dtype == np.uint8
    assert planes.shape == (2 + every * channels, height, width)
    assert (planes[0] == ids[sums.argmax(axis=0)]).all()
    assert (planes[1] == 25 * (sums.max(axis=0) >> 28)).all()
    if every:
        assert (planes[2:] == 25 * (sums >> 28)).all()
    assert (sums == before).all()


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 5), st.data(), st.booleans())
def test_parts_of_a_tile_say_the_same_with_and_without_sums_between(channels, data, every):
    rng = np.random.default_rng(channels)
    probabilities = rng.random((channels, 9, 11), dtype=np.float32)
    weights = tuple(rng.integers(0, 257, n).astype(np.int32) for n in (9, 11))
    part = tuple(
        slice(*sorted(data.draw(st.lists(st.integers(0, n), min_size=2, max_size=2)))) for n in (9, 11)
    )
    ids = np.arange(channels, dtype=np.uint8)
    rounded = np.rint(probabilities * 2**14).astype(np.int32) * np.outer(*weights)
    sums = HOST.weighed(probabilities, weights, part)
    assert sums.dtype == np.int32
    assert (sums == rounded[:, *part]).all()
    planes = HOST.decide_weighed(probabilities, weights, part, ids, every=every)
    assert (planes == HOST.decide(rounded.astype(np.int32), part, ids, every=every)).all()
    canvas = HOST.zeros((channels, 12, 14))
    here = tuple(slice(p.start + 2, p.stop + 2) for p in part)
    HOST.add(canvas, here, probabilities, weights, part)
    assert (canvas[:, *here] == sums).all()
    assert canvas.sum(dtype=np.int64) == sums.sum(dtype=np.int64)


@pytest.mark.parametrize("count", [1, 2, 4])
def test_a_stack_is_filled_up_with_zeros(count):
    parts = [np.full((2, 3), k + 1, np.uint16) for k in range(min(count, 3))]
    stacked = HOST.stack(parts, count)
    assert stacked.dtype == np.uint16
    assert stacked.shape == (count, 2, 3)
    assert [int(s.max()) for s in stacked] == [1, 2, 3, 0][:count]
