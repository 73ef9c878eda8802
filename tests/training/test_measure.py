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
    found = list(predict_chips(bundle.network(), chips, 2, temperature=bundle.card.temperature, augment="d4"))
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
