import numpy as np
import pytest

from geoseg.evaluation.area import Z95, allocate, estimate

# The worked example of Olofsson et al. 2014 (section 5, tables 8 and 9): deforestation, forest gain, stable
# forest, stable non-forest; points by map class (rows) and reference class, and mapped pixels of 30 m.
COUNTS = np.array([[66, 0, 5, 4], [0, 55, 8, 12], [1, 0, 153, 11], [2, 1, 9, 313]])
PIXELS = np.array([200_000, 150_000, 3_200_000, 6_450_000])


def test_the_worked_example_of_the_paper_comes_out():
    found = estimate(COUNTS, PIXELS)
    assert (round(found.overall, 2), round(Z95 * found.overall_se, 2)) == (0.95, 0.02)
    assert found.users.round(2).tolist() == [0.88, 0.73, 0.93, 0.96]
    assert (Z95 * found.users_se).round(2).tolist() == [0.07, 0.10, 0.04, 0.02]
    assert found.producers.round(2).tolist() == [0.75, 0.85, 0.93, 0.96]
    # Quoted from the paper are 0.21, 0.23, 0.03 and 0.01. Its eq. 7 gives 0.25, not 0.23, and 0.02, not 0.01,
    # from these counts; the bootstrap below gives 0.24 and 0.02.
    assert (Z95 * found.producers_se).round(2).tolist() == [0.21, 0.25, 0.03, 0.02]
    # Deforestation: 235,086 pixels, that is 21,158 ha, with a confidence interval of 6158 ha.
    assert round(float(found.share[0] * PIXELS.sum())) == 235_086
    hectares = PIXELS.sum() * 0.09
    assert round(float(found.share[0] * hectares)) == 21_158
    assert float(Z95 * found.share_se[0] * hectares) == pytest.approx(6158, abs=2)


def test_the_errors_of_the_worked_example_are_those_of_a_bootstrap():
    rng, rounds = np.random.default_rng(0), 20_000
    points, weight = COUNTS.sum(axis=1), PIXELS / PIXELS.sum()
    drawn = [rng.multinomial(n, row / n, rounds) / n for n, row in zip(points, COUNTS, strict=True)]
    cells = np.stack(drawn, axis=1) * weight[:, None]
    share, right = cells.sum(axis=1), np.diagonal(cells, axis1=1, axis2=2)
    found = estimate(COUNTS, PIXELS)
    np.testing.assert_allclose(right.sum(axis=1).std(), found.overall_se, rtol=0.03)
    np.testing.assert_allclose(share.std(axis=0), found.share_se, rtol=0.03)
    # Eq. 7 is linear; the share of forest gain hangs on one point, and is not.
    np.testing.assert_allclose((right / share).std(axis=0), found.producers_se, rtol=0.08)


def test_the_unit_of_the_areas_does_not_matter():
    one, other = estimate(COUNTS, PIXELS), estimate(COUNTS, PIXELS * 900.0)
    np.testing.assert_allclose(one.producers_se, other.producers_se)
    np.testing.assert_allclose(one.share_se, other.share_se)


def test_intervals_hold_the_truth_about_as_often_as_they_say():
    rng = np.random.default_rng(0)
    truth = np.array([[0.8, 0.15, 0.05], [0.1, 0.85, 0.05], [0.02, 0.03, 0.95]])
    weight = np.array([0.1, 0.3, 0.6])
    share, hits = weight @ truth, np.zeros(3)
    producers, hits_producers = weight * np.diag(truth) / share, np.zeros(3)
    for _ in range(600):
        found = estimate(np.array([rng.multinomial(100, p) for p in truth]), weight)
        hits += np.abs(found.share - share) <= Z95 * found.share_se
        hits_producers += np.abs(found.producers - producers) <= Z95 * found.producers_se
    assert (hits / 600 > 0.9).all()
    assert (hits_producers / 600 > 0.88).all()


def test_a_class_that_the_map_does_not_have_gets_an_area_and_no_users_accuracy():
    counts = np.array([[8, 1, 1], [1, 9, 0], [0, 0, 0]])
    found = estimate(counts, np.array([70, 30, 0]))
    assert np.isnan(found.users[2])
    assert found.producers[2] == 0
    assert found.share[2] == pytest.approx(0.07)
    assert found.share.sum() == pytest.approx(1)


def test_a_stratum_with_one_point_has_no_variance():
    with pytest.raises(ValueError, match="fewer than two points"):
        estimate(np.array([[1, 0], [3, 9]]), np.array([5, 5]))


def test_a_stratum_whose_every_pixel_is_a_point_has_a_variance_of_0():
    counts = np.array([[2, 1, 0], [1, 0, 0], [4, 5, 41]])
    found = estimate(counts, np.array([300.0, 100.0, 900.0]), np.array([3, 1, 900]))
    assert found.users[:2].tolist() == [2 / 3, 0]
    assert found.users_se[:2].tolist() == [0, 0]
    # What is left is the third stratum, nine thirteenths of the area.
    assert found.share_se[0] == pytest.approx(9 / 13 * np.sqrt(0.08 * 0.92 / 49))
    assert found.overall_se == pytest.approx(9 / 13 * np.sqrt(0.82 * 0.18 / 49))
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
