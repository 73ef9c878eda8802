"""What the sizes and the density of the training objects decide: anchors, limits, tiles."""

import math
from typing import Any

import numpy as np

from geoseg.config.training import Training
from geoseg.models.networks.mask_rcnn import LEVELS
from geoseg.training.instances.census import ObjectCensus

_SMALLEST_ANCHOR = 4.0
"""The first level of the pyramid has a pixel for so many of the image."""

_STEP = 2.0
"""Each level of the pyramid has half the pixels of the one before, so anchors at least double."""

_LARGEST_TILE = 1024


def anchor_sizes(census: ObjectCensus) -> tuple[float, ...]:
    """Return the side of the anchors at each level, in pixels.

    They run from the small objects (5th percentile of the square roots of the boxes' areas) to the large ones
    (95th), but at least double from level to level.

    Examples
    --------
    >>> boxes = np.array([[10, 10]] * 20)
    >>> anchor_sizes(ObjectCensus(boxes, np.array([20]), 20, 0))
    (10.0, 20.0, 40.0, 80.0, 160.0)
    """
    sides = np.sqrt(census.boxes.prod(axis=1))
    low, high = (max(float(np.quantile(sides, q)), _SMALLEST_ANCHOR) for q in (0.05, 0.95))
    step = max(_STEP, (high / low) ** (1 / (LEVELS - 1)))
    return tuple(round(low * step**level, 1) for level in range(LEVELS))


def object_sides(census: ObjectCensus) -> dict[str, float]:
    """Return the median and the 99th percentile of the longer sides of the boxes, in pixels."""
    return {k: round(float(np.quantile(census.sides, q)), 1) for k, q in (("median", 0.5), ("p99", 0.99))}


def tile_sizes(document: Training, census: ObjectCensus, step: int) -> dict[str, int]:
    """Return the tile sizes for the card in pixels.

    The overlap holds nearly every object whole: the 99th percentile of their sides and 32 px, in which a
    network finds its bearings. Tiles are at least as large as chips, and four overlaps, so that at most half
    of the pixels are seen twice.

    Parameters
    ----------
    document
        The training file, whose `tile` comes first.
    census
        The training objects.
    step
        The network takes tiles whose sides are multiples of this.
    """
    if document.tile is not None:
        return {**document.tile.model_dump(), "divisor": step}
    chip = _up(document.chips.size, step)
    wanted = math.ceil(object_sides(census)["p99"]) + 32
    size = max(chip, min(_up(4 * wanted, step), max(_LARGEST_TILE // step * step, chip)))
    overlap = min(_up(wanted, 2), size // 2 // 2 * 2)
    # The network reports so many objects as fit the size; much smaller tiles would cost as much memory.
    smallest = max(_up(size // 2, step), _up(2 * overlap, step))
    return {"size": size, "min": smallest, "max": 2 * size, "overlap": overlap, "divisor": step}


def detections_per_tile(document: Training, census: ObjectCensus, tile: int) -> int:
    """Return the most detections in a tile of that side: half as many again as the densest chip has."""
    if document.detection.per_tile != "auto":
        return document.detection.per_tile
    wanted = math.ceil(1.5 * census.densest * (tile / document.chips.size) ** 2)
    return min(max(wanted, 20), 65_535)


def network_arguments(document: Training, census: ObjectCensus, step: int) -> dict[str, Any]:
    """Return the arguments of the network that the data decide; those of the document come before them."""
    most = detections_per_tile(document, census, tile_sizes(document, census, step)["size"])
    anchors = document.detection.anchors
    return {
        "anchor_sizes": list(anchor_sizes(census) if anchors == "auto" else anchors),
        "detections": most,
        "proposals": min(max(300, min(5 * most, 2000), 2 * most), 65_535),
    }


def larger_than_overlap(census: ObjectCensus, overlap: int) -> int:
    """Return the number of objects whose longer side is larger than the overlap: tiles see them in parts."""
    return int((census.sides > overlap).sum())


def _up(length: int, step: int) -> int:
    return -(-length // step) * step
