"""Temperature and vector scaling: what is fitted, and which of the two is kept."""

import numpy as np
import pytest

from geoseg.models.scaling import Scaling, VectorScaling
from geoseg.training.calibrate import (
    LogitRows,
    calibrated,
    cross_validated,
    draw_rows,
    fit_rows,
    fit_vector,
    joined,
    log_loss,
    most_rows,
)

SCALE, SHIFT = np.array([0.6, 1.5, 1.0, 2.0]), np.array([0.5, -1.0, 0.0, 0.8])


def rows_of(scale=1.0, shift=0.0, pixels=12_000, places=8, classes=4, seed=0):
    """Pixels whose labels follow from logits that scaling by class makes of those that are given."""
    rng = np.random.default_rng(seed)
    true = rng.normal(0, 2, (pixels, classes))
    p = np.exp(true) / np.exp(true).sum(axis=1, keepdims=True)
    labels = (rng.random((pixels, 1)) > p.cumsum(axis=1)).sum(axis=1).clip(max=classes - 1).astype(np.uint8)
    logits = ((true - shift) / scale).astype(np.float32)
    return LogitRows(logits, labels, np.arange(pixels, dtype=np.int64) * places // pixels), p


def probabilities(rows, scaling):
    z = scaling.apply(rows.logits.T[None, :, :, None])[0, :, :, 0].T.astype(float)
    return np.exp(z) / np.exp(z).sum(axis=1, keepdims=True)


def test_a_distortion_of_each_class_is_undone_by_vector_scaling_and_not_by_a_temperature():
    rows, true = rows_of(SCALE, SHIFT)
    found = calibrated("auto", rows, "val")
    assert np.abs(np.array(found.scaling.calibration.scale) - SCALE).max() < 0.15
    # A shift of all classes alike changes nothing.
    away = np.array(found.scaling.calibration.shift) - SHIFT
    assert np.abs(away - away.mean()).max() < 0.15
    assert np.abs(probabilities(rows, found.scaling) - true).mean() < 0.01
    assert np.abs(probabilities(rows, Scaling(fit_rows(rows))) - true).mean() > 0.03
    single, vector = cross_validated(rows, rows.units % 2)
    assert vector < single - 0.02
    assert found.told.startswith("vector scaling: negative log-likelihood 0.")
    assert "cross-validated over 2 halves of 8 places of val" in found.told


def test_the_temperature_is_kept_where_vector_scaling_is_no_better():
    rows, _ = rows_of(0.5)
    found = calibrated("auto", rows, "val")
    assert found.scaling == Scaling(fit_rows(rows))
    assert found.scaling.temperature == pytest.approx(2.0, rel=0.05)
    assert found.told.startswith(f"temperature {found.scaling.temperature:g}: negative log-likelihood")
    asked = calibrated("vector", rows, "val")
    assert asked.scaling.calibration is not None
    assert "as asked for" in asked.told
    assert calibrated("temperature", rows, "val").told == ""


def test_places_are_left_out_as_a_whole():
    # Each place has its own distortion: what is fitted on some says nothing of the others.
    parts = [rows_of(1.0, np.roll([2.5, -2.5, 0, 0], i), 1500, 1, seed=i)[0] for i in range(4)]
    rows = joined([LogitRows(r.logits, r.labels, r.units + i) for i, r in enumerate(parts)])
    alone = calibrated("auto", LogitRows(rows.logits, rows.labels, np.arange(len(rows)) % 4), "val")
    assert calibrated("auto", rows, "val").scaling.calibration is None
    by_fold = calibrated("auto", rows, "val", rows.units)
    assert by_fold.scaling.calibration is None
    assert "over 4 folds of val" in by_fold.told
    assert alone.scaling == Scaling(fit_rows(rows)) or "2 halves of 4 places" in alone.told


def test_three_places_are_too_few_to_choose():
    rows, _ = rows_of(SCALE, SHIFT, pixels=3000, places=3)
    found = calibrated("auto", rows, "val")
    assert found.scaling == Scaling(fit_rows(rows))
    assert found.told.endswith("val has 3 places, and 4 are needed to choose")
    assert calibrated("vector", rows, "val").scaling.calibration is not None


def test_a_class_that_hardly_a_pixel_shows_keeps_the_temperature():
    rows, _ = rows_of(SCALE, SHIFT, pixels=6000)
    kept = (rows.labels != 2) | (np.cumsum(rows.labels == 2) <= 20)
    rare = rows.where(kept)
    temperature = fit_rows(rare)
    found = fit_vector(rare, temperature).calibration
    assert found.scale[2] == pytest.approx(1 / temperature, rel=1e-4)
    assert found.shift[2] == 0
    assert found.scale[0] != pytest.approx(1 / temperature, rel=1e-2)


def test_what_is_fitted_is_a_minimum():
    rows, _ = rows_of(SCALE, SHIFT, pixels=4000)
    found = fit_vector(rows, fit_rows(rows))
    best = log_loss(rows, found)
    for i in range(4):
        for step in (-0.1, 0.1):
            scale = list(found.calibration.scale)
            scale[i] *= 1 + step
            other = Scaling(calibration=VectorScaling(scale=tuple(scale), shift=found.calibration.shift))
            assert log_loss(rows, other) > best


def test_pixels_are_drawn_by_the_share_of_their_place_and_always_alike():
    rng = np.random.default_rng(1)
    labels = [rng.integers(0, 3, (20, n)).astype(np.uint8) for n in (10, 30, 60)]
    labels[1][:, :15] = 255
    chips = [(i, rng.normal(size=(3, *v.shape)).astype(np.float32), v) for i, v in enumerate(labels)]
    one, two = (draw_rows(iter(chips), 200 + 300 + 1200, 170) for _ in range(2))
    assert np.bincount(one.units).tolist() == [20, 30, 120]
    assert np.array_equal(one.logits, two.logits)
    assert not (one.labels == 255).any()
    for unit, answer, label in chips:
        here = one.where(one.units == unit)
        seen = {(*z.tolist(), int(c)) for z, c in zip(here.logits, here.labels, strict=True)}
        there = zip(answer.reshape(3, -1).T, label.ravel(), strict=True)
        assert seen <= {(*z.tolist(), int(c)) for z, c in there}
    assert len(draw_rows(iter(chips), 1700, 5000)) == 1700
    assert most_rows(150, 20_000, 500_000) == 3333
