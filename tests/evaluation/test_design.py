import numpy as np
import pytest

from geoseg.core.errors import ConfigError
from geoseg.evaluation.design import (
    Design,
    allocated,
    conjecture_from,
    conjecture_of,
    expected_widths,
    points_per_class,
)

PIXELS = np.array([600_000, 300_000, 90_000, 10_000])
CONJECTURE = conjecture_of(PIXELS, np.array([0.95, 0.9, 0.8, 0.5]), "")


def points_of(size, allocation, minimum=0, target=(), pixels=PIXELS, conjecture=CONJECTURE):
    return points_per_class(pixels, size, allocation, minimum, conjecture, target)


def test_allocations():
    assert points_of(120, "equal").tolist() == [30] * 4
    np.testing.assert_allclose(points_of(900, "proportional"), 900 * PIXELS / 1e6, atol=1)
    spread = PIXELS / 1e6 * np.sqrt([0.95 * 0.05, 0.9 * 0.1, 0.8 * 0.2, 0.5 * 0.5])
    np.testing.assert_allclose(points_of(900, "neyman-like"), 900 * spread / spread.sum(), atol=1)
    with pytest.raises(ConfigError, match="make 200, more than 100; ask for more with --size"):
        points_of(100, "equal", 50)


def test_no_allocation_of_as_many_points_tells_an_area_better():
    rng = np.random.default_rng(0)
    errors, shares = CONJECTURE.errors, CONJECTURE.shares

    def variance(points):
        return (shares**2 * errors[:, 3] * (1 - errors[:, 3]) / points).sum()

    best = variance(points_of(1000, "area", target=[3]))
    assert best < variance(points_of(1000, "proportional"))
    for _ in range(50):
        other = rng.multinomial(1000 - 8, rng.dirichlet(np.ones(4))) + 2
        assert best <= variance(other) * 1.001


@pytest.mark.parametrize("minimum", [0, 1, 2])
@pytest.mark.parametrize("allocation", ["proportional", "equal", "area"])
def test_every_class_gets_two_points_or_its_only_pixel(allocation, minimum):
    pixels = np.array([1_000_000, 1, 2, 0, 30])
    conjecture = conjecture_of(pixels, 0.8, "")
    points = points_of(9, allocation, minimum, pixels=pixels, conjecture=conjecture)
    assert points.sum() == 9
    assert points[1:4].tolist() == [1, 2, 0]
    assert points[[0, 4]].min() >= 2
    with pytest.raises(
        ConfigError, match=r"at least 2 points in each class make 7, more than 6; ask for more with --size$"
    ):
        points_of(6, allocation, minimum, pixels=pixels, conjecture=conjecture)


def test_errors_add_up_and_a_pilot_tells_them():
    np.testing.assert_allclose(CONJECTURE.errors.sum(axis=1), 1)
    np.testing.assert_allclose(np.diag(CONJECTURE.errors), [0.95, 0.9, 0.8, 0.5])
    counts = np.array([[480, 20, 0, 0], [50, 440, 10, 0], [0, 0, 100, 0], [1, 0, 0, 1]])
    pilot = conjecture_from(PIXELS, counts)
    np.testing.assert_allclose(pilot.errors.sum(axis=1), 1)
    assert (pilot.errors > 0).all()
    np.testing.assert_allclose(pilot.errors[0, :2], [0.96, 0.04], atol=0.002)


def test_the_size_is_the_least_that_is_expected_to_do():
    design = Design(minimum=20, for_area=("rare",), within=0.2)
    points = allocated(design, PIXELS, CONJECTURE, [3])
    assert expected_widths(CONJECTURE, points, PIXELS)[3] <= 0.2
    fewer = points_per_class(PIXELS, int(points.sum()) - 1, "area", 20, CONJECTURE, [3])
    assert expected_widths(CONJECTURE, fewer, PIXELS)[3] > 0.2
    with pytest.raises(ConfigError, match=r"--within 0\.0001: not even 1,000,000 points"):
        allocated(Design(for_area=("rare",), within=0.0001), PIXELS, CONJECTURE, [3])


def test_what_is_expected_comes_about():
    rng = np.random.default_rng(0)
    from geoseg.evaluation.area import estimate

    points = points_of(800, "proportional", 50)
    drawn = [rng.multinomial(n, p, 400) for n, p in zip(points, CONJECTURE.errors, strict=True)]
    share = estimate(np.stack(drawn, axis=1), CONJECTURE.shares).share
    widths = np.median((share.high - share.low) / 2 / share.value, axis=0)
    np.testing.assert_allclose(widths, expected_widths(CONJECTURE, points, PIXELS), rtol=0.15)
