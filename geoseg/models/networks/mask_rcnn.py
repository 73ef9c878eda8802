"""Mask R-CNN: a network that finds objects, with torchvision's layers and losses."""

from collections.abc import Mapping, Sequence

import torch
from segmentation_models_pytorch.base.hub_mixin import SMPHubMixin, supports_config_loading
from torch import Tensor, nn
from torchvision.models import resnet
from torchvision.models._utils import IntermediateLayerGetter
from torchvision.models.detection import mask_rcnn
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.models.detection.faster_rcnn import FastRCNNConvFCHead, FastRCNNPredictor, TwoMLPHead
from torchvision.models.detection.image_list import ImageList
from torchvision.models.detection.roi_heads import maskrcnn_inference
from torchvision.models.detection.rpn import RPNHead
from torchvision.ops import FeaturePyramidNetwork, FrozenBatchNorm2d
from torchvision.ops.feature_pyramid_network import LastLevelMaxPool

LOSSES = ("loss_objectness", "loss_rpn_box_reg", "loss_classifier", "loss_box_reg", "loss_mask")
"""The losses of a pass, as torchvision names them: of proposals, of classes and boxes, of masks."""

LEVELS = 5
"""Levels of the pyramid; each has anchors of one size."""

_AT_ONCE = 64
"""Boxes that are looked at together: 64 masks of 256 channels are 50 MB."""

Found = dict[str, Tensor]
"""Of one image: `boxes` (n, 4) as x0, y0, x1, y1, `labels` (n,) from 1, `scores` (n,) and `masks`
(n, 1, 28, 28)."""


class MaskRCNN(nn.Module, SMPHubMixin):  # type: ignore[misc]
    """A residual network with a feature pyramid that finds objects, each with a box, a class and a mask.

    He, Gkioxari, Dollar, Girshick (2017), "Mask R-CNN", ICCV, in the layers of torchvision. Unlike there,
    images are not resized to 800 px, which would change the ground sample distance, and masks stay 28 x 28:
    each is pasted into its own box, see `geoseg.models.backends.pasting`.

    Parameters
    ----------
    encoder_name
        A residual network of torchvision, such as `resnet50`.
    encoder_weights
        Only None: weights are loaded by `geoseg.models.transfer`.
    in_channels
        Number of bands.
    classes
        Number of classes; background, which torchvision counts as well, comes before them.
    heads
        `v1`, or `v2`: torchvision's `maskrcnn_resnet50_fpn_v2`.
    decoder_channels
        Channels of the pyramid and of the heads.
    box_features
        Features of a box.
    norm
        `batchnorm`, or `frozen`: the statistics of the pretrained encoder are kept.
    norm_eps
        Summand of the variance in the norms of the encoder.
    anchor_sizes
        Side of the anchors at each of the five levels, in pixels.
    anchor_ratios
        Height by width of the anchors.
    detections
        Most objects of an image.
    proposals
        Most proposals of an image.
    box_nms
        Of two boxes of a class with a larger IoU, the one with the lower score is dropped.
    """

    @supports_config_loading  # type: ignore[untyped-decorator]
    def __init__(  # noqa: PLR0913 (the arguments of a bundle's config.json)
        self,
        encoder_name: str = "resnet50",
        *,
        encoder_weights: None = None,
        in_channels: int = 3,
        classes: int = 1,
        heads: str = "v1",
        decoder_channels: int = 256,
        box_features: int = 1024,
        norm: str = "batchnorm",
        norm_eps: float = 1e-5,
        anchor_sizes: Sequence[float] = (32, 64, 128, 256, 512),
        anchor_ratios: Sequence[float] = (0.5, 1, 2),
        detections: int = 100,
        proposals: int = 1000,
        box_nms: float = 0.5,
    ) -> None:
        super().__init__()
        if encoder_weights is not None:
            raise ValueError("encoder_weights must be None; load weights into the network that was built")
        if len(anchor_sizes) != LEVELS:
            raise ValueError(f"anchor_sizes needs {LEVELS} sides, one for each level of the pyramid")
        deep = heads == "v2"
        self.encoder = _encoder(encoder_name, in_channels, norm, norm_eps)
        width = 64 * (4 if hasattr(self.encoder["layer1"][0], "conv3") else 1)
        widths = [width * 2**level for level in range(LEVELS - 1)]
        self.decoder = FeaturePyramidNetwork(
            widths, decoder_channels, LastLevelMaxPool(), norm_layer=nn.BatchNorm2d if deep else None
        )
        anchors = AnchorGenerator(tuple((s,) for s in anchor_sizes), (tuple(anchor_ratios),) * LEVELS)
        whole = mask_rcnn.MaskRCNN(
            _Sized(decoder_channels),
            rpn_anchor_generator=anchors,
            rpn_head=RPNHead(decoder_channels, len(anchor_ratios), conv_depth=1 + deep),
            rpn_pre_nms_top_n_train=2 * proposals,
            rpn_post_nms_top_n_train=2 * proposals,
            rpn_pre_nms_top_n_test=proposals,
            rpn_post_nms_top_n_test=proposals,
            box_nms_thresh=box_nms,
            box_detections_per_img=detections,
            **_heads(decoder_channels, box_features, 1 + classes, deep=deep),
        )
        self.rpn, self.roi_heads = whole.rpn, whole.roi_heads
        self.name = f"mask-rcnn-{encoder_name}"

    def forward(
        self, x: Tensor, targets: Sequence[Mapping[str, Tensor]] | None = None
    ) -> dict[str, Tensor] | list[Found]:
        """Return the losses of a batch while training, else the objects of each image.

        Parameters
        ----------
        x
            Standardised values, shape (N, bands, rows, cols).
        targets
            While training, for each image `boxes` (n, 4) as x0, y0, x1, y1 (half-open), `labels` (n,) from 1
            and `masks` (n, rows, cols), uint8.
        """
        features = self.features(x)
        if not self.training:
            return self.find(x, features)
        return self.lose(x, features, targets or ())

    def lose(
        self, x: Tensor, features: Mapping[str, Tensor], targets: Sequence[Mapping[str, Tensor]]
    ) -> dict[str, Tensor]:
        """Return the losses of a batch; proposals and heads must be in training mode."""
        given, images = [dict(t) for t in targets], _images(x)
        proposals, losses = self.rpn(images, features, given)
        _, more = self.roi_heads(features, proposals, images.image_sizes, given)
        return {**losses, **more}

    def features(self, x: Tensor) -> dict[str, Tensor]:
        """Return the levels of the pyramid for a batch."""
        found: dict[str, Tensor] = self.decoder(self.encoder(x))
        return found

    def find(self, x: Tensor, features: Mapping[str, Tensor]) -> list[Found]:
        """Return the objects of each image of a batch, image by image.

        Linear layers sum in another order for another number of rows. So boxes of several images are never
        stacked, and the objects of an image do not depend on those beside it in the batch.
        """
        return [
            self._find_in_one(_images(x[n : n + 1]), {k: v[n : n + 1] for k, v in features.items()})
            for n in range(len(x))
        ]

    def _find_in_one(self, images: ImageList, features: dict[str, Tensor]) -> Found:
        """Return the objects of an image as torchvision's heads do, but from few boxes at once."""
        heads, sizes = self.roi_heads, images.image_sizes
        ((proposals,), _) = self.rpn(images, features)
        answers = [
            heads.box_predictor(heads.box_head(heads.box_roi_pool(features, [part], sizes)))
            for part in _parts(proposals)
        ]
        logits, offsets = (torch.cat(a) for a in zip(*answers, strict=True))
        boxes, scores, labels = (
            found[0] for found in heads.postprocess_detections(logits, offsets, [proposals], sizes)
        )
        masks = [
            maskrcnn_inference(
                heads.mask_predictor(heads.mask_head(heads.mask_roi_pool(features, [part], sizes))), [own]
            )[0]
            for part, own in zip(_parts(boxes), _parts(labels), strict=True)
        ]
        return {"boxes": boxes, "labels": labels, "scores": scores, "masks": torch.cat(masks)}


