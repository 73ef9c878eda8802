import pytest
import torch
from torchvision.models.detection import maskrcnn_resnet50_fpn, maskrcnn_resnet50_fpn_v2
from torchvision.models.detection.generalized_rcnn import GeneralizedRCNN
from torchvision.models.detection.roi_heads import paste_masks_in_image
from torchvision.models.detection.transform import GeneralizedRCNNTransform

from geoseg.models.networks.architectures import build, divisor, is_global, without_content
from geoseg.models.networks.mask_rcnn import LOSSES
from geoseg.models.networks.stages import depths

SMALL = {
    "_model_class": "MaskRCNN", "encoder_name": "resnet18", "in_channels": 5, "classes": 2,
    "decoder_channels": 16, "box_features": 32, "anchor_sizes": [8, 16, 32, 64, 128],
}  # fmt: skip


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(0)
    return build(SMALL)


@pytest.mark.parametrize(("heads", "make"), [("v1", maskrcnn_resnet50_fpn), ("v2", maskrcnn_resnet50_fpn_v2)])
def test_it_has_the_tensors_of_torchvisions_builders(heads, make):
    with torch.device("meta"):
        original = make(weights=None, weights_backbone=None).state_dict()
    ours = without_content({"_model_class": "MaskRCNN", "heads": heads, "classes": 90}).state_dict()
    names = {"backbone.body.": "encoder.", "backbone.fpn.": "decoder."}
    renamed = {}
    for key, value in original.items():
        old = next((n for n in names if key.startswith(n)), "")
        renamed[names.get(old, "") + key.removeprefix(old)] = value.shape
    assert {k: v.shape for k, v in ours.items()} == renamed


def test_a_step_of_training_reaches_every_weight_but_those_of_unused_branches(network):
    network.train()
    boxes = torch.tensor([[4.0, 4, 20, 24], [30, 30, 60, 50]])
    masks = torch.zeros(2, 64, 64, dtype=torch.uint8)
    masks[0, 4:24, 4:20] = masks[1, 30:50, 30:60] = 1
    full = {"boxes": boxes, "labels": torch.tensor([1, 2]), "masks": masks}
    none = {"boxes": boxes[:0], "labels": full["labels"][:0], "masks": masks[:0]}
    losses = network(torch.randn(2, 5, 64, 64), [full, none])
    assert set(losses) == set(LOSSES)
    assert all(torch.isfinite(loss) for loss in losses.values())
    sum(losses.values()).backward()
    assert all(p.grad is not None for p in network.parameters())
    network.zero_grad()


def test_it_takes_any_number_of_bands_and_says_what_it_needs(network):
    assert divisor(network) == 32
    assert not is_global(network)
    assert next(iter(network.parameters())).shape[1] == 5
    order = depths(network)
    assert order["encoder.conv1.weight"] == 0
    assert order["encoder.layer4.1.conv2.weight"] == max(order.values())


def test_frozen_norms_have_no_weights_to_train():
    frozen = without_content({**SMALL, "norm": "frozen", "norm_eps": 0.0})
    assert not any("bn1" in name for name, _ in frozen.named_parameters())
    assert frozen.encoder.bn1.eps == 0


def test_it_finds_what_torchvision_finds(network):
    network.eval()
    x = torch.randn(2, 5, 64, 64, generator=torch.Generator().manual_seed(1))
    original = GeneralizedRCNN(
        torch.nn.Sequential(network.encoder, network.decoder), network.rpn, network.roi_heads,
        # With these arguments it does not resize to 800 px and does not normalise.
        GeneralizedRCNNTransform(64, 64, [0.0] * 5, [1.0] * 5),
    ).eval()  # fmt: skip
    with torch.inference_mode():
        expected, found = original(list(x)), network(x)
    for one, other in zip(expected, found, strict=True):
        assert len(one["scores"]) > 70  # more than are looked at together
        assert torch.equal(one["labels"], other["labels"])
        assert torch.allclose(one["boxes"], other["boxes"], atol=1e-3)
        assert torch.allclose(one["scores"], other["scores"], atol=1e-5)
        masks = paste_masks_in_image(other["masks"], other["boxes"], (64, 64))
        assert torch.allclose(one["masks"], masks, atol=1e-4)
