"""Thresholds against fractions of Python, on the host and in torch's arrays."""

from fractions import Fraction

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from geoseg.core.legend import NODATA
from geoseg.models.backends.torch_arrays import TorchArrays
from geoseg.tiling.arrays import HOST, all_of
from geoseg.tiling.thresholds import LIKELIEST, NOTHING, Thresholds


def plainly(sums, rule):
    """Return the channel of a pixel from its sums, -1 for nodata."""
    reached = [c for c, n in enumerate(rule.least) if n and sums[c] >= n]
    if reached:
        return max(reached, key=lambda c: (Fraction(int(sums[c]), rule.least[c]), -c))
    if rule.otherwise == NOTHING:
        return -1
    if rule.otherwise >= 0:
        return rule.otherwise
    free = [c for c, n in enumerate(rule.least) if n == 0] or range(len(sums))
    return max(free, key=lambda c: (int(sums[c]), -c))


@settings(max_examples=50, deadline=None)
@given(st.integers(1, 5), st.data(), st.booleans(), st.integers(0, 10**6))
def test_the_rule_is_that_of_fractions_on_both(channels, data, every, seed):
    least = tuple(
        data.draw(st.sampled_from([0, 1 << 28, (1 << 28) + 1, 3 << 27, 1 << 30])) for _ in range(channels)
    )
    rule = Thresholds(least, data.draw(st.integers(NOTHING, channels - 1)))
    rng = np.random.default_rng(seed)
    # Few values, so that ratios are often equal, and large ones, whose products need 60 bits.
    sums = (rng.choice([0, 1 << 28, (1 << 28) + 1, 3 << 27, 1 << 29, 1 << 30], (channels, 4, 5))).astype(
        np.int32
    )
    ids = rng.permutation(255)[:channels].astype(np.uint8)
    planes = HOST.decide(sums, all_of(sums), ids, every=every, thresholds=rule)
    plain = HOST.decide(sums, all_of(sums), ids, every=True)
    for y, x in np.ndindex(4, 5):
        channel = plainly(sums[:, y, x], rule)
        if channel < 0:
            assert (planes[:, y, x] == NODATA).all()
            continue
        expected = [ids[channel], plain[2 + channel, y, x], *(plain[2:, y, x] if every else ())]
        assert planes[:, y, x].tolist() == expected
    device = TorchArrays(torch.device("cpu"))
    again = device.decide(torch.from_numpy(sums), all_of(sums), ids, every=every, thresholds=rule)
    assert (again == planes).all()


def test_a_tile_of_its_own_is_decided_alike():
    rng = np.random.default_rng(0)
    probabilities = rng.dirichlet(np.ones(3), (6, 7)).transpose(2, 0, 1).astype(np.float32)
    weights = tuple(rng.integers(1, 257, n).astype(np.int32) for n in (6, 7))
    rule = Thresholds.of(["a", "b", "c"], {"b": 0.2, "c": 0.001})
    part = slice(0, 6), slice(0, 7)
    sums = HOST.weighed(probabilities, weights, part)
    ids = np.array([7, 8, 9], np.uint8)
    found = HOST.decide_weighed(probabilities, weights, part, ids, every=True, thresholds=rule)
    assert (found == HOST.decide(sums, part, ids, every=True, thresholds=rule)).all()
    assert (found != HOST.decide(sums, part, ids, every=True)).any()


@pytest.mark.parametrize("share", [0.1, 0.3, 0.4, 0.7, 1.0])
def test_a_probability_that_equals_its_threshold_reaches_it(share):
    rule = Thresholds.of(["a", "b"], {"b": share}, NOTHING)
    steps = int(np.rint(np.float32(share) * np.float32(2**14)))
    for below in (0, 1):
        sums = np.array([2**14 - steps + below, steps - below], np.int32).reshape(2, 1, 1) << 16
        found = HOST.decide(sums, all_of(sums), np.array([1, 2], np.uint8), every=False, thresholds=rule)
        assert found[0, 0, 0] == (NODATA if below else 2)


def test_without_a_threshold_reached_the_likeliest_of_the_others_is_taken():
    sums = np.array([[0.3], [0.45], [0.25]])[..., None]
    sums = np.rint(sums * 2**14).astype(np.int32) << 16
    for shares, expected in (({"b": 0.5}, 0), ({"b": 0.4}, 1), ({"a": 0.5, "b": 0.5, "c": 0.5}, 1)):
        rule = Thresholds.of(["a", "b", "c"], shares, LIKELIEST)
        found = HOST.decide(sums, all_of(sums), np.arange(3, dtype=np.uint8), every=False, thresholds=rule)
        assert found[0, 0, 0] == expected
