import re

import numpy as np
import pytest
import torch
from torchvision.models.detection import maskrcnn_resnet50_fpn, maskrcnn_resnet50_fpn_v2

from geoseg.core.errors import BundleError
from geoseg.models.bundle import open_bundle
from geoseg.models.detector_names import renamed
from geoseg.models.importing import detectors
from geoseg.models.importing.draft import Draft, make_card
from geoseg.models.importing.find import read_source
from geoseg.models.importing.source import Ask
from geoseg.models.networks.architectures import build
from geoseg.models.transfer import load_encoder_weights

SAID = {
    "bands": ["red", "green", "blue"], "mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225],
    "numbers": "physical", "classes": ["a", "b", "c"], "gsd": 1, "tile": 64, "overlap": 32,
    "object_px": [12, 40], "detection": {"score_threshold": 0.2, "per_tile": 30},
}  # fmt: skip


@pytest.fixture(scope="module")
def state():
    """Random weights of torchvision's own builder, whose scores differ."""
    torch.manual_seed(0)
    made = maskrcnn_resnet50_fpn(weights=None, weights_backbone=None, num_classes=4)
    with torch.no_grad():
        made.roi_heads.box_predictor.cls_score.weight.mul_(30)
    return made.state_dict()


def test_an_imported_network_finds_what_torchvisions_finds(state, tmp_path):
    torch.save(state, tmp_path / "m.pth")
    source = read_source(tmp_path / "m.pth", Ask({"proposals": 60}, "maskrcnn_resnet50_fpn"))
    assert (source.bands, source.channels) == (3, 3)
    draft = Draft(source.facts, SAID)
    assert "object_px" in Draft(source.facts, {k: SAID[k] for k in SAID if k != "object_px"}).missing()
    card = make_card(draft, "m", source.sizes).model_copy(update={"memory_bytes_per_pixel": 9.0})
    source.write(card, tmp_path / "b")
    bundle = open_bundle(tmp_path / "b")
    assert bundle.card.detection.object_px.p99 == 40
    x = np.random.default_rng(0).normal(0.45, 0.2, (1, 3, 64, 64)).astype(np.float32)
    seen = []

    def find(values, most):
        seen.extend(source.finder(values, most))
        return seen

    worst, batches = detectors.largest_difference(bundle, find, iter([x]))
    assert batches == 1
    assert (seen[0]["scores"] > 0.2).sum() > 5
    assert worst < 1e-3
    fewer = [{k: v[:1] for k, v in one.items()} for one in seen]
    assert detectors.largest_difference(bundle, lambda *_: fewer, iter([x]))[0] > 0.1


def test_weights_with_names_of_older_versions_and_frozen_norms_are_known(state):
    old = {}
    for name, tensor in state.items():
        if name.endswith("num_batches_tracked"):
            continue  # the published weights were trained with frozen norms
        new = re.sub(r"^(rpn\.head\.conv)\.0\.0\.", r"\1.", name)
        new = re.sub(r"_blocks\.(\d)\.0\.", r"_blocks.\1.", new)
        new = re.sub(r"mask_head\.(\d)\.0\.", lambda m: f"mask_head.mask_fcn{int(m[1]) + 1}.", new)
        old[new] = tensor
    assert old.keys() != state.keys()
    config = detectors.config_of("maskrcnn_resnet50_fpn", old)
    assert (config["norm"], config["norm_eps"], config["classes"]) == ("frozen", 0.0, 3)
    with torch.device("meta"):
        assert build(config).state_dict().keys() == renamed(old).keys()


def test_the_second_version_has_heads_of_its_own():
    with torch.device("meta"):
        made = maskrcnn_resnet50_fpn_v2(weights=None, weights_backbone=None, num_classes=3)
        ours = build(detectors.config_of("maskrcnn_resnet50_fpn_v2", made.state_dict()))
    assert ours.state_dict().keys() == renamed(made.state_dict()).keys()


def test_a_training_starts_from_a_whole_checkpoint(state, tmp_path):
    torch.save(state, tmp_path / "coco.pth")
    network = build({"_model_class": "MaskRCNN", "encoder_name": "resnet50", "in_channels": 4, "classes": 3})
    before = network.roi_heads.box_predictor.cls_score.weight.clone()
    with pytest.warns(UserWarning, match="tensors of the network are not in it"):
        loaded = load_encoder_weights(network, str(tmp_path / "coco.pth"), ["blue", "green", "red", "nir"])
    assert "but the layers of the classes" in str(loaded)
    theirs = state["roi_heads.mask_head.0.0.weight"]
    assert torch.equal(network.state_dict()["roi_heads.mask_head.0.0.weight"], theirs)
    assert torch.equal(network.roi_heads.box_predictor.cls_score.weight, before)
    mean = state["backbone.body.conv1.weight"].mean(1) * 3 / 4
    assert torch.allclose(network.encoder["conv1"].weight[:, 3], mean)


def test_weights_of_another_network_are_refused(tmp_path, state):
    torch.save({k: v for k, v in state.items() if "layer4" not in k}, tmp_path / "m.pth")
    with pytest.raises(BundleError, match="does not fit MaskRCNN"):
        read_source(tmp_path / "m.pth", Ask(torchvision="maskrcnn_resnet50_fpn"))
