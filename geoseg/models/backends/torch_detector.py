"""Find objects with torch, on a GPU or a CPU."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from geoseg.core.detections import SCORES, Detections
from geoseg.core.errors import BundleError
from geoseg.models.backends.failures import (
    not_finite_error,
    out_of_memory_error,
    unsupported_input_error,
)
from geoseg.models.backends.feed import Feed
from geoseg.models.backends.pasting import paste, without_nested
from geoseg.models.backends.spec import SegmenterSpec
from geoseg.models.backends.torch_segmenter import arrays_for, set_deterministic
from geoseg.models.bundle import Bundle
from geoseg.models.card import CardDetection
from geoseg.models.networks.mask_rcnn import Found, MaskRCNN
from geoseg.tiling.arrays import HOST


class TorchDetector:
    """The network of a bundle of objects in torch."""

    def __init__(self, bundle: Bundle, spec: SegmenterSpec) -> None:
        card, network = bundle.card, bundle.network()
        if card.detection is None or not isinstance(network, MaskRCNN):
            raise BundleError(f"{bundle.folder}: finds classes, not objects")
        if spec.augment != "none":
            raise BundleError(
                f"{bundle.folder}: objects of several views cannot be averaged; use --set "
                "inference.augment=none"
            )
        self.device = torch.device(spec.device)
        set_deterministic(self.device)
        self.arrays = arrays_for(self.device)
        self.dtype = {"fp32": None, "bf16": torch.bfloat16, "fp16": torch.float16}[spec.precision]
        self.feed, self.detection = Feed(card), card.detection
        self.channels = card.channels or range(len(card.classes))
        limit_detections(network, card.detection)
        self.network = network.to(self.device).to(memory_format=torch.channels_last)

    def prepare(self, shape: tuple[int, int, int, int], dtype: np.dtype[Any]) -> None:
        """See `Detector`; nothing depends on the shape."""

    @torch.inference_mode()
    def detect(
        self, values: Any, valid: Any, gain: NDArray[np.float32], bias: NDArray[np.float32]
    ) -> tuple[Detections, ...]:
        """Return the objects of each tile, see `Detector`."""
        try:
            if self.arrays is HOST:
                values, valid = torch.from_numpy(values), torch.from_numpy(valid)
            x = self.feed.tensors(values, valid, gain, bias)
            found, shape = self._forward(x), tuple(x.shape[-2:])
            return tuple(detections(one, self.detection, self.channels, shape) for one in found)
        except torch.OutOfMemoryError as error:
            raise out_of_memory_error(tuple(values.shape)) from error

    def _forward(self, x: torch.Tensor) -> list[Found]:
        shape = tuple(x.shape)
        try:
            x = x.contiguous(memory_format=torch.channels_last)
            with torch.autocast(self.device.type, dtype=self.dtype, enabled=self.dtype is not None):
                features = self.network.features(x)
            # Boxes and scores need all digits: they decide what is suppressed.
            levels = {name: level.float() for name, level in features.items()}
            if not all(torch.isfinite(level.sum()) for level in levels.values()):
                raise not_finite_error()
            found: list[Found] = self.network.find(x, levels)
        except (RuntimeError, AssertionError, ValueError) as error:
            if "memory" in str(error):
                raise out_of_memory_error(shape) from error
            raise unsupported_input_error(shape, error) from error
        return found


def candidates(detection: CardDetection) -> int:
    """Return the most objects that the network reports of a tile, of which at most `per_tile` are kept.

    There are more of them: where masks of the same object are dropped, a tile still tells that it is full.
    """
    return detection.per_tile + detection.per_tile // 4 + 1


def limit_detections(network: MaskRCNN, detection: CardDetection) -> None:
    """Let a network report what the card asks for: no mask is computed of an object that is dropped."""
    # Scores are compared after they are rounded.
    network.roi_heads.score_thresh = max(0.0, detection.score_threshold - 1 / SCORES)
    network.roi_heads.detections_per_img = candidates(detection)


def detections(
    found: Found, detection: CardDetection, channels: Sequence[int], shape: tuple[int, int]
) -> Detections:
    """Return the objects of a tile that the network found.

    Parameters
    ----------
    found
        What the network says of the tile.
    detection
        Thresholds.
    channels
        Channel of each class, from 0; objects of others are dropped.
    shape
        Rows and columns of the tile.
    """
    place = {c: i for i, c in enumerate(channels)}
    boxes, masks = found["boxes"].cpu(), found["masks"].cpu()
    scores = (found["scores"].double().cpu().numpy() * SCORES).round().astype(int)
    enough = round(detection.score_threshold * SCORES)
    objects = Detections.of(
        [
            (*paste(masks[i], boxes[i], shape, detection.mask_threshold), place[channel], int(scores[i]))
            for i, label in enumerate(found["labels"].tolist())
            if (channel := label - 1) in place and scores[i] >= enough
        ]
    )
    if detection.mask_nms is not None:
        objects = without_nested(objects, shape, detection.mask_nms)
    return objects.chosen(range(detection.per_tile)) if len(objects) > detection.per_tile else objects
