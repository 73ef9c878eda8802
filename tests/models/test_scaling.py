import numpy as np
import torch

from geoseg.models.bundle import open_bundle
from geoseg.models.scaling import Scaling, VectorScaling
from tests.conftest import make_bundle


def test_numpy_and_torch_scale_alike_and_leave_the_logits_alone():
    logits = np.random.default_rng(0).normal(size=(2, 3, 4, 4)).astype(np.float32)
    scaling = Scaling(calibration=VectorScaling(scale=(0.5, 2, 1), shift=(0, -1, 3)))
    expected = np.stack([logits[:, 0] * 0.5, logits[:, 1] * 2 - 1, logits[:, 2] + 3], axis=1)
    before = logits.copy()
    tensor = torch.from_numpy(logits.copy())
    for found in (scaling.apply(logits), scaling.apply(tensor).numpy()):
        assert np.allclose(found, expected, atol=1e-6)
    assert np.array_equal(logits, before)
    assert np.array_equal(scaling.apply(tensor, in_place=True).numpy(), scaling.apply(before))
    assert np.array_equal(tensor.numpy(), scaling.apply(before))


def test_a_temperature_is_the_case_of_equal_factors():
    logits = np.random.default_rng(0).normal(size=(1, 3, 4, 4)).astype(np.float32)
    same = Scaling(calibration=VectorScaling(scale=(0.5,) * 3, shift=(0,) * 3))
    assert np.array_equal(Scaling(2.0).apply(logits), same.apply(logits))


def test_the_factors_are_part_of_what_a_bundle_is(tmp_path):
    vector = {"scale": [1.0, 1.0, 1.0], "shift": [0.0, 0.0, 0.5]}
    one, two = make_bundle(tmp_path / "a"), make_bundle(tmp_path / "b", calibration=vector)
    assert one.card.weights_sha256 == two.card.weights_sha256
    assert one.sha256 != two.sha256
    assert open_bundle(two.folder).card.calibration == VectorScaling.model_validate(vector)
