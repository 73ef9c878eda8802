"""Networks that are a user's own code: only with trust, from training to map."""

import importlib
import json
import sys
import textwrap
from dataclasses import replace

import numpy as np
import pytest
import rasterio
import torch
import xarray

import geoseg
from geoseg.core.errors import BundleError, ConfigError
from geoseg.models.backends.load import load_segmenter, unload_segmenter
from geoseg.models.bundle import open_bundle, save_bundle
from geoseg.models.networks.architectures import build, divisor, is_global
from geoseg.models.networks.own_code import is_own_code
from geoseg.runs.prepare import prepare
from geoseg.runs.run import run
from tests.conftest import write_pipeline
from tests.training.test_train import data, document  # noqa: F401

CODE = """
    import torch
    from torch import nn

    class MyNet(nn.Module):
        def __init__(self, in_channels, classes, width=4, answers=0):
            super().__init__()
            self.body = nn.Sequential(
                nn.Conv2d(in_channels, width, 3, stride=2, padding=1), nn.ReLU(), nn.Upsample(scale_factor=2)
            )
            self.last = nn.Conv2d(width, classes + answers, 1)

        def forward(self, x):
            return self.last(self.body(x))

    def function(in_channels, classes):
        return "no network"

    def broken(in_channels, classes):
        raise KeyError("weights")
"""
NAME = "geoseg_test_own.nets:MyNet"
CONFIG = {"_model_class": NAME, "in_channels": 4, "classes": 3, "width": 6}


@pytest.fixture
def package(tmp_path, monkeypatch):
    """A package of somebody's own, which is found."""
    folder = tmp_path / "site/geoseg_test_own"
    folder.mkdir(parents=True)
    (folder / "__init__.py").write_text("")
    (folder / "nets.py").write_text(textwrap.dedent(CODE))
    monkeypatch.syspath_prepend(str(folder.parent))
    yield folder
    forget()


def forget():
    for name in [n for n in sys.modules if n.startswith("geoseg_test_own")]:
        del sys.modules[name]
    unload_segmenter()


@pytest.fixture
def own(package, tmp_path, bundle):
    """A bundle with that network."""
    torch.manual_seed(0)
    network = build(CONFIG, trust=True)
    card = bundle.card.model_copy(update={"memory_bytes_per_pixel": None})
    return save_bundle(network, card, tmp_path / "own")


@pytest.mark.parametrize(
    ("name", "own_code"),
    [
        (NAME, True),
        ("nets:MyNet", True),
        ("Unet", False),
        ("os.path:", False),
        ("a b:C", False),
        (None, False),
    ],
)
def test_a_class_of_a_package_is_told_from_a_name_of_the_registry(name, own_code):
    assert is_own_code(name) is own_code


def test_it_is_built_with_trust_only(package):
    with pytest.raises(BundleError, match=r"is Python code, geoseg_test_own.nets:MyNet, .* give --trust"):
        build(CONFIG)
    assert "geoseg_test_own" not in sys.modules
    network = build(CONFIG, trust=True)
    assert network.last.in_channels == 6
    assert divisor(network) == 2
    assert not is_global(network)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"_model_class": "geoseg_test_absent:Net"}, "there is no module geoseg_test_absent here; install"),
        ({"_model_class": "geoseg_test_own.nets:Absent"}, "cannot be built: AttributeError"),
        ({"_model_class": "geoseg_test_own.nets:broken", "width": None}, "cannot be built: .*"),
        ({"depth": 3}, "cannot be built: TypeError: .*depth"),
        ({"classes": 0}, "cannot be built: classes: a number of at least 1, not 0"),
    ],
)
def test_what_cannot_be_built_is_told_in_a_line(package, change, said):
    with pytest.raises(BundleError, match=said) as caught:
        build({**CONFIG, **change}, trust=True)
    assert len(str(caught.value)) < 300


def test_what_is_no_network_is_told(package):
    with pytest.raises(BundleError, match=r"gives a str, and not a torch.nn.Module"):
        build({"_model_class": "geoseg_test_own.nets:function", "in_channels": 4, "classes": 3}, trust=True)


def test_a_bundle_opens_without_running_its_code_and_says_so(own, geoseg_here):
    forget()
    opened = open_bundle(own.folder)
    assert opened.card.code == opened.code == NAME
    shown = geoseg_here("models", "show", own.folder)
    assert f"{NAME} (Python code: runs with --trust)" in shown.stdout
    assert "geoseg_test_own" not in sys.modules
    with pytest.raises(BundleError, match=r"own: the network is Python code"):
        opened.network()
    assert json.loads((own.folder / "config.json").read_text()) == CONFIG
    x = torch.randn(1, 4, 64, 64)
    network = open_bundle(own.folder, trust=True).network()
    assert network(x).shape == (1, 3, 64, 64)


