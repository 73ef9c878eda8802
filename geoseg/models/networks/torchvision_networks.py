"""Segmentation networks of torchvision, with the names of its checkpoints."""

from typing import Any

import segmentation_models_pytorch as smp
import torch
from segmentation_models_pytorch.base.hub_mixin import supports_config_loading
from torch import nn
from torchvision.models import segmentation

NAMES = (
    "fcn_resnet50", "fcn_resnet101", "deeplabv3_resnet50", "deeplabv3_resnet101",
    "deeplabv3_mobilenet_v3_large", "lraspp_mobilenet_v3_large",
)  # fmt: skip
"""The networks, as torchvision names them."""


class Torchvision(smp.base.SegmentationModel):  # type: ignore[misc]
    """A segmentation network of torchvision without its auxiliary head, for weights of torchvision.

    Parameters
    ----------
    encoder_name
        One of `NAMES`.
    encoder_weights
        Only None: nothing is downloaded.
    in_channels
        Number of bands: 3, as torchvision has it.
    classes
        Number of output channels.

    Raises
    ------
    ValueError
        When torchvision has no such network.
    """

    requires_divisible_input_shape = False

    @supports_config_loading  # type: ignore[untyped-decorator]
    def __init__(
        self,
        encoder_name: str = "fcn_resnet50",
        encoder_weights: None = None,
        in_channels: int = 3,
        classes: int = 21,
    ) -> None:
        super().__init__()
        if encoder_name not in NAMES or encoder_weights is not None or in_channels != 3:
            raise ValueError(
                f"encoder_name must be one of {', '.join(NAMES)}, with three bands and no weights"
            )
        extra = {} if encoder_name.startswith("lraspp") else {"aux_loss": False}
        whole: Any = getattr(segmentation, encoder_name)(
            weights=None, weights_backbone=None, num_classes=classes, **extra
        )
        self.backbone, self.classifier = whole.backbone, whole.classifier
        self.name = encoder_name

    @property
    def encoder(self) -> nn.Module:
        """The backbone."""
        backbone: nn.Module = self.backbone
        backbone.output_stride = 8  # type: ignore[assignment]
        return backbone

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return logits of shape (N, classes, rows, cols) for an input of shape (N, bands, rows, cols)."""
        features = self.backbone(x)
        logits = self.classifier(features if self.name.startswith("lraspp") else features["out"])
        return nn.functional.interpolate(logits, size=x.shape[-2:], mode="bilinear", align_corners=False)
