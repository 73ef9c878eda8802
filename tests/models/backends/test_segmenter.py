import re
import shutil
import threading
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache

import numpy as np
import pytest
import torch
from torch._dynamo.utils import counters
from torch._inductor import config as inductor_config

from geoseg.core.errors import BundleError, DeviceMemoryError, PlanError
from geoseg.models.backends import load, openvino_segmenter
from geoseg.models.backends.inductor import CompiledNetwork
from geoseg.models.backends.load import device_pool, load_segmenter
from geoseg.models.backends.openvino_model import has_bfloat16
from geoseg.models.backends.openvino_segmenter import OpenVinoSegmenter
from geoseg.models.backends.spec import SegmenterSpec
from geoseg.models.backends.torch_segmenter import TorchSegmenter
from geoseg.models.bundle import open_bundle
from tests.conftest import make_bundle

GAIN = np.array([1e-4, 2e-4, 1e-4, 5e-5], dtype=np.float32)
BIAS = np.array([0.0, -0.1, 0.01, 0.2], dtype=np.float32)


@pytest.fixture(autouse=True)
def _threads():
    """Run in one thread, and leave the number of threads of this process as it was."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def spec_of(bundle, **changes):
    fields = {"device": "cpu", "backend": "torch", "precision": "fp32", "augment": "none", "passes": 2}
    return SegmenterSpec(bundle.folder, bundle.sha256, **{**fields, **changes})


def segmenter(bundle, **changes):
    spec = spec_of(bundle, **changes)
    return (OpenVinoSegmenter if spec.backend == "openvino" else TorchSegmenter)(bundle, spec)


@pytest.fixture(params=["torch", "openvino"])
def backend(request):
    return request.param


@lru_cache(maxsize=4)
def network_of(folder):
    """Open the network of a bundle once for many tests."""
    return open_bundle(folder).network()


def batch(count=3, size=(64, 64), dtype=np.uint16, seed=0):
    rng = np.random.default_rng(seed)
    values = rng.integers(0, 5000, (count, 4, *size)).astype(dtype)
    return values, np.ones((count, *size), bool)


def plain(bundle, values, valid):
    """Compute the probabilities as one would write them down."""
    per_band = (1, 4, 1, 1)
    mean, std = (
        np.array([getattr(b, k) for b in bundle.card.bands]).reshape(per_band) for k in ("mean", "std")
    )
    x = (values.astype(np.float64) * GAIN.reshape(per_band) + BIAS.reshape(per_band) - mean) / std
    x = np.where(valid[:, None], x, 0.0)
    with torch.inference_mode():
        logits = network_of(bundle.folder)(torch.from_numpy(x.astype(np.float32)))
        return torch.softmax(logits / bundle.card.temperature, dim=1).numpy()


@pytest.mark.parametrize("dtype", ["uint8", "int16", "uint16", "int32", "uint32", "float32", "float64"])
def test_a_prediction_is_a_plain_forward_pass(bundle, dtype, backend):
    values, valid = batch(2)
    values = (values % 250 if dtype == "uint8" else values).astype(dtype)
    before = values.copy()
    found = segmenter(bundle, backend=backend).predict(values, valid, GAIN, BIAS)
    assert found.dtype == np.float32
    assert found.shape == (2, 3, 64, 64)
    assert np.abs(found - plain(bundle, before, valid)).max() < 2e-3
    assert np.allclose(found.sum(axis=1), 1, atol=1e-5)
    assert found.std() > 0.05


def test_the_temperature_of_the_card_softens_probabilities(tmp_path, backend):
    bundles = [make_bundle(tmp_path / str(t), temperature=t) for t in (1.0, 4.0)]
    values, valid = batch(1)
    sharp, soft = (segmenter(b, backend=backend).predict(values, valid, GAIN, BIAS) for b in bundles)
    assert np.abs(sharp - plain(bundles[0], values, valid)).max() < 2e-3
    assert np.abs(soft - plain(bundles[1], values, valid)).max() < 2e-3
    assert soft.max(axis=1).mean() < sharp.max(axis=1).mean()


def test_bands_are_normalised_each_with_its_own_statistics(tmp_path, bundle, backend):
    bands = [{**b.model_dump(), "mean": 0.1 * i, "std": 0.05 * i} for i, b in enumerate(bundle.card.bands, 1)]
    other = make_bundle(tmp_path / "b", bands=bands)
    values, valid = batch(1)
    found = segmenter(other, backend=backend).predict(values, valid, GAIN, BIAS)
    assert np.abs(found - plain(other, values, valid)).max() < 2e-3
    assert np.abs(found - plain(bundle, values, valid)).max() > 0.05


@pytest.mark.parametrize("filler", [0.0, 30_000.0, np.nan, np.inf])
def test_invalid_pixels_enter_as_the_band_mean(bundle, filler, backend):
    values, valid = batch(2, dtype=np.float32)
    valid[0, 10:30, 5:40] = False
    valid[1] = False
    expected = plain(bundle, values, valid)
    values[np.broadcast_to(~valid[:, None], values.shape)] = filler
    found = segmenter(bundle, backend=backend).predict(values, valid, GAIN, BIAS)
    assert np.abs(found - expected).max() < 2e-3


@pytest.mark.parametrize(("augment", "turns"), [("flips", (0, 2)), ("d4", (0, 1, 2, 3))])
def test_augmentation_is_the_mean_over_explicit_transforms(bundle, augment, turns, backend):
    values, valid = batch(1)
    valid[0, :20, :30] = False
    parts = []
    for k in turns:
        for mirrored in (False, True):
            v, m = np.rot90(values, k, (2, 3)), np.rot90(valid, k, (1, 2))
            if mirrored:
                v, m = v[..., ::-1], m[..., ::-1]
            p = plain(bundle, v.copy(), m.copy())
            p = p[..., ::-1] if mirrored else p
            parts.append(np.rot90(p, -k, (2, 3)))
    found = segmenter(bundle, backend=backend, augment=augment).predict(values, valid, GAIN, BIAS)
    assert np.abs(found - np.mean(parts, axis=0)).max() < 2e-3
    assert np.abs(found - parts[0]).max() > 0.01


@pytest.mark.parametrize("augment", ["none", "flips", "d4"])
def test_tiles_need_not_be_square(bundle, augment, backend):
    values, valid = batch(2, (64, 96))
    found = segmenter(bundle, backend=backend, augment=augment).predict(values, valid, GAIN, BIAS)
    assert found.shape == (2, 3, 64, 96)
    assert np.allclose(found.sum(axis=1), 1, atol=1e-5)


@pytest.mark.parametrize("augment", ["none", "d4"])
def test_neither_the_place_in_the_batch_nor_the_other_tiles_change_a_byte(bundle, augment, backend):
    run = segmenter(bundle, backend=backend, augment=augment)
    values, valid = batch(4)
    expected = run.predict(values, valid, GAIN, BIAS).copy()
    order = [2, 0, 3, 1]
    shuffled = run.predict(values[order], valid[order], GAIN, BIAS)
    assert shuffled.tobytes() == np.ascontiguousarray(expected[order]).tobytes()
    others, all_valid = batch(4, seed=9)
    others[1], all_valid[2:] = values[3], False
    assert run.predict(others, all_valid, GAIN, BIAS)[1].tobytes() == expected[3].tobytes()


def test_a_prediction_leaves_its_input_alone(bundle, backend):
    values, valid = batch(2, dtype=np.float32)
    before = values.copy()
    segmenter(bundle, backend=backend).predict(values, valid, GAIN, BIAS)
    assert (values == before).all()


def test_a_network_that_sees_the_whole_tile_predicts_too(tmp_path, backend):
    bundle = make_bundle(tmp_path / "p", architecture="PSPNet")
    values, valid = batch(2)
    found = segmenter(bundle, backend=backend).predict(values, valid, GAIN, BIAS)
    assert np.abs(found - plain(bundle, values, valid)).max() < 2e-3


@pytest.fixture
def backend_with_bfloat16(backend):
    if backend == "openvino" and not has_bfloat16():
        pytest.skip("this processor has no bfloat16")
    return backend


def test_bands_are_normalised_in_float32_whatever_the_precision(tmp_path, bundle, backend_with_bfloat16):
    # Brightness temperature: 290 K, give or take 5. bfloat16 counts in steps of two there.
    bands = [{**b.model_dump(), "mean": 290.0, "std": 5.0} for b in bundle.card.bands]
    warm = make_bundle(tmp_path / "b", bands=bands)
    rng = np.random.default_rng(0)
    values, valid = rng.normal(29_000, 500, (1, 4, 64, 64)).astype(np.uint16), np.ones((1, 64, 64), bool)
    gain, bias = np.full(4, 0.01, np.float32), np.zeros(4, np.float32)
    exact, rough = (
        segmenter(warm, backend=backend_with_bfloat16, precision=p).predict(values, valid, gain, bias).copy()
        for p in ("fp32", "bf16")
    )
    assert np.abs(exact - rough).mean() < 0.05


def test_bfloat16_comes_close(bundle, backend_with_bfloat16):
    values, valid = batch(1)
    exact, rough = (
        segmenter(bundle, backend=backend_with_bfloat16, precision=p)
        .predict(values, valid, GAIN, BIAS)
        .copy()
        for p in ("fp32", "bf16")
    )
    assert rough.dtype == np.float32
    assert 0 < np.abs(exact - rough).mean() < 0.05


def test_a_worker_without_bfloat16_does_not_take_part_in_another_precision(bundle, monkeypatch):
    monkeypatch.setattr(openvino_segmenter, "has_bfloat16", lambda: False)
    with pytest.raises(PlanError, match=r"the processor of \S+ has no bfloat16, .*inference.precision=fp32"):
        segmenter(bundle, backend="openvino", precision="bf16")


@pytest.mark.parametrize("dtype", [np.uint16, np.float64])
@pytest.mark.parametrize("count", [1, 2])
def test_what_is_prepared_is_what_is_predicted_with(bundle, monkeypatch, dtype, count):
    run, compiled = segmenter(bundle, backend="openvino"), []
    compile_ = run._compile
    monkeypatch.setattr(run, "_compile", lambda *key: compiled.append(key) or compile_(*key))
    run.prepare((count, 4, 64, 64), np.dtype(dtype))
    run.predict(*batch(count, dtype=dtype), GAIN, BIAS)
    assert len(compiled) == 1


def test_more_threads_than_passes_get_a_request_each(bundle):
    run = segmenter(bundle, backend="openvino", passes=1)
    expected = run.predict(*batch(1), GAIN, BIAS).tobytes()
    with ThreadPoolExecutor(3) as pool:
        found = list(pool.map(lambda _: run.predict(*batch(1), GAIN, BIAS).tobytes(), range(12)))
    assert set(found) == {expected}


def test_a_network_that_was_given_back_is_loaded_again(bundle):
    first = load_segmenter(spec_of(bundle))
    assert load.is_loaded(spec_of(bundle))
    load.unload_segmenter()
    assert not load.is_loaded(spec_of(bundle))
    assert load_segmenter(spec_of(bundle)) is not first


def test_a_device_without_memory_is_told(bundle):
    run = segmenter(bundle)

    def full(x):
        raise torch.OutOfMemoryError("CUDA out of memory")

    run.network = full
    with pytest.raises(DeviceMemoryError, match=r"out of memory .*\(1, 4, 64, 64\).*--set tiling.tile=256"):
        run.predict(*batch(1), GAIN, BIAS)


def test_weights_that_give_nan_are_told(bundle):
    run = segmenter(bundle)
    with torch.no_grad():
        next(run.network.parameters()).fill_(float("nan"))
    with pytest.raises(BundleError, match="NaN or infinite probabilities"):
        run.predict(*batch(1), GAIN, BIAS)


def test_a_network_with_another_output_size_is_told(bundle):
    run = segmenter(bundle)
    run.network = torch.nn.Conv2d(4, 3, 3)
    with pytest.raises(
        BundleError, match=r"turns \(1, 4, 64, 64\) into \(1, 3, 62, 62\); 3 channels of the same"
    ):
        run.predict(*batch(1), GAIN, BIAS)


def test_a_segmenter_is_loaded_once(bundle):
    first = load_segmenter(spec_of(bundle))
    assert load_segmenter(spec_of(bundle)) is first
    other = load_segmenter(spec_of(bundle, augment="flips"))
    assert other is not first
    assert len(load._loaded) == 1


def test_a_bundle_that_changed_since_the_plan_is_refused(bundle, tmp_path):
    shutil.copytree(bundle.folder, tmp_path / "b")
    planned = open_bundle(tmp_path / "b")
    make_bundle(tmp_path / "b", seed=5)
    with pytest.raises(BundleError, match=r"b: changed since the run was planned; start the run again"):
        load_segmenter(spec_of(planned))


def test_forward_passes_share_a_pool_whose_threads_compute_alone(bundle):
    torch.set_num_threads(2)
    pool = device_pool(spec_of(bundle, passes=2))
    assert device_pool(spec_of(bundle, passes=2, augment="d4")) is pool
    assert device_pool(spec_of(bundle, passes=1)) is not pool
    started = threading.Barrier(2, timeout=60)

    def threads():
        started.wait()
        return torch.get_num_threads()

    assert [f.result() for f in [pool.submit(threads), pool.submit(threads)]] == [1, 1]


def test_passes_at_once_give_the_bytes_of_passes_in_turn(bundle, backend):
    run = segmenter(bundle, backend=backend)
    batches = [batch(1, seed=i) for i in range(4)]
    expected = [run.predict(v, m, GAIN, BIAS).tobytes() for v, m in batches]
    pool = device_pool(spec_of(bundle, backend=backend))
    tasks = [pool.submit(lambda v, m: run.predict(v, m, GAIN, BIAS).tobytes(), v, m) for v, m in batches]
    found = [t.result() for t in tasks]
    assert found == expected
    assert len(set(found)) == 4


@pytest.fixture
def fresh():
    """Let torch forget what it has compiled."""
    torch.compiler.reset()
    yield
    torch.compiler.reset()


@pytest.mark.skipif(shutil.which("g++") is None, reason="torch compiles with a C++ compiler")
@pytest.mark.parametrize("augment", ["none", "d4"])
def test_a_compiled_network_predicts_what_the_plain_one_does(bundle, augment, fresh):
    values, valid = batch(2)
    graphs = counters["stats"]["unique_graphs"]
    run = segmenter(bundle, backend="inductor", augment=augment)
    # Believe what the processor says of itself: torch would compile more to see it, which is dear.
    with inductor_config.patch({"cpp.vec_isa_ok": True}):
        run.prepare(values.shape, values.dtype)
    assert counters["stats"]["unique_graphs"] > graphs
    pool = device_pool(spec_of(bundle, backend="inductor"))
    tasks = [pool.submit(run.predict, values, valid, GAIN, BIAS) for _ in range(4)]
    found = [t.result() for t in tasks]
    expected = segmenter(bundle, augment=augment).predict(values, valid, GAIN, BIAS)
    np.testing.assert_allclose(found[0], expected, atol=1e-5)
    assert len({f.tobytes() for f in found}) == 1


def compiled(bundle):
    """Return a segmenter with a network of one layer: what is compiled, and when, is the same for any."""
    run = segmenter(bundle, backend="inductor")
    run.network = CompiledNetwork(torch.nn.Conv2d(4, 3, 1))
    return run


@pytest.fixture
def compilations(monkeypatch, fresh):
    """Compile to what torch does anyway, in a moment; return the shapes that were compiled for."""
    shapes = []

    def compile_fx(graph, inputs, **_):
        shapes.append(
            max((tuple(i.shape) for i in inputs if getattr(i, "ndim", 0) == 4), key=lambda s: s[-1])
        )
        return graph.forward

    monkeypatch.setattr("torch._inductor.compile_fx.compile_fx", compile_fx)
    return shapes


def test_a_network_is_compiled_for_any_number_of_shapes(bundle, compilations):
    run = compiled(bundle)
    # By default torch gives a function up after eight.
    sides = range(64, 64 + 10 * 32, 32)
    for _ in range(2):
        for side in sides:
            run.predict(*batch(1, (64, side)), GAIN, BIAS)
    assert [shape[-1] for shape in compilations] == list(sides)


def test_threads_that_meet_compile_once(bundle, compilations):
    run, start = compiled(bundle), threading.Barrier(6, timeout=60)

    def predict():
        start.wait()
        return run.predict(*batch(1), GAIN, BIAS).tobytes()

    with ThreadPoolExecutor(6) as pool:
        found = [f.result() for f in [pool.submit(predict) for _ in range(6)]]
    assert len(set(found)) == len(compilations) == 1


@pytest.mark.parametrize("why", ["No working C++ compiler found", "/usr/include/c++/12/memory: error"])
def test_a_network_that_cannot_be_compiled_is_told(bundle, monkeypatch, fresh, why):
    def fails(*_args, **_kwargs):
        raise RuntimeError(why)

    monkeypatch.setattr("torch._inductor.compile_fx.compile_fx", fails)
    run = compiled(bundle)
    with pytest.raises(PlanError, match=rf"inductor cannot compile .*{re.escape(why)}.*backend=torch$"):
        run.prepare((1, 4, 64, 64), np.dtype(np.uint16))


def test_a_device_without_memory_while_compiling_is_told(bundle, monkeypatch, fresh):
    def full(*_args, **_kwargs):
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr("torch._inductor.compile_fx.compile_fx", full)
    run = compiled(bundle)
    with pytest.raises(DeviceMemoryError, match="out of memory"):
        run.predict(*batch(1), GAIN, BIAS)
