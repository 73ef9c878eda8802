"""ONNX graphs in onnxruntime: the class that runs them on a GPU, here on its provider for CPUs."""

import json
import warnings
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest
import torch

import geoseg
from geoseg.core.errors import BundleError, ConfigError, DeviceMemoryError, PlanError
from geoseg.core.extras import installed_version
from geoseg.core.files import sha256
from geoseg.core.notices import ignore_warnings
from geoseg.models.backends import auto, onnx_session
from geoseg.models.backends.auto import device_for, resolve_backend
from geoseg.models.backends.load import make_segmenter
from geoseg.models.backends.spec import SegmenterSpec
from geoseg.models.bundle import open_bundle, write_card
from geoseg.models.graphs import ONNX, OPENVINO, graph_config
from tests.conftest import make_bundle, write_pipeline

pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

GAIN, BIAS = np.array([1e-4, 2e-4, 1e-4, 5e-5], np.float32), np.array([0, -0.1, 0.01, 0.2], np.float32)


@pytest.fixture(autouse=True, scope="module")
def _one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def pair(tmp_path_factory):
    """A network in torch, and as an ONNX graph with the same card."""
    folder = tmp_path_factory.mktemp("onnxruntime")
    plain = make_bundle(folder / "plain", temperature=1.7, channels=[2, 0, 1])
    graph = folder / "graph"
    graph.mkdir()
    axes = {0: "n", 2: "rows", 3: "cols"}
    with ignore_warnings():
        torch.onnx.export(
            plain.network(), (torch.zeros(1, 4, 64, 64),), graph / "model.onnx", dynamo=False,
            input_names=["input"], output_names=["answer"], dynamic_axes={"input": axes, "answer": axes},
        )  # fmt: skip
    (graph / "config.json").write_text(json.dumps(graph_config(ONNX, 4, 3)))
    write_card(plain.card.model_copy(update={"weights_sha256": sha256(graph / "model.onnx")}), graph)
    return plain, open_bundle(graph)


def segmenter(bundle, backend="onnxruntime", augment="none"):
    return make_segmenter(
        bundle, SegmenterSpec(bundle.folder, bundle.sha256, "cpu", backend, "fp32", augment, 1)
    )


def batch(count=2, side=64, seed=0):
    rng = np.random.default_rng(seed)
    valid = rng.random((count, side, side)) > 0.1
    return rng.integers(0, 5000, (count, 4, side, side)).astype(np.uint16), valid


@pytest.mark.parametrize("augment", ["none", "d4"])
@pytest.mark.parametrize("side", [64, 96])
def test_it_answers_as_torch_and_openvino_do(pair, side, augment):
    plain, graph = pair
    given = *batch(side=side), GAIN, BIAS
    found = segmenter(graph, augment=augment).predict(*given)
    assert (found.dtype, found.shape) == (np.float32, (2, 3, side, side))
    assert found.std() > 0.05
    for bundle, backend in ((plain, "torch"), (graph, "openvino")):
        assert np.abs(found - segmenter(bundle, backend, augment).predict(*given)).max() < 1e-3


def test_neither_the_place_in_the_batch_nor_the_threads_change_a_byte(pair):
    run, (values, valid) = segmenter(pair[1]), batch(3)
    expected = run.predict(values, valid, GAIN, BIAS).copy()
    turned = run.predict(values[::-1].copy(), valid[::-1].copy(), GAIN, BIAS)
    assert turned[::-1].tobytes() == expected.tobytes()
    with ThreadPoolExecutor(3) as pool:
        found = list(pool.map(lambda _: run.predict(values, valid, GAIN, BIAS).tobytes(), range(6)))
    assert set(found) == {expected.tobytes()}


