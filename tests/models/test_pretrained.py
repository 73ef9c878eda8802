import sys
from types import SimpleNamespace

import pytest
import torch
from safetensors.torch import save_file
from torchvision.models._api import Weights, WeightsEnum

from geoseg.core.errors import BundleError, ConfigError
from geoseg.models import pretrained
from geoseg.models.pretrained import RGB, find, read, strip_prefixes

STATE = {"conv1.weight": torch.arange(24.0).view(2, 3, 2, 2), "layer1.0.bn1.bias": torch.ones(2)}


class Evil:
    def __reduce__(self):
        return print, ("pickled code ran",)


@pytest.mark.parametrize("inside", [None, "state_dict", "model", "model_state_dict"])
def test_tensors_are_found_inside_a_checkpoint(tmp_path, inside):
    torch.save({inside: STATE, "epoch": 3} if inside else {**STATE, "epoch": 3}, tmp_path / "w.pth")
    found = read(tmp_path / "w.pth")
    assert found.keys() == STATE.keys()
    assert torch.equal(found["conv1.weight"], STATE["conv1.weight"])


def test_safetensors_are_read_with_their_hash(tmp_path):
    import hashlib

    path = tmp_path / "w.safetensors"
    save_file(STATE, path)
    found = find(str(path), "resnet18")
    assert torch.equal(found.tensors["conv1.weight"], STATE["conv1.weight"])
    assert found.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert found.bands == ()


@pytest.mark.parametrize(
    "prefix",
    ["", "model.", "module.", "encoder.", "model.encoder.", "backbone.", "module.model.encoder.model."],
)
def test_what_wrappers_add_to_names_is_taken_off(prefix):
    assert strip_prefixes(f"{prefix}layer1.0.conv1.weight") == "layer1.0.conv1.weight"


def test_timms_two_ways_to_write_a_stage_are_one():
    assert strip_prefixes("model.stages_0.blocks.1.gamma") == strip_prefixes("stages.0.blocks.1.gamma")
    assert strip_prefixes("patch_embed.proj.weight") == "patch_embed.proj.weight"


def test_pickled_code_does_not_run(tmp_path, capsys):
    torch.save({"state_dict": Evil()}, tmp_path / "evil.pth")
    with pytest.raises(BundleError, match=r"evil\.pth: holds more than tensors, and geoseg runs no pickled"):
        read(tmp_path / "evil.pth")
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("name", ["w.safetensors", "w.pth"])
@pytest.mark.parametrize("content", [b"", b"rubbish", b"PK\x03\x04", b"\x80\x04\x95"])
def test_a_damaged_file_is_told_on_one_line(tmp_path, name, content):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(BundleError, match=rf"{name}: ") as caught:
        read(tmp_path / name)
    assert "\n" not in str(caught.value)


def test_a_file_without_a_mapping_is_told(tmp_path):
    torch.save(torch.zeros(3), tmp_path / "w.pth")
    with pytest.raises(
        BundleError, match=r"w\.pth: cannot be read: a mapping of names to tensors is expected"
    ):
        read(tmp_path / "w.pth")


def test_a_missing_file_is_told():
    with pytest.raises(ConfigError, match=r"gone\.safetensors: no such file of weights"):
        find("gone.safetensors", "resnet18")


@pytest.mark.parametrize(
    ("encoder", "source", "message"),
    [
        ("resnet18", "imagenett", r"; did you mean 'imagenet'\?; known: imagenet, ssl, swsl"),
        ("resnet18", "noise", "not known for resnet18; known: imagenet, ssl, swsl; or give a local file"),
        ("tu-tf_efficientnet_lite0", "in21k", "not known for tu-tf_.*known: imagenet, in1k"),
        ("tu-no_such_net", "imagenet", "not known for tu-no_such_net; known: none"),
        ("own", "imagenet", "not known for own; known: none"),
    ],
)
def test_an_unknown_name_is_told_with_the_known_ones(encoder, source, message):
    with pytest.raises(ConfigError, match=message):
        find(source, encoder)


