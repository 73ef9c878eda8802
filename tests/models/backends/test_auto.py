import pytest
import torch

from geoseg.core.errors import BundleError, ConfigError
from geoseg.models.backends import auto
from geoseg.models.backends.auto import forward_passes, resolve_backend, resolve_device, resolve_precision
from tests.conftest import make_bundle


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_device_that_is_not_here_is_told():
    with pytest.raises(ConfigError, match=r"inference\.device: cuda:1 is not available here \(0 GPUs\)"):
        resolve_device("cuda:1")
    assert resolve_device("auto") == "cpu"


def test_devices_and_precisions_are_resolved(monkeypatch):
    monkeypatch.setattr(auto, "count_gpus", lambda: 4)
    assert resolve_device("cuda:3") == "cuda:3"
    assert resolve_device("auto") == resolve_device("cuda") == "cuda"
    assert resolve_device("cpu") == "cpu"
    assert resolve_precision("auto", "cpu") == resolve_precision("auto", "cuda") == "fp32"
    assert resolve_precision("fp16", "cuda") == "fp16"
    assert resolve_precision("bf16", "cpu") == "bf16"
    with pytest.raises(ConfigError, match=r"inference\.precision: fp16 needs a GPU"):
        resolve_precision("fp16", "cpu")


def test_workers_share_the_cores(monkeypatch):
    monkeypatch.setattr(auto.os, "sched_getaffinity", lambda _: set(range(8)))
    assert [forward_passes("cpu", n) for n in (1, 2, 3, 8, 100)] == [8, 4, 2, 1, 1]
    assert forward_passes("cuda", 1) == forward_passes("cuda:1", 2) == 1


def test_a_cpu_takes_openvino_where_it_can_run_the_network(bundle, tmp_path):
    assert resolve_backend("auto", bundle, "cpu", "fp32") == "openvino"
    assert resolve_backend("auto", bundle, "cuda", "fp32") == "torch"
    assert resolve_backend("torch", bundle, "cpu", "fp32") == "torch"
    # Its unpooling scatters, which OpenVINO cannot.
    segnet = make_bundle(tmp_path / "segnet", architecture="SegNet")
    assert resolve_backend("auto", segnet, "cpu", "fp32") == "torch"
    with pytest.raises(BundleError, match=r"segnet: OpenVINO cannot run this network .*backend=torch"):
        resolve_backend("openvino", segnet, "cpu", "fp32")


def test_without_openvino_torch_runs(bundle, monkeypatch):
    monkeypatch.setattr(auto, "is_installed", lambda: False)
    assert resolve_backend("auto", bundle, "cpu", "fp32") == "torch"
    with pytest.raises(ConfigError, match=r"inference\.backend: openvino is not installed; pip install"):
        resolve_backend("openvino", bundle, "cpu", "fp32")


@pytest.mark.parametrize(("there", "backend"), [(True, "openvino"), (False, "torch")])
def test_bfloat16_runs_in_openvino_where_the_processor_has_it(bundle, monkeypatch, there, backend):
    monkeypatch.setattr(auto, "has_bfloat16", lambda: there)
    assert resolve_backend("auto", bundle, "cpu", "bf16") == backend
    assert resolve_backend("auto", bundle, "cpu", "fp32") == "openvino"


def test_what_openvino_does_not_do_is_told(bundle, monkeypatch):
    with pytest.raises(ConfigError, match="openvino runs on cpu in fp32 or bf16, not on cuda in fp16"):
        resolve_backend("openvino", bundle, "cuda", "fp16")
    monkeypatch.setattr(auto, "has_bfloat16", lambda: False)
    with pytest.raises(ConfigError, match=r"inference\.precision: this processor has no bfloat16; use fp32"):
        resolve_backend("openvino", bundle, "cpu", "bf16")
