import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from geoseg.models.card import Card, read_card
from geoseg.models.strangeness import LIMIT, MOST, Gauge, count_unlike, gauge_of, steps_of
from tests.conftest import ROOT

LANDCOVER = ROOT / "configs/models/landcover-s2/geoseg.json"


def test_distances_are_those_of_mahalanobis():
    rng = np.random.default_rng(0)
    drawn = rng.normal(size=(3, 500)) * [[1.0], [0.1], [5.0]]
    drawn[1] += 0.05 * drawn[0]
    mean, covariance = drawn.mean(axis=1), np.cov(drawn)
    away = drawn - mean[:, None]
    expected = np.sqrt(np.einsum("ij,ik,kj->j", away, np.linalg.inv(covariance), away))
    assert Gauge.of(mean, covariance).distances(drawn) == pytest.approx(expected, rel=1e-6)


@given(st.integers(1, 60), st.integers(1, 60), st.integers(0, 59), st.integers(0, 59), st.integers(0, 5))
@settings(deadline=None, max_examples=25)
def test_no_cut_changes_a_byte(height, width, row, col, seed):
    gauge = gauge_of(read_card(LANDCOVER))
    rng = np.random.default_rng(seed)
    values = rng.integers(0, 5000, (6, 60, 60)).astype(np.uint16)
    valid = rng.random((60, 60)) > 0.2
    gain, bias = np.full(6, 1e-4, np.float32), np.full(6, -0.02, np.float32)
    whole = gauge.levels(values, valid, gain, bias)
    part = np.s_[row : row + height, col : col + width]
    assert (gauge.levels(values[:, *part], valid[part], gain, bias) == whole[part]).all()
    assert ((whole == 255) == ~valid).all()


def test_a_pixel_is_unlike_exactly_where_it_is_beyond_the_limit():
    gauge = Gauge.of(np.zeros(1), np.ones((1, 1)), 3.0)
    values = np.array([[[0.0, 3.0, 3.00001, 7.6, 7.7, 1e30, np.nan]]])
    assert gauge.levels(values).tolist() == [[0, LIMIT, LIMIT + 1, MOST, MOST, MOST, MOST]]
    valid = np.array([[True, True, True, False, True, True, False]])
    assert count_unlike(gauge.levels(values, valid)) == {"unlike": 3, "measured": 5}


def test_many_pixels_in_a_row_are_measured_in_parts(monkeypatch):
    monkeypatch.setattr("geoseg.models.strangeness._PIXELS", 7)
    gauge = Gauge.of(np.zeros(2), np.diag([4.0, 1.0]), 2.0)
    values = np.random.default_rng(0).normal(size=(2, 3, 20))
    expected = np.ceil(100 * gauge.distances(values.reshape(2, -1)) / 2).clip(0, MOST).reshape(3, 20)
    assert (gauge.levels(values) == expected).all()


def test_a_band_that_says_nothing_new_does_not_make_distances_endless():
    twice = np.array([[1.0, 1.0], [1.0, 1.0]])
    assert Gauge.of(np.zeros(2), twice).distances(np.array([[1.0], [1.0]]))[0] == pytest.approx(1, rel=1e-3)
    still = Gauge.of(np.zeros(2), np.diag([1.0, 0.0]))
    assert np.isfinite(still.distances(np.array([[1.0], [1.0]]))).all()


def test_numbers_as_they_are_stored_take_no_scale():
    card = read_card(LANDCOVER)
    raw = gauge_of(card.model_copy(update={"numbers": "raw"}))
    values = np.random.default_rng(0).uniform(0, 0.4, (6, 4, 5))
    assert (raw.levels(values, None, 1e-4, 3.0) == gauge_of(card).levels(values)).all()


def test_noise_is_as_rough_as_there_are_bands_and_land_is_smooth():
    gauge = Gauge.of(np.zeros(3), np.eye(3))
    noise = np.random.default_rng(0).normal(size=(3, 100, 100))
    valid = np.ones((100, 100), bool)
    assert gauge.texture(steps_of(noise, valid)[0]) == pytest.approx(3, rel=0.05)
    smooth = np.broadcast_to(np.linspace(0, 1, 100), (3, 100, 100))
    assert gauge.texture(steps_of(smooth, valid)[0]) < 1e-3
    valid[:, ::2] = False  # no two neighbours are left
    assert steps_of(noise, valid)[1] == 0


def test_a_card_without_covariance_has_no_gauge_and_may_not_say_a_distance():
    card = read_card(LANDCOVER)
    assert gauge_of(card.model_copy(update={"strangeness": None})) is None
    # Nor has a network of photographs.
    assert gauge_of(card.model_copy(update={"gsd_m": None})) is None
    facts = card.model_dump() | {"covariance": None}
    with pytest.raises(ValueError, match="strangeness needs the covariance"):
        Card.model_validate(facts)
    facts = card.model_dump(exclude_unset=True) | {
        "format": "geoseg-bundle/1",
        "strangeness": {"distance": 6},
    }
    with pytest.raises(ValueError, match="is a key of geoseg-bundle/2"):
        Card.model_validate(facts)
