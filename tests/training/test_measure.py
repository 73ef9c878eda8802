import numpy as np
import pytest
import torch

from geoseg.training import measure as module
from geoseg.training.measure import PredictedChip, fit_temperature, predict_chips


class FakeChips(torch.utils.data.Dataset):
    def __init__(self, count=5):
        torch.manual_seed(0)
        self.images = torch.randn(count, 2, 16, 16)
        self.labels = torch.randint(3, (count, 16, 16))

    def __len__(self):
        return len(self.images)

    def __getitem__(self, i):
        return {"image": self.images[i], "label": self.labels[i], "where": f"chip {i}"}


def part_of(chips):
    """Return chips as a part without pictures."""
    from geoseg.models.card import CardTile
    from geoseg.training.census import Statistics
    from geoseg.training.chips import ChipSource
    from geoseg.training.measure import EvaluationPart
    from geoseg.training.pictures import Layout

    chips.cells, chips.source = (), ChipSource((), (), Statistics(np.zeros(2), np.ones(2)))
    tile = CardTile(size=16, min=16, max=16, overlap=0, divisor=1)
    return EvaluationPart(chips, (), Layout(tile, None))


def network():
    torch.manual_seed(0)
    return torch.nn.Conv2d(2, 3, 3, padding=1)


def test_every_chip_is_predicted_once_with_probabilities():
    found = list(predict_chips(network(), FakeChips(), batch=2))
    assert [c.where for c in found] == [f"chip {i}" for i in range(5)]
    for chip in found:
        assert chip.probabilities.sum(axis=0) == pytest.approx(np.ones((16, 16)), abs=1e-5)
        assert chip.label.dtype == np.uint8


def test_augmented_predictions_are_those_of_a_run(bundle):
    """The same symmetries as `geoseg run` uses."""
    from geoseg.models.backends.spec import SegmenterSpec
    from geoseg.models.backends.torch_segmenter import TorchSegmenter

    chips = FakeChips(2)
    chips.images = torch.randn(2, 4, 64, 64)
    chips.labels = torch.zeros(2, 64, 64, dtype=torch.long)
    spec = SegmenterSpec(bundle.folder, bundle.sha256, "cpu", "torch", "fp32", "d4", 1)
    segmenter = TorchSegmenter(bundle, spec)
    mean, std = segmenter.feed.mean[:, None, None], segmenter.feed.std[:, None, None]
    values = chips.images.numpy() * std + mean
    everywhere = np.ones((2, 64, 64), dtype=bool)
    ones, zeros = np.ones(4, dtype=np.float32), np.zeros(4, dtype=np.float32)
    expected = segmenter.predict(values, everywhere, ones, zeros)
    found = list(predict_chips(bundle.network(), chips, 2, scaling=bundle.card.scaling, augment="d4"))
    assert np.stack([c.probabilities for c in found]) == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize("true", [0.5, 1.0, 3.0])
def test_the_temperature_that_made_the_labels_is_found(true):
    rng = np.random.default_rng(0)
    logits = rng.normal(0, 3, (4, 200, 200))
    made = np.exp(logits / true)
    made /= made.sum(axis=0)
    label = (rng.uniform(size=(200, 200)) > made.cumsum(axis=0)).sum(axis=0).clip(max=3).astype(np.uint8)
    label[0] = 255
    said = np.exp(logits)
    said = (said / said.sum(axis=0)).astype(np.float32)
    chip = PredictedChip("a", np.zeros((1, 200, 200), np.float32), said, label)
    assert fit_temperature([chip], 199 * 200) == pytest.approx(true, rel=0.05)


def test_no_more_pixels_are_kept_than_are_used(monkeypatch):
    kept = []
    monkeypatch.setattr(module, "MOST_PIXELS", 50)
    real = np.concatenate
    monkeypatch.setattr(
        module.np, "concatenate", lambda parts: kept.append([len(p) for p in parts]) or real(parts)
    )
    chips = [
        PredictedChip(
            "a", np.zeros((1, 8, 8)), np.full((2, 8, 8), 0.5, np.float32), np.zeros((8, 8), np.uint8)
        )
        for _ in range(10)
    ]
    fit_temperature(iter(chips), 640)
    # Every 13th of 640 pixels, wherever chips end.
    assert [sum(k) for k in kept] == [50, 50]
    assert set(kept[0]) == {5}


def test_agreement_counts_labelled_pixels_only():
    probabilities = np.zeros((2, 2, 2), np.float32)
    probabilities[1] = 1
    label = np.array([[1, 0], [255, 1]], np.uint8)
    assert PredictedChip("a", np.zeros((1, 2, 2)), probabilities, label).agreement == pytest.approx(2 / 3)


