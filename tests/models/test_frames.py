"""Weights in the format of Prithvi: a vision transformer of timm with an axis of time in two tensors."""

import pytest
import timm
import torch

from geoseg.core.errors import BundleError
from geoseg.models.frames import first_frame
from geoseg.models.networks.architectures import build
from geoseg.models.transfer import load_encoder_weights

NAME, SIDE, FRAMES = "vit_tiny_patch16_224", 224, 4
BANDS = ("blue", "green", "red", "nir", "swir16", "swir22")


@pytest.fixture(scope="module")
def image_model():
    """What a network of a single date with the same weights is."""
    torch.manual_seed(5)
    return timm.create_model(NAME, in_chans=6, num_classes=0, img_size=SIDE)


@pytest.fixture(scope="module")
def file(image_model, tmp_path_factory):
    """Its weights as Prithvi stores them: encoder and decoder of a masked autoencoder of four dates."""
    state = {f"encoder.{k}": v.clone() for k, v in image_model.state_dict().items()}
    kernel, places = "encoder.patch_embed.proj.weight", "encoder.pos_embed"
    state[kernel] = state[kernel][:, :, None]
    later = torch.randn(1, (FRAMES - 1) * (SIDE // 16) ** 2, state[places].shape[-1])
    state[places] = torch.cat([state[places], later], dim=1)
    state |= {"decoder.mask_token": torch.zeros(1, 1, 64), "decoder.blocks.0.norm1.weight": torch.ones(64)}
    path = tmp_path_factory.mktemp("prithvi") / "Prithvi_EO.pt"
    torch.save(state, path)
    return path


def network(bands):
    return build(
        {
            "_model_class": "DPT",
            "encoder_name": f"tu-{NAME}",
            "in_channels": bands,
            "classes": 3,
            "num_classes": 0,
            "dynamic_img_size": True,
            "decoder_intermediate_channels": (16, 16, 16, 16),
            "decoder_fusion_channels": 16,
        }
    )


def test_a_file_of_several_dates_fills_the_encoder_of_one(image_model, file, recwarn):
    found = network(6)
    loaded = load_encoder_weights(found, str(file), BANDS)
    assert loaded.missing == ()
    assert set(loaded.unexpected) == {"decoder.mask_token", "decoder.blocks.0.norm1.weight"}
    expected = image_model.state_dict()
    for key, value in found.encoder.state_dict().items():
        assert torch.equal(value, expected[key.removeprefix("model.")]), key
    assert not recwarn.list


def test_a_file_of_more_than_tensors_is_refused(file, tmp_path):
    path = tmp_path / "weights.pt"
    torch.save({"encoder": first_frame}, path)
    with pytest.raises(BundleError, match="runs no pickled code"):
        load_encoder_weights(network(6), str(path), BANDS)


def test_only_what_has_an_axis_of_time_is_changed():
    target = {"k": torch.zeros(4, 2, 3, 3), "pos_embed": torch.zeros(1, 5, 8), "other": torch.zeros(3)}
    long, kept = torch.randn(1, 13, 8), torch.randn(3)
    taken = {"k": torch.randn(4, 2, 1, 3, 3), "pos_embed": long, "other": kept, "new": kept}
    found = first_frame(taken, target)
    assert torch.equal(found["k"], taken["k"][:, :, 0])
    assert torch.equal(found["pos_embed"], long[:, :5])
    assert found["other"] is kept
    assert found["new"] is kept
    # Two dates in a kernel, or places of another grid, are not what a single date has.
    for key, value in (("k", torch.randn(4, 2, 2, 3, 3)), ("pos_embed", torch.randn(1, 12, 8))):
        assert first_frame({key: value}, target)[key] is value
