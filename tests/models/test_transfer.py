import pytest
import timm
import torch
from safetensors.torch import load_file, save_file
from torchvision.models import resnet18
from torchvision.models.vgg import cfgs, make_layers

from geoseg.core.bands import common_name
from geoseg.core.errors import BundleError, ConfigError, GeosegWarning
from geoseg.models.networks.architectures import build, without_content
from geoseg.models.networks.stages import depths
from geoseg.models.transfer import (
    adapt_stem,
    load_encoder_weights,
    parameter_groups,
    start_from_bundle,
)
from tests.conftest import BAND_NAMES, make_bundle

RGB = ("red", "green", "blue")
LITE = {"encoder_name": "tu-tf_efficientnet_lite0", "encoder_depth": 3, "decoder_channels": (16, 8, 8)}


def unet(bands=3, **arguments):
    config = {"_model_class": "Unet", "encoder_name": "resnet18", "in_channels": bands, "classes": 3}
    return build({**config, **arguments})


@pytest.fixture(scope="module")
def resnet():
    """State dict of a ResNet-18 as torchvision writes it."""
    torch.manual_seed(3)
    return resnet18().state_dict()


@pytest.fixture(scope="module")
def resnet_file(resnet, tmp_path_factory):
    path = tmp_path_factory.mktemp("weights") / "resnet18.safetensors"
    save_file(resnet, path)
    return str(path)


# Encoders


def test_a_file_of_torchvision_fills_smps_encoder(resnet, resnet_file):
    network = unet()
    loaded = load_encoder_weights(network, resnet_file, RGB)
    assert all(torch.equal(v, resnet[k]) for k, v in network.encoder.state_dict().items())
    assert loaded.matched == len(network.encoder.state_dict())
    assert (loaded.missing, set(loaded.unexpected)) == ((), {"fc.weight", "fc.bias"})
    assert loaded.stem == "first layer as it was: the same bands"
    assert len(loaded.sha256) == 64
    digest = loaded.sha256[:12]
    assert str(loaded) == f"resnet18.safetensors (sha256 {digest}), 120 of 120 tensors, {loaded.stem}"


@pytest.mark.parametrize(
    ("stem", "words"),
    [
        ("repeat", "mean kernel of 3 bands repeated for 4"),
        ("bands", "kernels of blue, green, red by name, the mean for 1"),
    ],
)
def test_the_first_layer_is_made_to_fit(resnet, resnet_file, stem, words):
    network = unet(4)
    loaded = load_encoder_weights(network, resnet_file, ["B02", "green", "red", "nir"], stem=stem)
    expected = adapt_stem(resnet["conv1.weight"], RGB, BAND_NAMES, stem)
    assert torch.equal(network.encoder.conv1.weight, expected)
    assert loaded.stem == words


def test_as_many_unknown_bands_are_taken_in_their_order(resnet, tmp_path):
    kernels = torch.randn(64, 5, 7, 7)
    save_file({**resnet, "conv1.weight": kernels}, tmp_path / "five.safetensors")
    network = unet(5)
    loaded = load_encoder_weights(network, str(tmp_path / "five.safetensors"), list("abcde"))
    assert torch.equal(network.encoder.conv1.weight, kernels)
    assert loaded.stem == "first layer as it was: as many bands, taken in their order"
    with pytest.raises(ConfigError, match="does not tell its 5 bands, so they cannot be mapped by name; use"):
        load_encoder_weights(unet(4), str(tmp_path / "five.safetensors"), BAND_NAMES, stem="bands")


@pytest.mark.parametrize("name", ["tf_efficientnet_lite0", "convnext_atto", "vit_tiny_patch16_224"])
def test_a_file_of_timm_fills_a_tu_encoder(tmp_path, name):
    torch.manual_seed(1)
    state = timm.create_model(name, pretrained=False).state_dict()
    save_file(state, tmp_path / "w.safetensors")
    if "vit" in name:
        network = build({"_model_class": "DPT", "encoder_name": f"tu-{name}", "num_classes": 0})
    else:
        network = unet(encoder_name=f"tu-{name}")
    loaded = load_encoder_weights(network, str(tmp_path / "w.safetensors"), RGB)
    assert loaded.missing == ()
    for there, here in zip(
        [v for k, v in state.items() if v.ndim == 4 and "conv_head" not in k],
        [v for v in network.encoder.state_dict().values() if v.ndim == 4],
        strict=True,
    ):
        assert torch.equal(there, here)


