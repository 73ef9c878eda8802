import pytest
from huggingface_hub import constants

from geoseg.core.errors import BundleError
from geoseg.models.networks.encoders import check_encoder, offline


@pytest.mark.parametrize(
    "name",
    [
        "resnet18", "mit_b0", "timm-efficientnet-b0", "timm-res2net50_26w_4s", "timm-mobilenetv3_small_100",
        "tu-resnet18", "tu-resnet50.a1_in1k", "tu-vit_tiny_patch16_224",
    ],
)  # fmt: skip
def test_encoders_of_both_libraries_are_known(name):
    check_encoder(name)


@pytest.mark.parametrize(
    "name",
    [
        "nope", "tu-nope", "tu-", "", "resnet18.a1_in1k", "tu-hf-hub:evil/model", "tu-hf_hub:evil/model",
        "tu-local-dir:/etc", "tu-HF-HUB:evil/model", "timm-regnet-hf-hub:evil/model", "hf-hub:evil/model",
        "tu-tu-resnet18", "timm-resnet18",
    ],
)  # fmt: skip
def test_what_neither_library_lists_is_refused(name):
    with pytest.raises(BundleError, match="is no encoder of segmentation_models_pytorch or timm"):
        check_encoder(name)


def test_the_hub_is_closed_while_a_network_is_built():
    before = constants.HF_HUB_OFFLINE
    with offline():
        assert constants.is_offline_mode()
    assert before == constants.HF_HUB_OFFLINE
