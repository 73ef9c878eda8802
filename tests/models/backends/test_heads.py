"""Networks of numbers and labels on every backend: what a card says their answers mean."""

import numpy as np
import pytest
import torch

from geoseg.core.errors import BundleError
from geoseg.models.backends.openvino_segmenter import OpenVinoSegmenter
from geoseg.models.backends.spec import SegmenterSpec
from geoseg.models.backends.torch_segmenter import TorchSegmenter
from geoseg.models.exporting.export import export_bundle
from geoseg.models.feeding import places, probabilities
from geoseg.tiling.heads import REACH
from tests.heads import TARGET, label_bundle, regression_bundle

GAIN, BIAS = np.full(4, 1e-4, np.float32), np.zeros(4, np.float32)


@pytest.fixture(scope="module", params=[regression_bundle, label_bundle], ids=["numbers", "labels"])
def bundle(request, tmp_path_factory):
    return request.param(tmp_path_factory.mktemp("bundles") / "toy")


def test_backends_answer_as_the_card_says(bundle):
    values = np.random.default_rng(0).integers(0, 5000, (2, 4, 64, 64)).astype(np.uint16)
    valid = np.ones((2, 64, 64), bool)
    found = []
    for backend, kind in (("torch", TorchSegmenter), ("openvino", OpenVinoSegmenter)):
        spec = SegmenterSpec(bundle.folder, bundle.sha256, "cpu", backend, "fp32", "flips", passes=1)
        found.append(kind(bundle, spec).predict(values, valid, GAIN, BIAS).copy())
    x = (torch.from_numpy(values.astype(np.float32)) * 1e-4 - 0.22) / 0.1
    network = bundle.network()
    with torch.inference_mode():
        views = [x, x.flip(-1), x.flip(-2), x.flip(-1).flip(-2)]
        back = [lambda a: a, lambda a: a.flip(-1), lambda a: a.flip(-2), lambda a: a.flip(-1).flip(-2)]
        answers = [f(probabilities(bundle.card, network(v))) for v, f in zip(views, back, strict=True)]
    expected = torch.stack(answers).mean(0).numpy()
    assert expected.shape[1] == bundle.card.outputs
    for one in found:
        assert np.abs(one - expected).max() < 2e-3
    assert expected.std() > 0.05


def test_places_are_ends_of_the_range_and_not_finite_is_told(tmp_path):
    card = regression_bundle(tmp_path / "toy").card
    at = lambda v: (v - TARGET["mean"]) / TARGET["std"]  # noqa: E731
    answers = np.array([[[[at(0), at(20), at(40), at(-7), at(99), np.inf, np.nan]]]], np.float32)
    for kind in (np.asarray, torch.from_numpy):
        with np.errstate(invalid="ignore"):
            found = np.asarray(places(card.target, kind(answers))).ravel()
        assert found[:5] == pytest.approx([-REACH, 0, REACH, -REACH, REACH], abs=1e-5)
        assert np.isnan(found[5:]).all()


def test_a_network_whose_values_are_not_finite_is_refused(tmp_path):
    bundle = regression_bundle(tmp_path / "toy")
    spec = SegmenterSpec(bundle.folder, bundle.sha256, "cpu", "torch", "fp32", "none", passes=1)
    segmenter = TorchSegmenter(bundle, spec)
    values = np.full((1, 4, 64, 64), 3e38, np.float32)
    with pytest.raises(BundleError, match="NaN or infinite"):
        segmenter.predict(values, np.ones((1, 64, 64), bool), np.full(4, 1e30, np.float32), BIAS)


def test_other_networks_than_those_of_classes_are_not_exported(bundle, tmp_path):
    with pytest.raises(BundleError, match="networks of classes alone are exported"):
        export_bundle(bundle, "onnx", tmp_path)