def test_vgg_with_batch_norm_fills_segnets_encoder(tmp_path):
    layers = make_layers(cfgs["A"], batch_norm=True).state_dict()
    vgg = {**{f"features.{k}": v for k, v in layers.items()}, "classifier.0.weight": torch.zeros(1)}
    torch.save(vgg, tmp_path / "vgg.pth")
    network = build({"_model_class": "SegNet", "encoder_name": "vgg11", "in_channels": 4, "encoder_depth": 4})
    loaded = load_encoder_weights(network, str(tmp_path / "vgg.pth"), BAND_NAMES)
    assert loaded.missing == ()
    assert torch.equal(network.encoder.features[4].weight, vgg["features.4.weight"])
    assert "classifier.0.weight" in loaded.unexpected


def test_weights_of_another_architecture_are_refused_with_examples(resnet_file):
    network = unet(**LITE)
    before = {k: v.clone() for k, v in network.state_dict().items()}
    with pytest.raises(
        BundleError,
        match=r"resnet18\.safetensors: only \d+ of the encoder's \d+ tensors .* lacks for example "
        r"model\.conv_stem\.weight \(32, 3, 3, 3\), the source has for example .*give weights of the same",
    ) as caught:
        load_encoder_weights(network, resnet_file, RGB)
    assert "\n" not in str(caught.value)
    assert all(torch.equal(v, before[k]) for k, v in network.state_dict().items())


def test_a_few_tensors_that_are_missing_are_told(resnet, tmp_path):
    save_file({k: v for k, v in resnet.items() if "layer4.1" not in k}, tmp_path / "w.safetensors")
    with pytest.warns(
        GeosegWarning, match=r"10 tensors of the network .* for example layer4\.1\.conv1\.weight"
    ):
        loaded = load_encoder_weights(unet(), str(tmp_path / "w.safetensors"), RGB)
    assert len(loaded.missing) == 10
    assert loaded.matched == 120 - 12


# Bundles


def test_a_bundle_with_the_same_bands_and_classes_is_taken_whole(bundle):
    network = build(bundle.config)
    loaded = start_from_bundle(network, bundle, ["class-1", "class-2", "class-3"], BAND_NAMES)
    old = bundle.network().state_dict()
    assert all(torch.equal(v, old[k]) for k, v in network.state_dict().items())
    assert (loaded.missing, loaded.unexpected, loaded.matched) == ((), (), len(old))
    assert loaded.head == "channels of 3 of 3 classes kept"


def test_classes_keep_their_channel_by_slug_and_new_ones_stay_new(bundle):
    torch.manual_seed(5)
    network = build({**bundle.config, "classes": 4})
    head, old = network.segmentation_head[0], bundle.network().segmentation_head[0]
    fresh = head.weight.clone(), head.bias.clone()
    loaded = start_from_bundle(network, bundle, ["class-3", "marsh", "class-1", "dune"], BAND_NAMES)
    for now, new, before in zip((head.weight, head.bias), fresh, (old.weight, old.bias), strict=True):
        assert torch.equal(now[[0, 2]], before[[2, 0]])
        assert torch.equal(now[[1, 3]], new[[1, 3]])
    assert loaded.head == "channels of 2 of 4 classes kept"


def test_the_same_number_of_other_classes_is_not_taken_for_the_same(bundle):
    torch.manual_seed(5)
    network = build(bundle.config)
    fresh = network.segmentation_head[0].weight.clone()
    start_from_bundle(network, bundle, ["x", "y", "z"], BAND_NAMES)
    assert torch.equal(network.segmentation_head[0].weight, fresh)


@pytest.mark.parametrize(
    "bands", [("nir", "red", "green", "blue"), ("red", "swir16"), ("B02", "B03", "B04", "B08", "B11")]
)
def test_bands_of_a_bundle_are_mapped_by_name(bundle, bands):
    network = build({**bundle.config, "in_channels": len(bands)})
    start_from_bundle(network, bundle, ["class-1"] * 3, bands)
    old = bundle.network().encoder.model.conv_stem.weight
    expected = adapt_stem(old, BAND_NAMES, [common_name(b) for b in bands], "bands")
    assert torch.equal(network.encoder.model.conv_stem.weight, expected)


def test_a_bundle_of_another_encoder_is_refused(bundle):
    with pytest.raises(BundleError, match=r"only 0 of the encoder's 100 tensors"):
        start_from_bundle(unet(4), bundle, ["class-1"], BAND_NAMES)


