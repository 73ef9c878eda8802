"""SegNet: an encoder and its mirror image, which puts values back where max-pooling found them."""

import segmentation_models_pytorch as smp
import torch
from segmentation_models_pytorch.base.hub_mixin import supports_config_loading
from torch import nn

STAGES: dict[str, tuple[tuple[int, int], ...]] = {
    "vgg11": ((1, 64), (1, 128), (2, 256), (2, 512), (2, 512)),
    "vgg13": ((2, 64), (2, 128), (2, 256), (2, 512), (2, 512)),
    "vgg16": ((2, 64), (2, 128), (3, 256), (3, 512), (3, 512)),
}
"""Number of convolutions and channels of each stage."""


def unpool(x: torch.Tensor, indices: torch.Tensor, shape: tuple[int, int]) -> torch.Tensor:
    """Put each value at its stored position; all other pixels are zero.

    Parameters
    ----------
    x
        Pooled values, shape (N, C, rows, cols).
    indices
        Positions as `max_pool2d(return_indices=True)` gives them: row * width + column in the plane before
        pooling, same shape as `x`.
    shape
        Rows and columns before pooling.

    Returns
    -------
    values
        Shape `(N, C, *shape)`.
    """
    # Not max_unpool2d: torch refuses it on a GPU where deterministic algorithms are asked for.
    plane = x.new_zeros(*x.shape[:2], shape[0] * shape[1])
    return plane.scatter(2, indices.flatten(2), x.flatten(2)).view(*x.shape[:2], *shape)


def _convolution(inputs: int, outputs: int) -> list[nn.Module]:
    return [nn.Conv2d(inputs, outputs, 3, padding=1), nn.BatchNorm2d(outputs), nn.ReLU(inplace=True)]


class _Encoder(nn.Module):
    """VGG's convolutions, numbered as in torchvision's `features`, so that its state dict fits."""

    def __init__(self, stages: tuple[tuple[int, int], ...], in_channels: int) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        channels = in_channels
        for count, width in stages:
            for _ in range(count):
                layers += _convolution(channels, width)
                channels = width
            layers.append(nn.MaxPool2d(2, return_indices=True))
        self.features = nn.Sequential(*layers)
        self.output_stride = 2 ** len(stages)

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, list[tuple[torch.Tensor, tuple[int, int]]]]:
        """Return the deepest features and, for each stage, the indices and shape of its pooling."""
        pooled: list[tuple[torch.Tensor, tuple[int, int]]] = []
        for layer in self.features:
            if isinstance(layer, nn.MaxPool2d):
                shape = (int(x.shape[-2]), int(x.shape[-1]))
                x, indices = layer(x)
                pooled.append((indices, shape))
            else:
                x = layer(x)
        return x, pooled


class _Decoder(nn.Module):
    """The encoder's mirror image, deepest stage first, without its very last convolution."""

    def __init__(self, stages: tuple[tuple[int, int], ...]) -> None:
        super().__init__()
        self.stages = nn.ModuleList()
        for i, (count, width) in reversed(list(enumerate(stages))):
            layers = [layer for _ in range(count - 1) for layer in _convolution(width, width)]
            if i > 0:
                layers += _convolution(width, stages[i - 1][1])
            self.stages.append(nn.Sequential(*layers))

    def forward(
        self, features: tuple[torch.Tensor, list[tuple[torch.Tensor, tuple[int, int]]]]
    ) -> torch.Tensor:
        x, pooled = features
        for stage, (indices, shape) in zip(self.stages, reversed(pooled), strict=True):
            x = stage(unpool(x, indices, shape))
        return x


class SegNet(smp.base.SegmentationModel):  # type: ignore[misc]
    """SegNet.

    Badrinarayanan, Kendall, Cipolla (2017), "SegNet: A Deep Convolutional Encoder-Decoder Architecture for
    Image Segmentation", PAMI 39(12). The convolutions are VGG's with batch norm. The decoder learns no
    upsampling but puts each value at the position where the encoder's max-pooling found it. Its last
    convolution gives the classes.

    Parameters
    ----------
    encoder_name
        `vgg16` as in the paper, or `vgg13` or `vgg11`.
    encoder_depth
        Number of stages, 1 to 5; sides of the input are multiples of 2 ** depth.
    encoder_weights
        Only None: weights are loaded by `geoseg.models.transfer`.
    in_channels
        Number of bands.
    classes
        Number of output channels.

    Raises
    ------
    ValueError
        When an argument is none of these.
    """

    requires_divisible_input_shape = True

    @supports_config_loading  # type: ignore[untyped-decorator]
    def __init__(
        self,
        encoder_name: str = "vgg16",
        encoder_depth: int = 5,
        encoder_weights: None = None,
        in_channels: int = 3,
        classes: int = 1,
    ) -> None:
        super().__init__()
        if encoder_name not in STAGES:
            raise ValueError(f"encoder {encoder_name!r} is not one of {', '.join(STAGES)}")
        if not 1 <= encoder_depth <= 5:
            raise ValueError(f"encoder_depth {encoder_depth} is not between 1 and 5")
        if encoder_weights is not None:
            raise ValueError("encoder_weights must be None; load weights into the network that was built")
        stages = STAGES[encoder_name][:encoder_depth]
        self.encoder = _Encoder(stages, in_channels)
        self.decoder = _Decoder(stages)
        self.segmentation_head = nn.Sequential(nn.Conv2d(stages[0][1], classes, 3, padding=1))
        self.classification_head = None
        self.name = f"segnet-{encoder_name}"
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
                nn.init.zeros_(module.bias)  # type: ignore[arg-type]
