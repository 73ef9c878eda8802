"""Networks that others published."""

import json
import os
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

from geoseg.core.errors import BundleError
from geoseg.models.importing import proof
from tests.models.importing.conftest import take_in

MODELS = os.environ.get("GEOSEG_TEST_MODELS")
"""A folder with networks that are no packages: dynamicworld/forward and dynamicworld/check.npz."""


@pytest.mark.parametrize("name", ["model_4b_l1c", "model_6b_l2a"])
def test_ukis_csmask_answers_as_in_onnxruntime(tmp_path, name):
    pytest.importorskip("onnxruntime")
    spec = find_spec("ukis_csmask")
    if spec is None or spec.origin is None:
        pytest.skip("ukis-csmask is not installed")
    path = Path(spec.origin).parent / f"{name}.onnx"
    known = json.loads(path.with_suffix(".json").read_text())["data"]["dataset_statistics"]
    mean, std = known["img"]
    said = {
        "bands": known["band_names"], "mean": mean, "std": std, "numbers": "physical",
        "classes": ["clear", "cloud", "cloud shadow"], "gsd": "10-30",
    }  # fmt: skip
    bundle = take_in(path, tmp_path / "bundle", said).bundle
    assert (bundle.card.tile.min, bundle.card.tile.size, bundle.card.tile.max) == (256, 256, 256)
    assert bundle.card.origin.largest_difference <= 1e-3


A = (1.7417268, 1.7261205, 1.6798346, 1.7734969, 2.2891541, 2.3829397, 2.3828939, 2.1952484, 1.5548129)
B = (2.0232987, 2.0389052, 2.1795928, 2.2890068, 2.6171675, 2.7734186, 2.7578333, 2.7890925, 2.4140535)
DYNAMIC_WORLD = {
    "bands": ["blue", "green", "red", "rededge071", "rededge075", "rededge078", "nir", "swir16", "swir22"],
    "mean": [(np.exp(a) - 1) / 0.005 for a in A], "std": [700.0] * 9, "numbers": "physical",
    "input_scale": 10_000,
    "preprocess": [
        {"step": "log", "factor": 0.005}, {"step": "standardise", "mean": A, "std": B},
        {"step": "logistic", "slope": 5, "shift": -1},
    ],
    "classes": ["water", "trees", "grass", "flooded vegetation", "crops", "shrub", "built", "bare", "snow"],
    "output": "logits", "gsd": 10, "level": "toa",
}  # fmt: skip


@pytest.mark.skipif(MODELS is None, reason="GEOSEG_TEST_MODELS names no folder with dynamicworld")
def test_dynamic_world_answers_as_it_did_in_tensorflow(tmp_path):
    folder = Path(MODELS) / "dynamicworld"
    given = {"answers": folder / "check.npz", "answers_scale": 1e-4}
    made = take_in(folder / "forward", tmp_path / "bundle", DYNAMIC_WORLD, **given)
    assert made.origin.largest_difference < 1e-4
    assert made.bundle.card.tile.divisor == 2
    with pytest.raises(BundleError, match="differ from the original's"):
        take_in(folder / "forward", tmp_path / "wrong", {**DYNAMIC_WORLD, "input_scale": 9000}, **given)
    assert proof.segmenter_of(made.bundle)
