import json
from dataclasses import replace

import numpy as np
import pytest

from geoseg.core.errors import BundleError
from geoseg.models.backends import mixed, openvino_segmenter
from geoseg.models.backends.openvino_segmenter import OpenVinoSegmenter
from geoseg.models.backends.spec import SegmenterSpec, mixed_level, needs_bfloat16
from geoseg.models.calibration import FILE, Chip, read_calibration, write_calibration
from geoseg.models.feeding import line
from tests.conftest import make_bundle, reflectance
from tests.heads import label_bundle, regression_bundle

ONES = np.ones(4, np.float32)


@pytest.fixture(scope="module")
def kept(tmp_path_factory):
    """A bundle that keeps chips."""
    found = make_bundle(tmp_path_factory.mktemp("mixed") / "bundle")
    values = [reflectance(60, 70, seed=s).astype(np.float32) * 1e-4 for s in range(3)]
    valid = np.ones((60, 70), bool)
    valid[:5] = False
    write_calibration(found.folder, [Chip(v, valid) for v in values])
    return found


@pytest.fixture(autouse=True)
def _anywhere(tmp_path, monkeypatch):
    """Run on any processor: without bfloat16 OpenVINO computes in float32, and what is tested here holds."""
    monkeypatch.setattr(mixed, "cache_folder", lambda: tmp_path / "cache")
    monkeypatch.setattr(openvino_segmenter, "has_bfloat16", lambda: True)


def counted(monkeypatch, changed):
    """Replace the segmenters by ones of which each mixture changes a share of the classes."""

    class Fake:
        def __init__(self, bundle, spec):
            level = mixed_level(spec.precision)
            self.share = 0 if level is None else changed[level]

        def predict(self, values, valid, gain, bias):
            p = np.zeros((1, 3, *valid.shape[1:]), np.float32)
            p[:, 1] = 0.5
            # Within the chip, and only where it is valid.
            p[0, 2, 5 : 5 + round(55 * self.share), :70] = 1
            return p

    monkeypatch.setattr(mixed, "OpenVinoSegmenter", Fake)


@pytest.mark.parametrize(
    ("task", "moved"), [("regression", 0.02), ("multilabel", 0.3), ("regression", 0.005), ("multilabel", 0.1)]
)
def test_numbers_and_labels_are_held_to_what_they_say(tmp_path, monkeypatch, task, moved):
    """A mixture that moves every answer is refused where it moves numbers, or labels over their threshold."""
    make, channels = {"regression": (regression_bundle, 1), "multilabel": (label_bundle, 3)}[task]
    bundle = make(tmp_path / "bundle")
    scale = line(bundle.card.target)[0] if task == "regression" else 1.0

    class Fake:
        def __init__(self, bundle, spec):
            self.shift = 0.0 if mixed_level(spec.precision) is None else moved * scale

        def predict(self, values, valid, gain, bias):
            return np.full((1, channels, *valid.shape[1:]), 0.3 + self.shift, np.float32)

    monkeypatch.setattr(mixed, "OpenVinoSegmenter", Fake)
    chip = Chip(np.zeros((4, 64, 64), np.float32), np.ones((64, 64), bool))
    found = mixed.find_mixed(bundle, [chip], ONES, 0 * ONES)
    assert (found.level is None) == (moved > 0.01 if task == "regression" else moved >= 0.2)


def test_the_cheapest_mixture_that_keeps_the_classes_is_taken(kept, monkeypatch):
    monkeypatch.setattr(mixed, "MOST_CHANGED", 0.1)
    counted(monkeypatch, [0.8, 2 / 55, 1 / 55])
    found = mixed.mixed_of_bundle(kept)
    assert found == mixed.Mixed(1, pytest.approx(2 / 55), 3 * 55 * 70)
    assert found.precision == "mixed:1"
    counted(monkeypatch, [0, 0, 0])  # what was found is kept
    assert mixed.mixed_of_bundle(kept) == found


def test_where_no_mixture_keeps_them_there_is_none(kept, monkeypatch):
    counted(monkeypatch, [0.8, 0.4, 0.6])
    found = mixed.find_mixed(kept, read_calibration(kept.folder), ONES, 0 * ONES)
    assert (found.level, found.precision, round(found.changed, 2)) == (None, "fp32", 0.4)


def test_a_real_network_comes_close_in_every_mixture(kept):
    chips = read_calibration(kept.folder)
    spec = SegmenterSpec(kept.place, kept.sha256, "cpu", "openvino", "fp32", "none", 1)
    values = np.stack([c.values for c in chips])[:, :, :32, :64]
    values = np.tile(values, (1, 1, 2, 1))
    valid = np.ones((3, 64, 64), bool)
    expected = OpenVinoSegmenter(kept, spec).predict(values, valid, ONES, 0 * ONES).copy()
    for level in range(3):
        found = OpenVinoSegmenter(kept, replace(spec, precision=f"mixed:{level}")).predict(
            values, valid, ONES, 0 * ONES
        )
        assert np.abs(found - expected).mean() < 0.02
        assert np.allclose(found.sum(axis=1), 1, atol=1e-2)


def test_a_bundle_without_chips_has_no_mixture_of_its_own(bundle):
    assert read_calibration(bundle.folder) == ()
    assert mixed.mixed_of_bundle(bundle) is None


def test_chips_are_kept_in_half_precision(kept):
    (first, *_) = read_calibration(kept.folder)
    np.testing.assert_allclose(first.values[:, 5:], reflectance(60, 70)[:, 5:] * 1e-4, rtol=1e-3)
    assert (first.valid.sum(), first.values[:, :5].max()) == (55 * 70, 0)


@pytest.mark.parametrize("content", [b"", b"nonsense", b"PK\x03\x04"])
def test_damaged_chips_are_told(tmp_path, content):
    (tmp_path / FILE).write_bytes(content)
    with pytest.raises(BundleError, match=r"calibration\.npz: cannot be read: .*; remove it"):
        read_calibration(tmp_path)


def test_a_file_of_what_was_found_that_is_damaged_is_made_again(kept, monkeypatch, tmp_path):
    counted(monkeypatch, [0, 0, 0])
    mixed.mixed_of_bundle(kept)
    (file,) = (tmp_path / "cache" / "mixed").iterdir()
    file.write_text(json.dumps({"level": 2}))
    assert mixed.mixed_of_bundle(kept).level == 0


def test_levels_and_processors():
    assert (mixed_level("mixed:3"), mixed_level("fp32"), mixed_level("mixed")) == (3, None, None)
    assert [needs_bfloat16(p) for p in ("bf16", "mixed:0", "fp32", "mixed")] == [True, True, False, False]
