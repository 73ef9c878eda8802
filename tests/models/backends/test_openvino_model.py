import ast
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from geoseg.core.errors import BundleError
from geoseg.models.backends import openvino_model
from geoseg.models.backends.openvino_model import FP32, import_openvino, load_model
from tests.conftest import ROOT, make_bundle


@pytest.fixture
def cache(tmp_path, monkeypatch):
    folder = tmp_path / "cache"
    monkeypatch.setenv("GEOSEG_CACHE", str(folder))
    return folder / "openvino"


@pytest.fixture(scope="module")
def converted(bundle, tmp_path_factory):
    """Convert a network once, for tests of what was kept."""
    folder = tmp_path_factory.mktemp("converted")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GEOSEG_CACHE", str(folder))
        load_model(bundle)
    return folder


@pytest.fixture
def kept(cache, converted):
    """A cache in which the network is kept."""
    shutil.copytree(converted, cache.parent)
    return cache


@pytest.fixture
def own_process(monkeypatch):
    """Convert in a process of its own, as geoseg does outside of the tests."""
    monkeypatch.setattr(openvino_model, "subprocess", subprocess)


def logits(model, x):
    return import_openvino().Core().compile_model(model, "CPU", FP32)({0: x})[0]


def test_a_network_is_converted_once(bundle, cache, monkeypatch, own_process):
    x = np.random.default_rng(0).normal(size=(2, 4, 96, 128)).astype(np.float32)
    first = logits(load_model(bundle), x)
    with torch.inference_mode():
        assert first == pytest.approx(bundle.network()(torch.from_numpy(x)).numpy(), abs=1e-2)
    (folder,) = cache.iterdir()
    assert sorted(f.name for f in folder.iterdir()) == ["kept.json", "model.bin", "model.xml"]
    monkeypatch.setattr(openvino_model.subprocess, "run", None)
    assert logits(load_model(bundle), x).tobytes() == first.tobytes()


def test_a_kept_network_that_is_not_what_was_kept_is_converted_again(bundle, kept):
    x = np.random.default_rng(0).normal(size=(1, 4, 64, 64)).astype(np.float32)
    first = logits(load_model(bundle), x)
    (folder,) = kept.iterdir()
    weights = folder / "model.bin"
    weights.write_bytes(weights.read_bytes()[:-100])
    assert logits(load_model(bundle), x).tobytes() == first.tobytes()
    assert sorted(f.name for f in folder.iterdir()) == ["kept.json", "model.bin", "model.xml"]
    assert list(kept.iterdir()) == [folder]


@pytest.fixture
def without_conversion(monkeypatch):
    """Replace conversions by a refusal, which takes no time."""

    def refuse(command, **_):
        arguments = command[-1].partition("convert_bundle(")[2]
        _, folder = ast.literal_eval(f"({arguments}")
        Path(folder, "refused.txt").write_text("no")
        return subprocess.CompletedProcess([], 0, "", "")

    monkeypatch.setattr(openvino_model.subprocess, "run", refuse)


@pytest.mark.parametrize(
    "damage",
    [
        lambda f: (f / "refused.txt").write_text(""),
        lambda f: (f / "refused.txt").write_text("because"),
        lambda f: (f / "refused.txt").unlink(),
        lambda f: (f / "kept.json").unlink(),
        lambda f: (f / "kept.json").write_text("{}"),
        lambda f: (f / "kept.json").write_text('{"kept.json": 5}'),
        lambda f: (f / "kept.json").write_text("[" * 10**5),
        lambda f: (shutil.rmtree(f), f.touch()),
        lambda f: (shutil.rmtree(f), f.mkdir()),
    ],
)
def test_each_damage_of_what_was_kept_is_seen(bundle, cache, without_conversion, damage):
    for _ in range(3):
        with pytest.raises(BundleError, match=r"cannot run this network \(no\)"):
            load_model(bundle)
        (folder,) = cache.iterdir()
        assert sorted(f.name for f in folder.iterdir()) == ["kept.json", "refused.txt"]
        damage(folder)


def test_another_bundle_has_another_model(bundle, kept, tmp_path):
    load_model(bundle)
    load_model(make_bundle(tmp_path / "other", seed=3))
    assert len(list(kept.iterdir())) == 2


def test_a_network_that_openvino_cannot_run_is_refused_and_that_is_kept(cache, tmp_path, monkeypatch):
    # Its unpooling scatters, which OpenVINO cannot.
    segnet = make_bundle(tmp_path / "segnet", architecture="SegNet")
    with pytest.raises(BundleError, match=r"segnet: OpenVINO cannot run this .*Scatter.*backend=torch"):
        load_model(segnet)
    monkeypatch.setattr(openvino_model.subprocess, "run", None)
    with pytest.raises(BundleError, match="OpenVINO cannot run this network"):
        load_model(segnet)


def test_a_network_with_other_probabilities_than_torch_is_refused(bundle, tmp_path, monkeypatch):
    monkeypatch.setattr(openvino_model, "TOLERANCE", 0.0)
    openvino_model.convert_bundle(str(bundle.folder), str(tmp_path))
    assert (tmp_path / "refused.txt").read_text().startswith("it gives other probabilities than torch for an")


def test_a_conversion_that_is_killed_is_tried_again(bundle, cache, monkeypatch):
    killed = subprocess.CompletedProcess([], -9, "", "")
    with monkeypatch.context() as patch:
        patch.setattr(openvino_model.subprocess, "run", lambda *_, **__: killed)
        with pytest.raises(BundleError, match="its process was killed"):
            load_model(bundle)
    assert list(cache.iterdir()) == []
    assert load_model(bundle).input(0).get_partial_shape().rank.get_length() == 4


def test_a_cache_that_cannot_be_written_is_no_obstacle(bundle, tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.setenv("GEOSEG_CACHE", str(tmp_path / "file"))
    assert load_model(bundle).output(0).get_partial_shape()[1].get_length() == 3


@pytest.mark.timeout(120)
def test_neither_torch_nor_usage_statistics_are_loaded_with_a_kept_model(bundle, kept):
    code = """
import sys
from pathlib import Path
from geoseg.models.bundle import open_bundle
from geoseg.models.backends.auto import resolve_backend, resolve_device
from geoseg.models.backends.load import load_segmenter
from geoseg.models.backends.spec import SegmenterSpec
bundle = open_bundle(Path(sys.argv[1]))
backend = resolve_backend("auto", bundle, "cpu", "fp32")
load_segmenter(SegmenterSpec(bundle.folder, bundle.sha256, "cpu", backend, "fp32", "none", 1))
assert backend == "openvino" and "openvino" in sys.modules
assert "torch" not in sys.modules
assert not sys.modules["openvino_telemetry"]
"""
    subprocess.run([sys.executable, "-c", code, str(bundle.folder)], check=True, cwd=ROOT, env=os.environ)
