"""FCN: a fully convolutional network on a dilated ResNet, with torchvision's layers."""

from typing import Any

import segmentation_models_pytorch as smp
import torch
from segmentation_models_pytorch.base.hub_mixin import supports_config_loading
from torch import nn
from torchvision.models.resnet import Bottleneck
from torchvision.models.segmentation import fcn_resnet50, fcn_resnet101

_MAKERS = {"resnet50": fcn_resnet50, "resnet101": fcn_resnet101}


class _Encoder(nn.Module):
    """Torchvision's ResNet up to its last stage, with torchvision's names, at an eighth of the input size."""

    output_stride = 8

    def __init__(self, backbone: nn.Module, in_channels: int) -> None:
        super().__init__()
        # The stages have the names of torchvision, so that the state dict of a ResNet fits.
        for name, module in backbone.named_children():
            self.add_module(name, module)
        if in_channels != 3:
            self.conv1 = nn.Conv2d(in_channels, 64, 7, stride=2, padding=3, bias=False)
            nn.init.kaiming_normal_(self.conv1.weight, mode="fan_out", nonlinearity="relu")
        for module in self.modules():
            if isinstance(module, Bottleneck):
                # Every block starts as the identity (Goyal et al. 2017, arXiv:1706.02677): otherwise the
                # network hardly learns from random weights. Loaded weights replace these.
                nn.init.zeros_(module.bn3.weight)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for module in self.children():
            x = module(x)
        return x


class FCN(smp.base.SegmentationModel):  # type: ignore[misc]
    """A fully convolutional network.

    Long, Shelhamer, Darrell (2015), "Fully Convolutional Networks for Semantic Segmentation", CVPR. As in
    torchvision, the last two stages of the ResNet are dilated instead of strided, so that the features keep
    an eighth of the input size, there are no skip connections, and the logits are enlarged bilinearly. There
    is no auxiliary head.

    Parameters
    ----------
    encoder_name
        `resnet50` or `resnet101`.
    encoder_weights
        Only None: weights are loaded by `geoseg.models.transfer`.
    in_channels
        Number of bands.
    classes
        Number of output channels.

    Raises
    ------
    ValueError
        When the encoder or `encoder_weights` is none of these.
    """

    # The logits are enlarged to the size of the input, whatever it is.
    requires_divisible_input_shape = False

    @supports_config_loading  # type: ignore[untyped-decorator]
    def __init__(
        self,
        encoder_name: str = "resnet50",
        encoder_weights: None = None,
        in_channels: int = 3,
        classes: int = 1,
    ) -> None:
        super().__init__()
        if encoder_name not in _MAKERS:
            raise ValueError(f"encoder {encoder_name!r} is not one of {', '.join(_MAKERS)}")
        if encoder_weights is not None:
            raise ValueError("encoder_weights must be None; load weights into the network that was built")
        whole: Any = _MAKERS[encoder_name](
            weights=None, weights_backbone=None, aux_loss=False, num_classes=classes
        )
        self.encoder = _Encoder(whole.backbone, in_channels)
        *layers, last = whole.classifier
        self.decoder = nn.Sequential(*layers)
        self.segmentation_head = nn.Sequential(last)
        self.classification_head = None
        self.name = f"fcn-{encoder_name}"

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return logits of shape (N, classes, rows, cols) for an input of shape (N, bands, rows, cols)."""
        logits = self.segmentation_head(self.decoder(self.encoder(x)))
        return nn.functional.interpolate(logits, size=x.shape[-2:], mode="bilinear", align_corners=False)