def test_a_run_and_an_array_take_it(pair, scene_file, tmp_path, small_pictures):
    path = write_pipeline(tmp_path, scene_file, pair[1].folder, "inference: {backend: onnxruntime}")
    run = geoseg.run(path, outputs={"polygons": [], "confidence": False})
    classes = run.classes().to_numpy()
    plan = geoseg.plan(path)
    assert plan.identity()["backend"] == ["onnxruntime", installed_version("onnxruntime")]
    assert plan.memory.total > geoseg.plan(path, inference={"backend": "openvino"}).memory.total
    for backend, alike in (("onnxruntime", 1), ("auto", 0.999)):
        found = geoseg.segment(geoseg.open_scene(scene_file, chunks=None), pair[1], backend=backend)
        assert (found["class"].to_numpy() == classes).mean() >= alike


def test_what_it_cannot_run_is_told(pair, monkeypatch):
    plain, graph = pair
    with pytest.raises(ConfigError, match=r"toy is an Unet / .*, which onnxruntime cannot run"):
        resolve_backend("onnxruntime", plain, "cpu", "fp32")
    with pytest.raises(ConfigError, match=r"inference\.precision: onnxruntime .* not in bf16; use fp32"):
        resolve_backend("onnxruntime", graph, "cpu", "bf16")
    monkeypatch.setattr(auto, "is_installed", lambda: False)
    assert resolve_backend("auto", graph, "cpu", "fp32") == "onnxruntime"
    run = segmenter(graph)
    run.network.channels = 4
    with pytest.raises(BundleError, match=r"cannot take an input of \(1, 4, 64, 64\): .*Got"):
        run.predict(*batch(1), GAIN, BIAS)

    def full(x):
        raise RuntimeError("BFCArena: Failed to allocate memory for requested buffer of size 9")

    run.network = full
    with pytest.raises(DeviceMemoryError, match="out of memory"):
        run.predict(*batch(1), GAIN, BIAS)


def test_a_gpu_needs_the_build_for_it(pair, monkeypatch):
    graph = pair[1]
    assert device_for(graph, "auto") == device_for(graph, "cpu") == "cpu"
    expected = r"ONNX graph, .*pip install 'geoseg\[onnx-gpu\]'.*or use --set inference.device=cpu"
    for call in (lambda: device_for(graph, "cuda:1"), lambda: resolve_backend("auto", graph, "cuda", "fp32")):
        with pytest.raises(ConfigError, match=expected) as raised:
            call()
        assert len(str(raised.value)) <= 300
    scene = geoseg.open_scene("sentinel2-sample", bands=["blue", "green", "red", "nir"])
    with pytest.raises(ConfigError, match=expected):
        geoseg.segment(scene, graph, device="cuda", checks="off")
    monkeypatch.setattr(auto, "has_cuda", lambda: True)
    assert (device_for(graph, "auto"), device_for(graph, "cuda:1")) == ("auto", "cuda:1")
    assert resolve_backend("auto", graph, "cuda", "fp32") == "onnxruntime"
    assert resolve_backend("auto", graph, "cpu", "fp32") == "openvino"
    other = replace(graph, config=graph_config(OPENVINO, 4, 3))
    assert device_for(other, "auto") == "cpu"
    with pytest.raises(ConfigError, match=r"OpenVINO runs on a CPU only; or use --set inference\.device=cpu"):
        device_for(other, "cuda")


def test_a_gpu_on_which_it_does_not_start_is_not_replaced_by_the_cpu_in_silence(pair):
    if onnx_session.has_cuda():
        pytest.skip("this onnxruntime may start there")
    with (
        warnings.catch_warnings(action="ignore"),
        pytest.raises(PlanError, match=r"cannot start on cuda:1 .*device=cpu"),
    ):
        onnx_session.open_session(pair[1].weights_path, "cuda:1")


def test_a_file_that_it_cannot_read_is_told_in_one_line(pair, tmp_path):
    with pytest.raises(onnx_session.OnnxError) as raised:
        onnx_session.open_session(b"no model")
    assert "\n" not in str(raised.value)
    session = onnx_session.open_session(pair[1].weights_path)
    with pytest.raises(onnx_session.OnnxError, match="dimensions"):
        onnx_session.run(session, np.zeros((1, 3, 64, 64), np.float32))