def test_thresholds_have_the_highest_f1_on_the_chips():
    from sklearn.metrics import f1_score

    from geoseg.core.legend import Legend
    from geoseg.training.measure import best_thresholds
    from tests.training.worlds import LEGEND

    rng = np.random.default_rng(0)
    legend = Legend.of(LEGEND.classes)
    truth = rng.choice([0, 2], (2, 24, 24), p=[0.8, 0.2]).astype(np.uint8)
    logits = rng.normal(size=(2, 3, 24, 24)) + 1.0 * (truth[:, None] == np.arange(3)[:, None, None])
    p = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    truth[:, :3] = 255
    chips = [
        PredictedChip("", np.zeros((1, 24, 24), np.float32), p[i].astype(np.float32), truth[i])
        for i in (0, 1)
    ]
    found = best_thresholds(chips, legend)
    assert set(found) == {"water", "crop"}  # the chips have no tree
    known = truth != 255
    for channel, slug in ((0, "water"), (2, "crop")):
        said, right = p[:, channel][known], truth[known] == channel
        best = max(f1_score(right, said >= k / 1000) for k in range(1, 1001, 5))
        assert f1_score(right, said >= found[slug]) >= best - 1e-6


def test_scores_are_those_of_the_rule(bundle):
    from geoseg.core.legend import Legend
    from geoseg.training.measure import rule_of, score_part
    from tests.training.worlds import LEGEND

    legend, part = Legend.of(LEGEND.classes), part_of(FakeChips())
    plain = score_part(network(), part, legend)
    ruled = score_part(network(), part, legend, rule=rule_of(legend, {"tree": 0.01}))
    assert plain.confusion.sum() == ruled.confusion.sum()
    assert ruled.confusion[:, 1].sum() > 0.9 * ruled.confusion.sum()
    assert plain.confusion[:, 1].sum() < 0.6 * plain.confusion.sum()


def test_the_best_chips_are_mixed_ones():
    from geoseg.core.legend import Legend
    from geoseg.training.measure import score_part
    from tests.training.worlds import LEGEND

    chips, legend = FakeChips(4), Legend.of(LEGEND.classes)
    said = [torch.from_numpy(c.probabilities.argmax(0)) for c in predict_chips(network(), chips, batch=4)]
    # Two chips of one class agree wholly, one of them has a few pixels of another; two mixed ones less.
    for i in (0, 1):
        chips.images[i], chips.labels[i] = 0.0, int(network()(torch.zeros(1, 2, 3, 3)).argmax(1)[0, 1, 1])
    chips.labels[1][0, :2] = 0
    for i in (2, 3):
        chips.labels[i] = said[i]
        chips.labels[i][: 2 * i] = 255 - 255
    shown = score_part(network(), part_of(chips), legend, shown=1)
    assert [c.where for c in shown.best] == ["chip 2"]
    chips.images, chips.labels = chips.images[:2], chips.labels[:2]
    assert score_part(network(), part_of(chips), legend, shown=1).best, "of plain chips the best is shown"


def test_calibration_by_class_is_fitted_on_val_and_told():
    from dataclasses import replace
    from types import SimpleNamespace

    from geoseg.config.training import Measurement
    from geoseg.core.legend import Legend, LegendClass
    from geoseg.training.measure import measure, score_part

    legend = Legend(tuple(LegendClass(i, s, s, "#112233") for i, s in enumerate("abc")))
    chips = FakeChips(8)
    with torch.inference_mode():
        # Labels that the logits tell, once the third class is taken back.
        said = network()(chips.images) * 2 - torch.tensor([0.0, 0.0, 1.5])[:, None, None]
    noise = -torch.log(-torch.log(torch.rand(said.shape, generator=torch.Generator().manual_seed(1))))
    chips.labels = (said + noise).argmax(dim=1)
    part = replace(part_of(chips), units=tuple(f"place {i}" for i in range(8)))
    chips.cells = [SimpleNamespace(classes=np.array([256]))] * 8
    found = measure(network(), {"val": part}, legend, Measurement(calibrate="auto"), 4)
    assert found.temperature == 1
    assert found.calibration.shift[2] < found.calibration.shift[0] - 1
    assert found.told.startswith("vector scaling: ")
    plain = score_part(network(), part, legend)
    assert found.main.uncalibrated.to_dict() == plain.calibration.to_dict()
    assert found.main.scores.expected_calibration_error < plain.scores.expected_calibration_error
    assert "which chose epoch and calibration" in found.scores().reference
    rows = found.scores().model_dump(mode="json")["classes"]
    assert sum(b["pixels"] for row in rows for b in row["reliability"]) == chips.labels.numel()
    assert {"from", "to", "pixels", "confidence", "accuracy"} == set(rows[0]["reliability"][0])
    for kind, expected in (("none", 1.0), (False, 1.0), (True, None), ("temperature", None)):
        single = measure(network(), {"val": part}, legend, Measurement(calibrate=kind), 4)
        assert (single.calibration, single.told) == (None, "")
        assert single.temperature == expected if expected else single.temperature != 1
