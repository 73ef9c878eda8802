from pathlib import Path

import numpy as np
import pytest
import torch
from torchvision.models.detection.roi_heads import paste_masks_in_image

from geoseg.core.detections import Detections
from geoseg.core.errors import BundleError
from geoseg.models.backends.detector import load_detector, make_detector
from geoseg.models.backends.load import make_segmenter
from geoseg.models.backends.pasting import paste, without_nested
from geoseg.models.backends.spec import SegmenterSpec
from geoseg.models.exporting.export import export_bundle
from tests.conftest import make_bundle
from tests.objects import object_bundle, object_scene

GAIN, BIAS = np.full(4, 1e-4, np.float32), np.zeros(4, np.float32)


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    return object_bundle(tmp_path_factory.mktemp("detector") / "b")


def spec_of(bundle, **changes):
    fields = {"device": "cpu", "backend": "torch", "precision": "fp32", "augment": "none", "passes": 1}
    return SegmenterSpec(bundle.folder, bundle.sha256, **{**fields, **changes})


@pytest.fixture(scope="module")
def detector(bundle):
    return load_detector(spec_of(bundle))


@pytest.fixture(scope="module")
def tiles():
    numbers = object_scene(64, 128, seed=3).numbers
    return np.stack([numbers[:, :, :64], numbers[:, :, 64:]])


def same(one: Detections, other: Detections) -> bool:
    arrays = [(one.boxes, other.boxes), (one.classes, other.classes), (one.scores, other.scores)]
    return all(np.array_equal(a, b) for a, b in [*arrays, *zip(one.masks, other.masks, strict=True)])


def test_objects_of_a_tile_do_not_depend_on_its_batch(detector, tiles):
    valid = np.ones((2, 64, 64), bool)
    both = detector.detect(tiles, valid, GAIN, BIAS)
    swapped = detector.detect(tiles[::-1].copy(), valid, GAIN, BIAS)
    assert len(both[0]) > 3
    assert same(both[0], swapped[1])
    assert same(both[1], swapped[0])


def test_scores_fall_and_reach_the_threshold_and_boxes_are_tight(detector, tiles):
    (found,) = detector.detect(tiles[:1], np.ones((1, 64, 64), bool), GAIN, BIAS)
    assert (np.diff(found.scores.astype(int)) <= 0).all()
    assert found.scores.min() >= 2000
    assert found.classes.max() < 3
    for (row, col, bottom, right), mask in zip(found.boxes.tolist(), found.masks, strict=True):
        assert mask.shape == (bottom - row, right - col)
        assert mask[[0, -1]].any(1).all()
        assert mask[:, [0, -1]].any(0).all()
        assert 0 <= row < bottom <= 64
        assert 0 <= col < right <= 64


def test_the_threshold_and_the_limit_of_the_card_hold(bundle, tiles, tmp_path):
    detection = {"score_threshold": 0.0, "per_tile": 5, "object_px": {"median": 12, "p99": 40}}
    few = make_detector(object_bundle(tmp_path / "few", detection=detection), spec_of(bundle))
    assert len(few.detect(tiles[:1], np.ones((1, 64, 64), bool), GAIN, BIAS)[0]) <= 5
    none = {**detection, "score_threshold": 1.0}
    strict = make_detector(object_bundle(tmp_path / "none", detection=none), spec_of(bundle))
    assert len(strict.detect(tiles[:1], np.ones((1, 64, 64), bool), GAIN, BIAS)[0]) == 0


def test_invalid_pixels_are_the_band_mean(detector, tiles):
    valid = np.ones((1, 64, 64), bool)
    valid[:, 20:30] = False
    mean = tiles[:1].copy()
    mean[:, :, 20:30] = 1800
    holes = tiles[:1].copy()
    holes[:, :, 20:30] = 0
    expected = detector.detect(mean, np.ones_like(valid), GAIN, BIAS)[0]
    found = detector.detect(holes, valid, GAIN, BIAS)[0]
    # A mean of 0.18 is 0 after standardising but for rounding, which hardly moves a score.
    assert abs(len(found) - len(expected)) <= 2


def test_masks_are_pasted_as_torchvision_does():
    rng = torch.Generator().manual_seed(0)
    masks = torch.rand(12, 1, 28, 28, generator=rng)
    corners = torch.rand(12, 2, generator=rng) * 40
    boxes = torch.cat([corners, corners + torch.rand(12, 2, generator=rng) * 30 + 0.3], 1).clamp(max=48)
    boxes[0] = torch.tensor([0.0, 0.0, 48.0, 48.0])
    expected = paste_masks_in_image(masks, boxes, (48, 48))[:, 0] >= 0.5
    for mask, box, whole in zip(masks, boxes, expected.numpy(), strict=True):
        row, col, pixels = paste(mask, box, (48, 48), 0.5)
        found = np.zeros((48, 48), bool)
        found[row : row + pixels.shape[0], col : col + pixels.shape[1]] = pixels
        assert np.array_equal(found, whole)


def nested(*, kinds=(0, 0), place=12):
    large, small = np.ones((20, 20), bool), np.ones((6, 6), bool)
    return Detections.of([(10, 10, large, kinds[0], 9000), (place, 12, small, kinds[1], 8000)])


@pytest.mark.parametrize(
    ("found", "left"),
    [
        (nested(), 1),
        (nested(kinds=(0, 1)), 2),
        (nested(place=28), 2),  # a third of it is inside
    ],
)
def test_an_object_inside_a_better_one_of_its_class_is_dropped(found, left):
    assert len(without_nested(found, (64, 64), 0.7)) == left


def test_cut_objects_are_left_to_the_merge():
    found = Detections.of(
        [(0, 10, np.ones((20, 20), bool), 0, 9000), (4, 12, np.ones((6, 6), bool), 0, 8000)]
    )
    assert len(without_nested(found, (64, 64), 0.7)) == 2


def test_bundles_of_classes_and_several_views_are_refused(bundle, tmp_path: Path):
    classes = make_bundle(tmp_path / "classes", architecture="PSPNet")
    with pytest.raises(BundleError, match="finds classes, not objects"):
        make_detector(classes, spec_of(classes))
    with pytest.raises(BundleError, match="finds objects, and no class"):
        make_segmenter(bundle, spec_of(bundle))
    with pytest.raises(BundleError, match="whose number no export tells"):
        export_bundle(bundle, "onnx", tmp_path / "out")
    with pytest.raises(BundleError, match=r"inference\.augment=none"):
        make_detector(bundle, spec_of(bundle, augment="d4"))