def test_another_decoder_is_told_and_stays_new(bundle):
    network = unet(4, **{**LITE, "decoder_channels": (32, 16, 8)})
    with pytest.warns(GeosegWarning, match="tensors of the network are not in it and stay as they were"):
        loaded = start_from_bundle(network, bundle, ["class-1", "class-2", "class-3"], BAND_NAMES)
    assert loaded.missing
    assert all(k.startswith("decoder.") for k in loaded.missing)


@pytest.mark.parametrize("architecture", ["FPN", "DPT", "SegNet", "Segformer"])
def test_any_architecture_can_be_continued(tmp_path, architecture):
    bundle = make_bundle(tmp_path / "b", architecture=architecture)
    network = build({**bundle.config, "classes": 2, "in_channels": 2})
    loaded = start_from_bundle(network, bundle, ["class-3", "new"], ["nir", "red"])
    old = load_file(bundle.folder / "model.safetensors")
    key = [k for k in old if k.startswith("segmentation_head.") and k.endswith("weight")][-1]
    assert torch.equal(network.state_dict()[key][0], old[key][2])
    assert loaded.missing == ()


# Learning rates and frozen encoders


def small(name):
    arguments = {
        "Unet": LITE,
        "Segformer": {"encoder_name": "mit_b0"},
        "DPT": {"encoder_name": "tu-vit_tiny_patch16_224"},
        "FPN": {"encoder_name": "resnet18"},
        "SegNet": {"encoder_name": "vgg11", "encoder_depth": 3},
    }[name]
    return build({"_model_class": name, "in_channels": 4, "classes": 3, **arguments})


IN_ORDER = {
    "Unet": ["model.conv_stem", *(f"model.blocks.{i}" for i in range(7))],
    "Segformer": [f"{part}{i}" for i in range(1, 5) for part in ("patch_embed", "block")],
    "DPT": ["model.patch_embed", *(f"model.blocks.{i}" for i in range(12))],
    "FPN": ["conv1", "layer1", "layer2", "layer3", "layer4"],
    "SegNet": [f"features.{i}" for i in (0, 4, 8, 11)],
}


@pytest.fixture(scope="module", params=list(IN_ORDER))
def staged(request):
    """Name of a network, the network, the stages of its encoder, and its groups."""
    network = without_content(small(request.param))
    groups = parameter_groups(network, 1e-3, encoder_rate=0.1, layer_decay=0.5, weight_decay=0.01)
    return request.param, network, depths(network), groups


def test_every_parameter_is_in_exactly_one_group(staged):
    _, network, _, groups = staged
    ids = [id(p) for g in groups for p in g["params"]]
    assert sorted(ids) == sorted(id(p) for p in network.parameters())
    assert len({g["name"] for g in groups}) == len(groups)


def test_norms_and_biases_have_no_weight_decay(staged):
    _, network, _, groups = staged
    decay = {id(p): g["weight_decay"] for g in groups for p in g["params"]}
    for module in network.modules():
        for kind, parameter in module.named_parameters(recurse=False):
            if kind == "bias" or "Norm" in type(module).__name__:
                assert decay[id(parameter)] == 0
            elif isinstance(module, torch.nn.Conv2d | torch.nn.Linear):
                assert decay[id(parameter)] == 0.01


def test_rates_rise_from_the_stem_to_the_head(staged):
    _, network, stages, groups = staged
    rate = {id(p): g["lr"] for g in groups for p in g["params"]}
    last = max(stages.values())
    for name, parameter in network.named_parameters():
        expected = 1e-3 if name not in stages else 1e-4 * 0.5 ** (last - stages[name])
        assert rate[id(parameter)] == pytest.approx(expected)
    stem = next(m for m in network.encoder.modules() if isinstance(m, torch.nn.Conv2d))
    assert rate[id(stem.weight)] == min(rate.values()) < 1e-3


def test_stages_are_numbered_as_they_run(staged):
    name, _, stages, _ = staged
    for number, part in enumerate(IN_ORDER[name]):
        assert {v for k, v in stages.items() if k.startswith(f"encoder.{part}.")} == {number}
    assert max(stages.values()) == len(IN_ORDER[name]) - 1


def test_what_has_no_stage_of_its_own_belongs_to_a_neighbour(staged):
    name, _, stages, _ = staged
    neighbours = {
        "DPT": {"model.pos_embed": 0, "model.cls_token": 0, "model.norm.weight": 12},
        "FPN": {"bn1.weight": 0},
        "Segformer": {"norm1.weight": 1},
    }.get(name, {})
    assert {k: stages[f"encoder.{k}"] for k in neighbours} == neighbours


def test_one_rate_for_all_is_the_default():
    assert {g["lr"] for g in parameter_groups(unet(**LITE), 3e-4)} == {3e-4}
