import json

import pytest

from geoseg.core.errors import BundleError
from geoseg.models.networks.architectures import REGISTRY, build
from geoseg.models.networks.arguments import ARGUMENTS, check_arguments
from tests.benchmarks.architectures import NETWORKS, config_of

UNET = {"_model_class": "Unet", "encoder_name": "resnet18", "in_channels": 4, "classes": 3}


def test_every_architecture_has_its_arguments():
    assert list(ARGUMENTS) == list(REGISTRY) == list(NETWORKS)


@pytest.mark.parametrize("name", list(REGISTRY))
def test_what_save_pretrained_writes_is_accepted(name, monkeypatch):
    # All keys of a constructor with their defaults, as JSON has them.
    import inspect

    import segmentation_models_pytorch as smp

    from geoseg.models.networks.fcn import FCN
    from geoseg.models.networks.segnet import SegNet

    network = {"FCN": FCN, "SegNet": SegNet}.get(name) or getattr(smp, name)
    signature = inspect.signature(network.__init__).parameters.values()
    defaults = {p.name: p.default for p in signature if p.default is not p.empty}
    config = json.loads(json.dumps({"_model_class": name, **defaults}))
    assert check_arguments(config) == {
        k: v for k, v in config.items() if k not in ("_model_class", "encoder_weights")
    }
    assert check_arguments(config_of(name))["encoder_name"] == NETWORKS[name][0]


@pytest.mark.parametrize(
    "unknown",
    [
        {"checkpoint_path": "evil.pth"}, {"pretrained": True}, {"pretrained_cfg": {"file": "evil.pth"}},
        {"pretrained_cfg_overlay": {"file": "evil.pth"}}, {"cache_dir": "x"}, {"features_only": False},
        {"scriptable": True}, {"_other": 1}, {"upsampling": 4}, {"psp_out_channels": 8}, {"name": "x"},
        {"decoder_use_norm": {"type": "batchnorm", "device": "cuda"}}, {"": 1}, {"weights": "x\x1b[2J"},
    ],
)  # fmt: skip
def test_an_argument_that_is_not_known_is_refused_by_name(unknown):
    with pytest.raises(BundleError, match="is no argument that geoseg accepts") as caught:
        build({**UNET, **unknown})
    (key,) = unknown
    assert f"architecture Unet cannot be built: {key}" in str(caught.value)
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) <= 300


@pytest.mark.parametrize(
    "wrong",
    [
        {"decoder_channels": [10**9, 8, 8]}, {"decoder_channels": ["a", "b"]}, {"decoder_channels": 8},
        {"decoder_channels": [8] * 10**5}, {"decoder_channels": [True, 8]}, {"decoder_channels": []},
        {"encoder_depth": -1}, {"encoder_depth": 10**6}, {"encoder_depth": True}, {"encoder_depth": 3.0},
        {"classes": 0}, {"classes": 10**30}, {"in_channels": "4"}, {"in_channels": None},
        {"activation": "softmax2d"}, {"activation": "os.system"}, {"aux_params": {"classes": 5}},
        {"decoder_use_norm": "torch"}, {"decoder_use_norm": {"type": "batchnorm", "eps": float("nan")}},
        {"decoder_use_norm": {"eps": 1e-5}}, {"decoder_attention_type": "x"}, {"drop_rate": float("inf")},
        {"decoder_interpolation": 5}, {"img_size": 10**6}, {"num_classes": 10**9}, {"encoder_weights": {}},
        {"encoder_name": 5}, {"encoder_name": "../../x"}, {"encoder_name": "tu-hf-hub:evil/model"},
        {"encoder_name": "tu-local-dir:/etc"}, {"encoder_name": "a" * 10**6}, {"encoder_name": "resnet18\n"},
    ],
)  # fmt: skip
def test_a_value_out_of_its_bounds_is_refused(wrong):
    with pytest.raises(
        BundleError, match=f"architecture Unet cannot be built: {next(iter(wrong))}"
    ) as caught:
        build({**UNET, **wrong})
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) <= 300


@pytest.mark.parametrize("name", ["os.system", "__init__", "x" * 10**6, ["Unet"], None, "Unet\n"])
def test_an_architecture_that_is_not_known_is_refused(name):
    with pytest.raises(
        BundleError, match=r"architecture ['\"].*['\"] is not known.*; known: Unet, "
    ) as caught:
        check_arguments({**UNET, "_model_class": name})
    assert len(str(caught.value)) <= 300


def test_a_similar_name_is_suggested():
    with pytest.raises(BundleError, match=r"did you mean 'decoder_channels'\?"):
        check_arguments({**UNET, "decoder_chanels": [8]})