class _Sized(nn.Module):
    """Stands for a backbone, of which torchvision asks the number of channels."""

    def __init__(self, out_channels: int) -> None:
        super().__init__()
        self.out_channels = out_channels


class _Encoder(IntermediateLayerGetter):  # type: ignore[misc]
    """The stages of a residual network, by number, with torchvision's names."""

    output_stride = 32


def _encoder(name: str, bands: int, norm: str, eps: float) -> _Encoder:
    layer = FrozenBatchNorm2d if norm == "frozen" else nn.BatchNorm2d
    whole = getattr(resnet, name)(weights=None, norm_layer=lambda n: layer(n, eps=eps))
    if bands != 3:
        whole.conv1 = nn.Conv2d(bands, 64, 7, stride=2, padding=3, bias=False)
        nn.init.kaiming_normal_(whole.conv1.weight, mode="fan_out", nonlinearity="relu")
    return _Encoder(whole, {f"layer{k + 1}": str(k) for k in range(LEVELS - 1)})


def _heads(channels: int, features: int, classes: int, *, deep: bool) -> dict[str, nn.Module]:
    """Return the heads of boxes and masks; `classes` with the background."""
    norm = nn.BatchNorm2d if deep else None
    box: nn.Module = TwoMLPHead(channels * 7 * 7, features)
    if deep:
        box = FastRCNNConvFCHead((channels, 7, 7), [channels] * 4, [features], norm_layer=norm)
    return {
        "box_head": box,
        "box_predictor": FastRCNNPredictor(features, classes),
        "mask_head": mask_rcnn.MaskRCNNHeads(channels, (channels,) * 4, 1, norm_layer=norm),
        "mask_predictor": mask_rcnn.MaskRCNNPredictor(channels, channels, classes),
    }


def _parts(boxes: Tensor) -> tuple[Tensor, ...]:
    """Return boxes in parts of a bounded number; a single empty part where there are none."""
    return torch.split(boxes, _AT_ONCE) if len(boxes) else (boxes,)


def _images(x: Tensor) -> ImageList:
    return ImageList(x, [(x.shape[-2], x.shape[-1])] * len(x))