def test_a_card_that_hides_the_code_is_refused(own):
    path = own.folder / "geoseg.json"
    path.write_text(path.read_text().replace(f'"code": "{NAME}"', '"code": null'))
    with pytest.raises(
        BundleError, match=r"geoseg.json says code None, and config.json the network geoseg_test"
    ):
        open_bundle(own.folder, trust=True)


def test_a_network_that_answers_other_channels_is_refused_when_it_is_loaded(own, package):
    nets = package / "nets.py"
    nets.write_text(nets.read_text().replace("return self.last(self.body(x))", "return self.body(x)"))
    forget()
    with pytest.raises(
        BundleError, match=r"answers \(1, 6, 64, 64\) .*; logits of \(1, 3, 64, 64\) are needed"
    ):
        open_bundle(own.folder, trust=True).network()


def test_a_run_needs_trust_and_gives_what_the_network_says(own, tmp_path, scene_file, geoseg_here):
    pipeline = write_pipeline(tmp_path, scene_file, own.folder)
    with pytest.raises(BundleError, match=r"give --trust \(in Python trust=True\)"):
        prepare(pipeline)
    refused = geoseg_here("run", pipeline)
    assert refused.returncode == 1
    assert "give --trust" in refused.stderr
    plan = prepare(pipeline, ["tiling.tile=512"], trust=True)
    assert (plan.backend, plan.converts, plan.segmenter.trust) == ("torch", False, True)
    done = run(plan)
    with rasterio.open(scene_file) as src, rasterio.open(tmp_path / "out/classes.tif") as found:
        numbers, classes = src.read(), found.read(1)
    card = own.card
    mean, std = (np.array([getattr(b, k) for b in card.bands])[:, None, None] for k in ("mean", "std"))
    x = torch.from_numpy(((numbers * 1e-4 - mean) / std).astype(np.float32))[None]
    with torch.inference_mode():
        expected = own.network()(x)[0].argmax(0).numpy() + 1
    assert (classes[8:-8, 8:-8] == expected[8:-8, 8:-8]).mean() > 0.99
    assert done.record.plan.architecture.startswith(NAME)
    with pytest.raises(BundleError, match=r"openvino|OpenVINO") as caught:
        prepare(pipeline, ["inference.backend=openvino"], trust=True)
    assert "Python code" in str(caught.value)


def test_a_worker_needs_trust_and_the_package(own, pipeline_file, monkeypatch):
    spec = prepare(pipeline_file, [f"model={own.folder}"], trust=True).segmenter
    forget()
    with pytest.raises(BundleError, match="give --trust"):
        load_segmenter(replace(spec, trust=False))
    assert load_segmenter(spec) is not None
    forget()
    monkeypatch.setattr(sys, "path", [p for p in sys.path if not p.endswith("/site")])
    importlib.invalidate_caches()
    with pytest.raises(BundleError, match=r"there is no module geoseg_test_own here; install its package"):
        load_segmenter(spec)


def test_an_array_needs_trust_too(own, scene_file):
    array = geoseg.open_scene(scene_file)
    with pytest.raises(BundleError, match="trust=True"):
        geoseg.segment(array, own.folder)
    found = geoseg.segment(array, own.folder, trust=True, tile=128)
    assert isinstance(found, xarray.Dataset)
    assert set(np.unique(found["class"])) <= {1, 2, 3}


def test_a_training_with_it_makes_a_bundle_of_it(package, tmp_path, data):  # noqa: F811
    from geoseg.training import train
    from geoseg.training.evaluate import evaluate_bundle
    from geoseg.training.prepare import prepare as prepare_training

    path = document(tmp_path, data, f"{{architecture: '{NAME}', arguments: {{width: 8}}}}", epochs=1)
    with pytest.raises(BundleError, match="give --trust"):
        train.train(prepare_training(path))
    with pytest.raises(ConfigError, match="transfer: MyNet has no part called encoder"):
        train.train(prepare_training(path, ["transfer.freeze_epochs=1"], trust=True))
    with pytest.raises(BundleError, match=r"answers \(1, 4, 64, 64\)"):
        train.train(prepare_training(path, ["network.arguments.answers=1"], trust=True))
    trained = train.train(prepare_training(path, trust=True))
    made = open_bundle(trained.bundle, trust=True)
    assert made.card.code == NAME
    assert made.network().last.in_channels == 8
    report = evaluate_bundle(path, [], trained.bundle, "test", trust=True)
    assert report.miou == pytest.approx(trained.record.metrics.miou, abs=1e-3)
