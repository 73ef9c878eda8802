"""The contrast between pixels: against the paper's formula, and that it trains the network alone."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from pydantic import ValidationError
from torch import nn

from geoseg.config.training import LossTerm, Optimizer, Training, Transfer
from geoseg.core.errors import ConfigError
from geoseg.models.networks.architectures import SMP, build
from geoseg.training.contrastive import PixelContrast, feature_channels, hard_anchors, info_nce
from geoseg.training.losses import Loss
from geoseg.training.task import SegmentationTask
from tests.training.test_task import Tiny, batch

TERM = LossTerm(kind="contrastive", weight=2.0, dim=5, samples=40)


def test_the_loss_is_that_of_the_formula():
    torch.manual_seed(0)
    vectors, classes = F.normalize(torch.randn(9, 4), dim=1), torch.tensor([0, 0, 1, 1, 1, 2, 0, 2, 3])
    means = []
    for i in range(9):
        others = [j for j in range(9) if j != i]
        rivals = sum(np.exp(float(vectors[i] @ vectors[j]) / 0.5) for j in others if classes[j] != classes[i])
        costs = [
            -np.log(np.exp(s) / (np.exp(s) + rivals))
            for j in others
            if classes[j] == classes[i] and (s := float(vectors[i] @ vectors[j]) / 0.5) is not None
        ]
        means += [np.mean(costs)] if costs else []
    assert len(means) == 8  # the only one of class 3 has no positive
    assert float(info_nce(vectors, classes, 0.5)) == pytest.approx(np.mean(means), rel=1e-5)


def test_the_loss_falls_with_the_distance_between_classes():
    classes = torch.arange(30) % 3
    centres = torch.eye(3)[classes]
    noise = torch.randn(30, 3, generator=torch.Generator().manual_seed(0))
    near, far, apart = (info_nce(F.normalize(centres * k + noise, dim=1), classes, 0.1) for k in (0, 1, 20))
    assert near > far > apart
    assert apart < 0.01


def test_anchors_are_half_hard_and_as_many_of_each_class():
    torch.manual_seed(0)
    truth = torch.tensor([0] * 100 + [1] * 100 + [2] * 6 + [255] * 50)
    said = truth.clone()
    said[:30] = 1  # 30 wrong of class 0; class 1 has none
    chosen = hard_anchors(truth, said, 60)
    assert len(set(chosen.tolist())) == len(chosen)
    counts = [int((truth[chosen] == i).sum()) for i in (0, 1, 2, 255)]
    assert counts == [20, 20, 6, 0]
    assert int((said[chosen] != truth[chosen]).sum()) == 10
    said[:96] = 1  # of class 0 only 4 are right
    chosen = hard_anchors(truth, said, 60)
    own = chosen[truth[chosen] == 0]
    assert (len(own), int((said[own] == 0).sum())) == (20, 4)


def test_ignored_pixels_have_no_influence():
    torch.manual_seed(0)
    contrast = PixelContrast(TERM, 4)
    features, logits = torch.randn(2, 4, 6, 6), torch.randn(2, 3, 6, 6)
    target = torch.randint(3, (2, 6, 6))
    target[:, :, ::2] = 255
    values = []
    for change in (0.0, 100.0):
        torch.manual_seed(1)
        changed = features.clone().requires_grad_()
        with torch.no_grad():
            changed[:, :, :, ::2] += change
        value = contrast(changed, logits, target)
        value.backward()
        assert not changed.grad[:, :, :, ::2].any()
        assert changed.grad[:, :, :, 1::2].any()
        values.append(value.item())
    assert values[0] == pytest.approx(values[1], rel=1e-5)
    nothing = contrast(features, logits, torch.full_like(target, 255))
    assert nothing == 0
    nothing.backward()


def test_features_may_be_coarser_than_labels():
    torch.manual_seed(0)
    value = PixelContrast(TERM, 4)(torch.randn(2, 4, 4, 4), torch.randn(2, 3, 16, 16), torch.ones(2, 16, 16))
    assert torch.isfinite(value)


def one_task():
    torch.manual_seed(0)
    loss = Loss([LossTerm(kind="cross-entropy", weight=1e-12)], np.array([1, 1, 1]))
    return SegmentationTask(Tiny(), loss, 3, Optimizer(), Transfer(), seed=0, contrast=PixelContrast(TERM, 4))


def test_its_gradient_reaches_the_encoder_and_a_training_with_it_separates_classes():
    task = one_task()
    task._count = lambda *_: None
    known = batch()
    known["label"] = (known["image"] > 0).sum(1)
    task.training_step(known, 0).backward()
    assert task.network.encoder[0].weight.grad.abs().max() > 1e-4
    assert not task.network.segmentation_head._forward_pre_hooks
    optimizer = torch.optim.Adam(task.parameters(), 0.02)
    costs = []
    for _ in range(40):
        optimizer.zero_grad()
        loss = task.training_step(known, 0)
        loss.backward()
        optimizer.step()
        costs.append(loss.item())
    assert np.mean(costs[-5:]) < 0.8 * costs[0]


@pytest.mark.parametrize("name", ["Unet", "Segformer", "DPT"])
def test_features_of_networks_of_all_kinds_have_known_channels(name):
    assert name in SMP
    more = {
        "Unet": {"encoder_name": "tu-tf_efficientnet_lite0", "encoder_depth": 3,
                 "decoder_channels": (16, 8, 8)},
        "Segformer": {"encoder_name": "mit_b0", "decoder_segmentation_channels": 32},
        "DPT": {
            "encoder_name": "tu-vit_tiny_patch16_224", "decoder_intermediate_channels": (16, 16, 16, 16),
            "decoder_fusion_channels": 24, "dynamic_img_size": True, "num_classes": 0,
        },
    }[name]  # fmt: skip
    network = build({"_model_class": name, "in_channels": 4, "classes": 3, **more})
    assert feature_channels(network) == {"Unet": 8, "Segformer": 32, "DPT": 24}[name]


def test_a_network_without_a_head_is_refused():
    class Bare(nn.Module):
        def __init__(self):
            super().__init__()
            self.encoder = nn.Conv2d(4, 3, 1)
            self.encoder.output_stride = 1

        def forward(self, x):
            return self.encoder(x)

    with pytest.raises(ConfigError, match=r"loss: contrastive needs .* Bare has none"):
        feature_channels(Bare())


@pytest.mark.parametrize("kinds", [["contrastive"], ["dice", "contrastive", "contrastive"]])
def test_it_goes_beside_another_loss(kinds):
    fields = {"name": "a", "dataset": "b", "legend": "c", "output": "d", "loss": [{"kind": k} for k in kinds]}
    with pytest.raises(ValidationError, match="contrastive goes once and beside another loss"):
        Training.model_validate(fields)
