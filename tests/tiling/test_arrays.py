import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from geoseg.tiling.arrays import HOST


def confidence(sums):
    """Give the confidence plane of one channel."""
    return HOST.decide(np.array(sums, dtype=np.int32)[None, None], np.array([9], np.uint8), every=False)[1, 0]


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
    planes = HOST.decide(sums, ids, every=every)
    assert planes.dtype == np.uint8
    assert planes.shape == (2 + every * channels, height, width)
    assert (planes[0] == ids[sums.argmax(axis=0)]).all()
    assert (planes[1] == 25 * (sums.max(axis=0) >> 28)).all()
    if every:
        assert (planes[2:] == 25 * (sums >> 28)).all()
    assert (sums == before).all()


@pytest.mark.parametrize("count", [1, 2, 4])
def test_a_stack_is_filled_up_with_zeros(count):
    parts = [np.full((2, 3), k + 1, np.uint16) for k in range(min(count, 3))]
    stacked = HOST.stack(parts, count)
    assert stacked.dtype == np.uint16
    assert stacked.shape == (count, 2, 3)
    assert [int(s.max()) for s in stacked] == [1, 2, 3, 0][:count]
