import pytest
from huggingface_hub import constants

from geoseg.core.errors import BundleError
from geoseg.models.networks.encoders import check_encoder, encoders, offline


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


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("resnt34", "'resnet34'"), ("ResNet34", "'resnet34'"), ("convnext_tiny", "'tu-convnext_tiny'"),
        ("vit-small-patch16-224", "'tu-vit_small_patch16_224'"),
        ("vit_small_patch16_dinov3.lvd", "'tu-vit_small_"),
        ("tu-vit_tiny_patch16_225", "'tu-vit_tiny_patch16_224'"),
        ("dinov3", "dinov3'"), ("xyz", "geoseg models"),
    ],
)  # fmt: skip
def test_an_unknown_encoder_names_close_ones_of_both_libraries(name, meant):
    with pytest.raises(BundleError) as caught:
        check_encoder(name)
    said = str(caught.value)
    assert meant in said
    assert "geoseg models encoders WORD lists names, those of timm with tu-" in said
    assert len(said) <= 300


def test_encoders_are_listed_by_a_part_of_their_name_with_their_weights():
    found = encoders("DINOv3")
    assert found["tu-vit_small_patch16_dinov3"] == ("lvd1689m",)
    assert all("dinov3" in name for name in found)
    assert "imagenet" in encoders("resnet18")["resnet18"]
    for name in list(encoders("resnet18"))[:3]:
        check_encoder(name)
