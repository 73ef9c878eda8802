"""The measure of correctness: one forward pass over a whole scene, and how a tiled map differs from it."""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from geoseg.core.geometry import Window
from geoseg.inference.plan import Plan


def whole_image_classes(plan: Plan) -> NDArray[np.uint8]:
    """Class ids of one pass of the plan's network over its whole scene, with reflected margins."""
    margin, divisor = plan.grid.rows.margin, plan.bundle.card.tile.divisor
    height, width = plan.scene.shape
    rows, cols = (-(-(n + 2 * margin) // divisor) * divisor for n in (height, width))
    pixels = plan.scene.read(Window.of(-margin, -margin, rows, cols))
    mean, std = (
        np.array([getattr(b, key) for b in plan.bundle.card.bands], np.float32) for key in ("mean", "std")
    )
    values = pixels.values.astype(np.float32)
    values *= (plan.scene.gain / std)[:, None, None]
    values += ((plan.scene.bias - mean) / std)[:, None, None]
    values[:, ~pixels.valid] = 0
    network = plan.bundle.network().to(memory_format=torch.channels_last)
    with torch.inference_mode():
        x = torch.from_numpy(values)[None].contiguous(memory_format=torch.channels_last)
        channels = network(x)[0].max(dim=0).indices.numpy()
    return plan.bundle.card.legend.ids[channels[margin : margin + height, margin : margin + width]]


@dataclass(frozen=True)
class Difference:
    """How a tiled map differs from the whole-image map."""

    overall: float
    """Share of pixels with another class."""
    land: float
    """The same over pixels that the whole-image map does not call `water`."""
    border: float
    """The same within 64 px of the scene's border."""
    seams: float
    """Seam index: class changes across the lines where tiles begin, end or meet half way, over those of the
    whole-image map across the same lines."""


def compare(classes: NDArray[np.uint8], whole: NDArray[np.uint8], plan: Plan) -> Difference:
    """Measure the difference."""
    other = classes != whole
    water = [c.id for c in plan.bundle.card.classes if c.slug == "water"]
    border = np.ones(whole.shape, bool)
    border[64:-64, 64:-64] = False
    changes = [_changes(m, plan) for m in (classes, whole)]
    return Difference(
        overall=float(other.mean()),
        land=float(other[~np.isin(whole, water)].mean()),
        border=float(other[border].mean()),
        seams=changes[0] / max(changes[1], 1),
    )


def _changes(classes: NDArray[np.uint8], plan: Plan) -> int:
    total = 0
    for axis, tiles in enumerate((plan.grid.rows, plan.grid.cols)):
        for line in tiles.seams:
            before, after = (classes.take(i, axis=axis) for i in (line - 1, line))
            total += int((before != after).sum())
    return total
