"""Names of the weights of torchvision's Mask R-CNN, and of ours for the same layers."""

import re
from collections.abc import Mapping

from torch import Tensor

_OLD = (
    # Checkpoints of older versions name the single convolutions themselves.
    (re.compile(r"^(rpn\.head\.conv)\.(weight|bias)$"), r"\1.0.0.\2"),
    (re.compile(r"^(backbone\.fpn\.(?:inner|layer)_blocks\.\d+)\.(weight|bias)$"), r"\1.0.\2"),
    (re.compile(r"^backbone\.body\."), "encoder."),
    (re.compile(r"^backbone\.fpn\."), "decoder."),
)


def renamed(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the weights of torchvision's Mask R-CNN by the names of `MaskRCNN`.

    Examples
    --------
    >>> list(renamed({"backbone.body.conv1.weight": Tensor()}))
    ['encoder.conv1.weight']
    """
    found = {}
    for name, tensor in tensors.items():
        new = re.sub(
            r"^(roi_heads\.mask_head)\.mask_fcn(\d)\.",
            lambda m: f"{m[1]}.{int(m[2]) - 1}.0.",
            name,
        )
        for pattern, text in _OLD:
            new = pattern.sub(text, new)
        found[new] = tensor
    return found


def is_mask_rcnn(tensors: Mapping[str, Tensor]) -> bool:
    """Return whether weights are those of a whole Mask R-CNN of torchvision."""
    return "roi_heads.box_predictor.cls_score.weight" in tensors
