import numpy as np
import pytest
import torch
from sklearn.metrics import brier_score_loss
from torchmetrics.functional.classification import multiclass_calibration_error

from geoseg.evaluation.calibration import Calibration

RNG = np.random.default_rng(2)
P = RNG.dirichlet([0.6, 0.9, 0.4, 0.7], (30, 40)).transpose(2, 0, 1)
TRUTH = RNG.integers(0, 4, (30, 40)).astype(np.uint8)
TRUTH[:3] = 255
KNOWN = TRUTH != 255


def test_the_calibration_error_is_that_of_torchmetrics():
    mine = Calibration()
    mine.add(P, TRUTH)
    theirs = multiclass_calibration_error(
        torch.from_numpy(P[:, KNOWN].T),
        torch.from_numpy(TRUTH[KNOWN].astype(np.int64)),
        4,
        n_bins=15,
        norm="l1",
    )
    assert mine.expected_calibration_error == pytest.approx(float(theirs), abs=1e-6)


def test_the_brier_score_is_that_of_scikit_learn():
    mine = Calibration()
    mine.add(P, TRUTH)
    # For two classes scikit-learn counts one of both, half of Brier's sum.
    each = sum(brier_score_loss(TRUTH[KNOWN] == c, P[c][KNOWN]) for c in range(4))
    assert mine.brier == pytest.approx(each)


@pytest.mark.parametrize("rows", [1, 7, 30])
def test_batches_do_not_change_the_figures(rows):
    whole, parts = Calibration(), Calibration()
    whole.add(P, TRUTH)
    for start in range(0, 30, rows):
        parts.add(P[:, start : start + rows], TRUTH[start : start + rows])
    assert parts.brier == pytest.approx(whole.brier, rel=1e-12)
    assert parts.to_dict() == whole.to_dict()


def test_confidence_alone_gives_the_same_error_and_no_brier_score():
    whole, top = Calibration(), Calibration()
    whole.add(P, TRUTH)
    top.add_confidence(P.max(axis=0)[KNOWN], (P.argmax(axis=0) == TRUTH)[KNOWN])
    assert top.expected_calibration_error == pytest.approx(whole.expected_calibration_error)
    assert top.to_dict()["brier"] is None


def test_the_table_holds_each_pixel_once_and_the_ends_of_the_scale():
    mine = Calibration(bins=4)
    mine.add_confidence(np.array([0.0, 0.25, 0.5, 0.51, 1.0]), np.array([False, True, True, False, True]))
    table = mine.to_dict()["reliability"]
    assert [b["pixels"] for b in table] == [2, 1, 1, 1]
    assert table[0] == {"from": 0.0, "to": 0.25, "pixels": 2, "confidence": 0.125, "accuracy": 0.5}
    assert Calibration().to_dict()["expected_calibration_error"] is None


def test_the_error_of_each_class_is_that_of_a_loop_by_hand():
    mine = Calibration(bins=10, classes=4)
    mine.add(P, TRUTH)
    p, truth = P[:, KNOWN].T, TRUTH[KNOWN]
    for channel, found in enumerate(mine.by_class()):
        bins = {}
        for row, label in zip(p, truth, strict=True):
            if row.argmax() == channel:
                bins.setdefault(int(np.ceil(row.max() * 10)) - 1, []).append((row.max(), label == channel))
        pixels = sum(map(len, bins.values()))
        gaps = [abs(sum(c for c, _ in b) - sum(r for _, r in b)) for b in bins.values()]
        assert found["expected_calibration_error"] == pytest.approx(sum(gaps) / pixels, abs=1e-6)
        table = {round(row["from"] * 10): row for row in found["reliability"]}
        assert set(table) == set(bins)
        for place, members in bins.items():
            assert table[place]["pixels"] == len(members)
            assert table[place]["confidence"] == pytest.approx(np.mean([c for c, _ in members]), abs=1e-6)
            assert table[place]["accuracy"] == pytest.approx(np.mean([r for _, r in members]), abs=1e-6)


def test_classes_together_give_the_figures_of_all_and_add_up():
    whole, parted = Calibration(), Calibration(classes=4)
    whole.add(P, TRUTH)
    for rows in (slice(0, 11), slice(11, None)):
        parted.add(P[:, rows], TRUTH[rows])
    assert parted.to_dict() == whole.to_dict()
    kept = Calibration.of_sums(parted.sums() * 1.0, classes=4)
    assert kept.to_dict() == whole.to_dict()
    assert kept.by_class() == parted.by_class()
    top = Calibration(classes=4)
    chosen = P[:, KNOWN].argmax(axis=0)
    top.add_confidence(P[:, KNOWN].max(axis=0), chosen == TRUTH[KNOWN], chosen)
    assert top.by_class() == parted.by_class()
    assert Calibration(classes=2).by_class() == [{"expected_calibration_error": None, "reliability": []}] * 2
