import os
import subprocess
import sys

import numpy as np
import pytest
import torch

from geoseg.core.errors import BundleError
from geoseg.models import openvino_model
from geoseg.models.openvino_model import FP32, converted, openvino
from tests.conftest import ROOT, make_bundle


@pytest.fixture
def cache(tmp_path, monkeypatch):
    folder = tmp_path / "cache"
    monkeypatch.setenv("GEOSEG_CACHE", str(folder))
    return folder / "openvino"


def logits(model, x):
    return openvino().Core().compile_model(model, "CPU", FP32)({0: x})[0]


def test_a_network_is_converted_once(bundle, cache, monkeypatch):
    x = np.random.default_rng(0).normal(size=(2, 4, 96, 128)).astype(np.float32)
    first = logits(converted(bundle), x)
    with torch.inference_mode():
        assert first == pytest.approx(bundle.network()(torch.from_numpy(x)).numpy(), abs=1e-2)
    (folder,) = cache.iterdir()
    assert sorted(f.name for f in folder.iterdir()) == ["model.bin", "model.xml"]
    monkeypatch.setattr(openvino_model, "_convert", None)
    assert logits(converted(bundle), x).tobytes() == first.tobytes()


def test_another_bundle_has_another_model(bundle, cache, tmp_path):
    converted(bundle)
    converted(make_bundle(tmp_path / "other", seed=3))
    assert len(list(cache.iterdir())) == 2


def test_a_network_with_other_probabilities_is_refused_and_that_is_kept(bundle, cache, monkeypatch):
    monkeypatch.setattr(openvino_model, "TOLERANCE", 0.0)
    with pytest.raises(BundleError, match=r"toy: OpenVINO cannot run this network \(it gives other prob"):
        converted(bundle)
    monkeypatch.setattr(openvino_model, "_convert", None)
    with pytest.raises(BundleError, match=r"other probabilities than torch for an input of \(1, 4, 64, 64\)"):
        converted(bundle)


def test_a_cache_that_cannot_be_written_is_no_obstacle(bundle, tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.setenv("GEOSEG_CACHE", str(tmp_path / "file"))
    assert converted(bundle).output(0).get_partial_shape()[1].get_length() == 3


@pytest.mark.timeout(120)
def test_neither_torch_nor_usage_statistics_are_loaded_with_a_kept_model(bundle, cache):
    converted(bundle)
    code = """
import sys
from pathlib import Path
from geoseg.models.bundle import open_bundle
from geoseg.models.resolve import resolve_backend, resolve_device
from geoseg.models.segmenter import SegmenterSpec, load_segmenter
bundle = open_bundle(Path(sys.argv[1]))
backend = resolve_backend("auto", bundle, "cpu", "fp32")
load_segmenter(SegmenterSpec(bundle.folder, bundle.sha256, "cpu", backend, "fp32", "none", 1))
assert backend == "openvino" and "openvino" in sys.modules
assert "torch" not in sys.modules
assert not sys.modules["openvino_telemetry"]
"""
    subprocess.run([sys.executable, "-c", code, str(bundle.folder)], check=True, cwd=ROOT, env=os.environ)
