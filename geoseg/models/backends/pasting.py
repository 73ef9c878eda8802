"""Masks of detections: pasted into their own boxes, and compared with each other."""

from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812 (its usual name)
from numpy.typing import NDArray
from torch import Tensor

from geoseg.core.detections import Detections, shared_pixels

RIM = 2
"""Pixels: a mask that comes so near to the edge of its tile may be cut."""


def paste(
    mask: Tensor, box: Tensor, shape: tuple[int, int], threshold: float
) -> tuple[int, int, NDArray[np.bool_]]:
    """Return the first row and column of a mask and its pixels, in an array of its box.

    The pixels are those of torchvision's `paste_masks_in_image`, which holds an image for each mask.

    Parameters
    ----------
    mask
        Probabilities, shape (1, m, m).
    box
        x0, y0, x1, y1 in pixels.
    shape
        Rows and columns of the image.
    threshold
        Least probability of a pixel of the mask.
    """
    side = mask.shape[-1]
    padded = F.pad(mask[None], (1, 1, 1, 1))
    # A pixel of the mask is added on every side, so that the contour may lie on the edge of the box.
    centre, half = (box[:2] + box[2:]) * 0.5, (box[2:] - box[:2]) * 0.5 * ((side + 2) / side)
    x0, y0, x1, y1 = (int(v) for v in torch.cat([centre - half, centre + half]))
    size = max(y1 - y0 + 1, 1), max(x1 - x0 + 1, 1)
    whole = F.interpolate(padded, size=size, mode="bilinear", align_corners=False)[0, 0]
    rows = slice(max(y0, 0) - y0, max(min(y1 + 1, shape[0]), y0) - y0)
    cols = slice(max(x0, 0) - x0, max(min(x1 + 1, shape[1]), x0) - x0)
    return max(y0, 0), max(x0, 0), (whole[rows, cols] >= threshold).numpy()


def without_nested(found: Detections, shape: tuple[int, int], largest: float) -> Detections:
    """Return detections without those that lie in a better one of their class.

    The network suppresses boxes, of which two with a small IoU may hold the same object. Masks that may be
    cut by the edge of the tile are left to the merge of tiles.

    Parameters
    ----------
    found
        Detections of a tile.
    shape
        Rows and columns of the tile.
    largest
        Of two masks of a class that share this part of the smaller one or more, the one with the lower score
        is dropped.
    """
    kept: list[int] = []
    whole = [_is_whole(box, shape) for box in found.boxes.tolist()]
    areas = [int(m.sum()) for m in found.masks]
    for i in range(len(found)):
        rivals = (k for k in kept if whole[k] and found.classes[k] == found.classes[i]) if whole[i] else ()
        if not any(shared_pixels(found, i, found, k) >= largest * min(areas[i], areas[k]) for k in rivals):
            kept.append(i)
    return found.chosen(kept)


def _is_whole(box: Sequence[int], shape: tuple[int, int]) -> bool:
    return box[0] >= RIM and box[1] >= RIM and box[2] <= shape[0] - RIM and box[3] <= shape[1] - RIM
