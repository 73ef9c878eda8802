"""Networks of torchvision that find objects: their arguments, and the original to compare with."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
import torch
from torchvision.models import detection

from geoseg.core.detections import SCORES, Detections, shared_pixels
from geoseg.models.backends.detector import make_detector
from geoseg.models.backends.spec import SegmenterSpec
from geoseg.models.backends.torch_detector import candidates, detections
from geoseg.models.bundle import Bundle
from geoseg.models.importing.draft import Facts
from geoseg.models.importing.source import Floats

NAMES = ("maskrcnn_resnet50_fpn", "maskrcnn_resnet50_fpn_v2")
"""The networks, as torchvision names them."""

MOST = 100
"""Detections of an image that torchvision gives unless it is told otherwise."""

Finder = Callable[[Floats, int], list[dict[str, Any]]]
"""The network where it comes from: standardised values (N, B, side, side), and the most objects of an image,
to boxes, labels, scores and masks of 28 px."""


def config_of(name: str, tensors: Mapping[str, torch.Tensor]) -> Facts:
    """Return the arguments of `MaskRCNN` for weights of a network of torchvision."""
    frozen = "backbone.body.bn1.num_batches_tracked" not in tensors
    head = tensors.get("roi_heads.box_predictor.cls_score.weight")
    classes = {} if head is None else {"classes": head.shape[0] - 1}
    # The published weights of the first version were trained with norms without a summand, see torchvision's
    # `overwrite_eps`.
    norm = {"norm": "frozen", "norm_eps": 0.0} if frozen else {}
    heads = "v2" if name.endswith("_v2") else "v1"
    return {
        "_model_class": "MaskRCNN", "encoder_name": "resnet50", "in_channels": 3, "heads": heads,
        "detections": MOST, **norm, **classes,
    }  # fmt: skip


def original_of(name: str, tensors: Mapping[str, torch.Tensor], config: Facts) -> Finder:
    """Return torchvision's own network with these weights; it neither resizes nor normalises."""
    made: Any = getattr(detection, name)(
        weights=None, weights_backbone=None, num_classes=config["classes"] + 1, image_mean=[0.0] * 3,
        image_std=[1.0] * 3, rpn_pre_nms_top_n_test=config["proposals"],
        rpn_post_nms_top_n_test=config["proposals"],
    )  # fmt: skip
    if config.get("norm") == "frozen":
        _freeze(made, config["norm_eps"])
    made.load_state_dict(dict(tensors))
    made.eval()
    # The masks of 28 px are compared after both were pasted in the same way.
    made.transform.postprocess = lambda found, *_: found

    def find(x: Floats, most: int) -> list[dict[str, Any]]:
        made.transform.min_size, made.transform.max_size = (x.shape[-1],), x.shape[-1]
        made.roi_heads.score_thresh, made.roi_heads.detections_per_img = 0.0, most
        with torch.inference_mode():
            return list(made(list(torch.from_numpy(x))))

    return find


def _freeze(network: Any, eps: float) -> None:
    from torchvision.ops import FrozenBatchNorm2d  # noqa: PLC0415

    for parent in list(network.backbone.body.modules()):
        for name, child in parent.named_children():
            if isinstance(child, torch.nn.BatchNorm2d):
                setattr(parent, name, FrozenBatchNorm2d(child.num_features, eps=eps))


def largest_difference(bundle: Bundle, find: Finder, batches: Iterator[Floats]) -> tuple[float, int]:
    """Return how much the objects of a bundle differ from its original's, and the number of batches.

    The difference of two objects is that of their scores, or what their masks lack to an IoU of 1; an object
    that only one of them finds counts as 1.

    Parameters
    ----------
    bundle
        The bundle.
    find
        The original.
    batches
        Square tiles of numbers in the units of the card.
    """
    card = bundle.card
    assert card.detection is not None  # noqa: S101 (the card is one of instances)
    detector = make_detector(
        bundle, SegmenterSpec(bundle.folder, bundle.sha256, "cpu", "torch", "fp32", "none", 1)
    )
    ones = np.ones(len(card.bands), np.float32)
    mean, std = (
        np.array(v, np.float32)[:, None, None]
        for v in ([b.mean for b in card.bands], [b.std for b in card.bands])
    )
    most = candidates(card.detection)
    channels, worst, count = card.channels or range(len(card.classes)), 0.0, 0
    for values in batches:
        if values.shape[-1] != values.shape[-2]:
            continue
        valid = np.ones((len(values), *values.shape[-2:]), np.bool_)
        shape = values.shape[-2], values.shape[-1]
        found = detector.detect(values, valid, ones, 0 * ones)
        for mine, other in zip(found, find((values - mean) / std, most), strict=True):
            its = detections(other, card.detection, channels, shape)
            worst = max(worst, _unlike(mine, its), _unlike(its, mine))
        count += 1
    return worst, count


def _unlike(found: Detections, others: Detections) -> float:
    """Return the largest difference of an object to the one that is most like it."""
    worst, areas = 0.0, [int(m.sum()) for m in others.masks]
    for i in range(len(found)):
        own, least = int(found.masks[i].sum()), 1.0
        for j in np.flatnonzero(others.classes == found.classes[i]).tolist():
            both = shared_pixels(found, i, others, j)
            score = abs(int(found.scores[i]) - int(others.scores[j])) / SCORES
            least = min(least, max(score, 1 - both / (own + areas[j] - both)))
        worst = max(worst, least)
    return worst
