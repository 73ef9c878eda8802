import argparse
import json

import numpy as np
import pytest
import torch

from geoseg.core.errors import BundleError, ConfigError
from geoseg.models.importing.checkpoints import read_checkpoint
from geoseg.models.importing.find import read_source
from geoseg.models.importing.source import Ask


class Trap:
    def __reduce__(self):
        return (pytest.fail, ("it was unpickled",))


@pytest.mark.parametrize("held", [Trap(), argparse.Namespace(lr=1)], ids=["trap", "namespace"])
def test_a_file_that_holds_objects_is_refused_and_not_unpickled(tmp_path, held):
    torch.save({"state_dict": {"w": torch.ones(1)}, "args": held}, tmp_path / "m.ckpt")
    with pytest.raises(BundleError, match=r"holds Python objects.*torch\.save\(ckpt\['state_dict'\]"):
        read_source(tmp_path / "m.ckpt", Ask())


def test_with_trust_it_is_unpickled(tmp_path):
    torch.save(
        {"state_dict": {"w": torch.ones(1)}, "hyper_parameters": argparse.Namespace()}, tmp_path / "m.ckpt"
    )
    tensors, hyper = read_checkpoint(tmp_path / "m.ckpt", trust=True)
    assert (list(tensors), hyper) == (["w"], {})


@pytest.mark.parametrize("name", ["fcn_resnet50", "lraspp_mobilenet_v3_large"])
def test_a_network_of_torchvision_gives_the_same_logits(tmp_path, name):
    from torchvision.models import segmentation

    extra = {"aux_loss": True} if name.startswith("fcn") else {}
    torch.manual_seed(0)
    made = getattr(segmentation, name)(weights=None, weights_backbone=None, num_classes=4, **extra).eval()
    torch.save(made.state_dict(), tmp_path / "m.pth")
    source = read_source(tmp_path / "m.pth", Ask(torchvision=name))
    x = np.random.default_rng(0).normal(size=(1, 3, 64, 72)).astype(np.float32)
    with torch.inference_mode():
        expected = made(torch.from_numpy(x))["out"].numpy()
    assert np.array_equal(source.original(x), expected)
    assert (source.bands, source.channels) == (3, 4)
    assert [n.split(" ")[0] for n in source.notes] == ([] if not extra else [str(len(_aux(made)))])


def _aux(network):
    return [k for k in network.state_dict() if k.startswith("aux_classifier.")]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda s: s.pop("encoder.model.conv_stem.weight"),
            "lacks 1 of .* such as encoder.model.conv_stem.weight",
        ),
        (lambda s: s.update(other=torch.ones(2)), "which has no other"),
        (lambda s: s.update({"encoder.model.bn1.bias": torch.ones(3)}), r"bn1.bias is \(3,\) in the file"),
    ],
)
def test_weights_of_another_network_are_refused(foreign, tmp_path, change, message):
    state = dict(foreign.network.state_dict())
    change(state)
    torch.save(state, tmp_path / "m.pth")
    with pytest.raises(BundleError, match=f"does not fit Unet.*{message}"):
        read_source(tmp_path / "m.pth", foreign.ask)


def test_an_architecture_that_nobody_says_is_asked_for(foreign):
    with pytest.raises(ConfigError, match="--architecture Unet --encoder resnet34, or --as torchvision:NAME"):
        read_source(foreign.folder / "bare.pth", Ask())


ONE = {"state_dict": {"w": torch.ones(1)}}


def save(path, content):
    if path.suffix in (".dlpk", ".h5"):
        path.write_bytes(b"PK")
    else:
        torch.save(content, path)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("m.dlpk", None, "package of ArcGIS.*then import the .onnx"),
        ("m.h5", None, "Keras.*SavedModel"),
        ("m.ckpt", {**ONE, "hyper_parameters": {"model_factory": "x"}}, "terratorch"),
        ("m.ckpt", {**ONE, "hyper_parameters": {"model": "fcn", "backbone": "x"}},
         "torchgeo with model 'fcn'"),
        ("m.pth", {"epoch": 3}, "holds no tensors"),
    ],
)  # fmt: skip
def test_what_is_not_taken_is_told_with_the_way_on(tmp_path, name, content, message):
    save(tmp_path / name, content)
    with pytest.raises(BundleError, match=message) as caught:
        read_source(tmp_path / name, Ask())
    assert len(str(caught.value).replace(str(tmp_path), "")) <= 300


def test_a_folder_of_transformers_is_told(tmp_path):
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "segformer"}))
    with pytest.raises(BundleError, match=r"transformers \(segformer\).*then import the .onnx"):
        read_source(tmp_path, Ask())


@pytest.mark.parametrize("name", ["program.pt"])
def test_a_program_is_loaded_only_with_trust(foreign, name):
    with pytest.raises(BundleError, match="can run code while it is loaded; give --trust"):
        read_source(foreign.folder / name, Ask())