@pytest.mark.parametrize(
    ("encoder", "source", "place"),
    [
        ("resnet18", "ssl", "smp-hub/resnet18.ssl"),
        ("vgg11_bn", "imagenet", "smp-hub/vgg11_bn.imagenet"),
        ("tu-tf_efficientnet_lite0", "imagenet", "timm/tf_efficientnet_lite0.in1k"),
        ("tu-vit_tiny_patch16_224.augreg_in21k", "imagenet", "timm/vit_tiny_patch16_224.augreg_in21k"),
        ("tu-vit_tiny_patch16_224", "augreg_in21k", "timm/vit_tiny_patch16_224.augreg_in21k"),
    ],
)
def test_a_name_is_looked_for_where_smp_and_timm_keep_it(monkeypatch, tmp_path, encoder, source, place):
    save_file(STATE, tmp_path / "model.safetensors")
    asked = []

    def download(repository, *_, **__):
        asked.append(repository)
        return str(tmp_path / "model.safetensors")

    monkeypatch.setattr(pretrained, "hf_hub_download", download)
    assert find(source, encoder).bands == RGB
    assert asked == [place]


def test_a_failed_download_says_that_a_local_file_would_do(monkeypatch):
    def download(*_, **__):
        raise OSError("no\nnetwork")

    monkeypatch.setattr(pretrained, "hf_hub_download", download)
    with pytest.raises(
        ConfigError, match=r"imagenet: cannot be downloaded: no network; .*copy the file here"
    ):
        find("imagenet", "resnet18")


def test_torchgeo_is_an_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "torchgeo", None)
    monkeypatch.setitem(sys.modules, "torchgeo.models", None)
    with pytest.raises(ConfigError, match=r"torchgeo is not installed; .*install 'geoseg\[torchgeo\]'"):
        find("torchgeo:ResNet18_Weights.X", "resnet18")


@pytest.fixture
def torchgeo(monkeypatch, tmp_path):
    """A torchgeo whose weights lie on this disk."""
    torch.save(STATE, tmp_path / "s2.pth")
    torch.save({"w": Evil()}, tmp_path / "evil.pth")
    meta = {"in_chans": 3, "bands": ["B4", "B8a", "B11"]}

    class ResNet18_Weights(WeightsEnum):  # noqa: N801 (torchgeo's name)
        SENTINEL2_ALL_MOCO = Weights((tmp_path / "s2.pth").as_uri(), None, meta)
        GONE = Weights((tmp_path / "gone.pth").as_uri(), None, meta)
        EVIL = Weights((tmp_path / "evil.pth").as_uri(), None, meta)

    def get_weight(name):
        return ResNet18_Weights[name.split(".")[1]]

    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "home"))
    monkeypatch.setitem(sys.modules, "torchgeo", SimpleNamespace())
    monkeypatch.setitem(sys.modules, "torchgeo.models", SimpleNamespace(get_weight=get_weight))


def test_torchgeos_weights_come_with_their_bands(torchgeo):
    found = find("torchgeo:ResNet18_Weights.SENTINEL2_ALL_MOCO", "resnet18")
    assert found.bands == ("red", "nir08", "swir16")
    assert torch.equal(found.tensors["conv1.weight"], STATE["conv1.weight"])
    assert len(found.sha256) == 64


@pytest.mark.parametrize(
    ("name", "error", "message"),
    [
        ("UNKNOWN", ConfigError, "torchgeo does not know these weights"),
        ("GONE", ConfigError, "cannot be downloaded"),
        ("EVIL", BundleError, "geoseg runs no pickled code"),
    ],
)
def test_torchgeo_weights_that_cannot_be_had_are_told(torchgeo, capsys, name, error, message):
    with pytest.raises(error, match=message) as caught:
        find(f"torchgeo:ResNet18_Weights.{name}", "resnet18")
    assert "\n" not in str(caught.value)
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
    ("name", "bands", "expected"),
    [
        ("ResNet50_Weights.SENTINEL2_ALL_MOCO", ["B1", "B8a"], ("coastal", "nir08")),
        ("ResNet50_Weights.LANDSAT_ETM_SR_MOCO", ["SR_B1", "SR_B4"], ("blue", "nir")),
        ("ResNet50_Weights.LANDSAT_OLI_SR_MOCO", ["SR_B1", "SR_B5"], ("coastal", "nir08")),
        ("ResNet50_Weights.FMOW_RGB_GASSL", ["R", "G", "B"], ("red", "green", "blue")),
        ("ResNet50_Weights.FMOW_RGB_GASSL", None, ()),
    ],
)
def test_band_numbers_mean_what_their_sensor_says(name, bands, expected):
    assert pretrained._bands(name, {"bands": bands}) == expected
