import numpy as np
import pytest

from geoseg.evaluation.area import allocate, estimate

# The worked example of Olofsson et al. 2014 (section 5, tables 8 and 9): deforestation, forest gain, stable
# forest, stable non-forest; points by map class (rows) and reference class, and mapped pixels of 30 m.
COUNTS = np.array([[66, 0, 5, 4], [0, 55, 8, 12], [1, 0, 153, 11], [2, 1, 9, 313]])
PIXELS = np.array([200_000, 150_000, 3_200_000, 6_450_000])


def test_the_worked_example_of_the_paper_comes_out():
    found = estimate(COUNTS, PIXELS)
    assert round(float(found.overall.value), 2) == 0.95
    assert found.users.value.round(2).tolist() == [0.88, 0.73, 0.93, 0.96]
    assert found.producers.value.round(2).tolist() == [0.75, 0.85, 0.93, 0.96]
    # Deforestation: 235,086 pixels, that is 21,158 ha, with a confidence interval of 6158 ha. It was found in
    # two points of the largest stratum, in which more of it may be hidden than the two tell.
    assert round(float(found.share.value[0] * PIXELS.sum())) == 235_086
    hectares = PIXELS.sum() * 0.09
    low, high = found.share.low[0] * hectares, found.share.high[0] * hectares
    assert 21_158 - 6158 < low < 21_158 < high
    assert high == pytest.approx(21_158 + 6158, rel=0.25)


def test_many_points_give_the_intervals_of_the_paper():
    # Eq. 5, 6, 7 and 10 hold where no cell is thin: each count a hundredfold.
    counts = np.maximum(COUNTS, 1) * 100
    points = counts.sum(axis=1, keepdims=True)
    weight, cells = PIXELS / PIXELS.sum(), counts / points
    variance = cells * (1 - cells) / (points - 1)
    found, half = estimate(counts, PIXELS), 1.96
    own = np.diag(variance)
    np.testing.assert_allclose(_half(found.overall), half * np.sqrt((weight**2 * own).sum()), rtol=0.01)
    np.testing.assert_allclose(_half(found.users), half * np.sqrt(own), rtol=0.01)
    np.testing.assert_allclose(_half(found.share), half * np.sqrt(weight**2 @ variance), rtol=0.03)
    share = weight @ cells
    right = weight * np.diag(cells) / share
    others = weight**2 @ variance - weight**2 * own
    error = np.sqrt((weight * (1 - right)) ** 2 * own + right**2 * others) / share
    np.testing.assert_allclose(_half(found.producers), half * error, rtol=0.03)


def _half(limits):
    return (limits.high - limits.low) / 2


def test_the_unit_of_the_areas_does_not_matter():
    one, other = estimate(COUNTS, PIXELS), estimate(COUNTS, PIXELS * 900.0)
    np.testing.assert_allclose(one.producers, other.producers)
    np.testing.assert_allclose(one.share, other.share)


WEIGHT = np.array([0.31, 0.24, 0.27, 0.025, 0.014, 0.141])
TRUTH = np.array([
    [0.80, 0.12, 0.05, 0.010, 0.003, 0.017],
    [0.10, 0.68, 0.17, 0.020, 0.020, 0.010],
    [0.04, 0.20, 0.72, 0.020, 0.015, 0.005],
    [0.05, 0.15, 0.10, 0.650, 0.030, 0.020],
    [0.02, 0.30, 0.18, 0.050, 0.430, 0.020],
    [0.02, 0.01, 0.01, 0.005, 0.005, 0.950],
])  # fmt: skip
"""Six classes of land cover, of which built covers 2.5 % and bare 1.4 % of the map; each row adds up to 1."""


@pytest.mark.parametrize(
    "points",
    [
        (129, 100, 112, 50, 50, 59),  # 500, in proportion, 50 at least
        (50, 50, 50, 50, 50, 50),  # 300, equal
        (62, 48, 54, 5, 3, 28),  # 200, in proportion, 2 at least
    ],
)
def test_intervals_hold_the_truth_as_often_as_they_say(points):
    rng, rounds = np.random.default_rng(0), 2000
    counts = np.stack([rng.multinomial(n, p, rounds) for n, p in zip(points, TRUTH, strict=True)], axis=1)
    found, share = estimate(counts, WEIGHT), WEIGHT @ TRUTH
    right = WEIGHT * np.diag(TRUTH)
    for limits, truth, least in (
        (found.share, share, 0.92), (found.producers, right / share, 0.9), (found.overall, right.sum(), 0.92)
    ):  # fmt: skip
        held = ((limits.low <= truth) & (truth <= limits.high)).mean(axis=0)
        assert (held >= least).all(), held
        assert (held <= 0.98).all(), held
    assert (found.share.low >= 0).all()
    # No bias: the mean of many estimates is the truth.
    np.testing.assert_allclose(found.share.value.mean(axis=0), share, rtol=0.03)


def test_a_class_that_the_map_does_not_have_gets_an_area_and_no_users_accuracy():
    counts = np.array([[8, 1, 1], [1, 9, 0], [0, 0, 0]])
    found = estimate(counts, np.array([70, 30, 0]))
    assert np.isnan(found.users.value[2])
    assert found.producers.value[2] == 0
    assert found.producers.high[2] < 1e-9
    assert found.share.value[2] == pytest.approx(0.07)
    assert found.share.value.sum() == pytest.approx(1)


def test_a_stratum_with_one_point_has_no_variance():
    with pytest.raises(ValueError, match="fewer than two points"):
        estimate(np.array([[1, 0], [3, 9]]), np.array([5, 5]))


def test_a_stratum_whose_every_pixel_is_a_point_has_a_variance_of_0():
    counts = np.array([[2, 1, 0], [1, 0, 0], [4, 5, 41]])
    found = estimate(counts, np.array([300.0, 100.0, 900.0]), np.array([3, 1, 900]))
    for limits in found.users:
        assert limits[:2].tolist() == [2 / 3, 0]
    # What is left is the third stratum, nine thirteenths of the area.
    alone = estimate(np.array([[41, 9], [0, 2]]), np.array([1.0, 0.0]))
    np.testing.assert_allclose(_half(found.overall), 9 / 13 * _half(alone.overall), rtol=1e-6)
    with pytest.raises(ValueError, match="fewer than two points"):
        estimate(counts, np.array([300.0, 100.0, 900.0]), np.array([3, 2, 900]))


@pytest.mark.parametrize("seed", range(20))
def test_points_add_up_within_their_bounds_and_in_proportion(seed):
    rng = np.random.default_rng(seed)
    counts = rng.integers(0, 10 ** rng.integers(1, 8, 6))
    counts[0] += 1
    size, minimum = int(rng.integers(120, 900)), int(rng.integers(0, 21))
    points = allocate(counts / counts.sum(), counts, size, minimum)
    assert points.sum() == min(size, counts.sum())
    assert (points <= counts).all()
    assert (points >= np.minimum(minimum, counts)).all()
    free = (points > minimum) & (points < counts)
    if free.sum() > 1 and points.sum() == size:
        rate = points[free].sum() / counts[free].sum()
        assert (np.abs(points[free] - counts[free] * rate) <= 1.5).all()


def test_more_points_than_asked_for_are_refused():
    with pytest.raises(ValueError, match="at least 50 points in each class make 150, more than 100"):
        allocate(np.ones(3), np.array([500, 500, 500]), 100, 50)
