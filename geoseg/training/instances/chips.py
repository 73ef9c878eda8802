"""Chips with objects: images, and the box, class and mask of each object in them."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from geoseg.config.training import DetectionEntry
from geoseg.core.detections import SCORES, Detections
from geoseg.core.geometry import Window
from geoseg.core.legend import IGNORE
from geoseg.scenes.instances import LabelObject
from geoseg.scenes.labelled import Labelled
from geoseg.training.augment import as_sample, standardised
from geoseg.training.census import CensusCell
from geoseg.training.chips import ChipSource, EvaluationChips, TrainingChips, centred, seeded
from geoseg.training.instances.census import labels_of

Target = dict[str, Tensor]
"""`boxes` (n, 4) as x0, y0, x1, y1, half-open, `labels` (n,) from 1 and `masks` (n, rows, cols), uint8."""


@dataclass(frozen=True)
class ObjectSource(ChipSource):
    """Scenes, cells and statistics that chips with objects are cut from."""

    labelled: Sequence[Labelled] = ()
    """The same scenes, with the labels that tell objects apart."""

    def sample(self, cell: CensusCell, window: Window) -> dict[str, Tensor]:
        """Read a chip; pixels without a label, or beyond the cell's region, become the mean of their band."""
        pixels = self.scenes[cell.region.scene].read(window)
        own = window.intersect(cell.region.window)
        inside = own.relative_to(window)
        known = np.zeros(window.shape, dtype=np.bool_)
        known[inside] = pixels.channels[inside] != IGNORE
        values = np.where(known, pixels.values, np.float32(np.nan))
        sample = as_sample(torch.from_numpy(values), torch.from_numpy(pixels.channels), self.mean)
        del sample["label"]
        return {**sample, **_stacked(self.objects(cell, own), window)}

    def objects(self, cell: CensusCell, window: Window) -> tuple[LabelObject, ...]:
        """Return the objects of a window."""
        return labels_of(self.labelled[cell.region.scene]).objects(window)


def _stacked(objects: Sequence[LabelObject], window: Window) -> dict[str, Tensor]:
    """Return the masks in the window, and class and size of each object."""
    masks = np.zeros((len(objects), *window.shape), dtype=np.uint8)
    for plane, one in zip(masks, objects, strict=True):
        plane[one.window.relative_to(window)] = one.mask
    return {
        "masks": torch.from_numpy(masks),
        "classes": torch.tensor([o.channel for o in objects], dtype=torch.int64),
        "pixels": torch.tensor([o.pixels for o in objects], dtype=torch.float64),
    }


def target(sample: dict[str, Tensor], entry: DetectionEntry) -> Target:
    """Return what the network learns of a sample: objects of which enough is in the chip.

    Parameters
    ----------
    sample
        `valid` (rows, cols), `masks` (n, rows, cols), `classes` (n,) and `pixels` (n,), the size of each
        whole object in pixels of the chip.
    entry
        The least pixels and share of an object.
    """
    masks = sample["masks"] * sample["valid"]  # no object is seen where pixels are invalid
    inside = masks.flatten(1).sum(1) if len(masks) else torch.zeros(0)
    keep = (inside >= entry.min_pixels) & (inside >= entry.min_share * sample["pixels"])
    masks = masks[keep]
    boxes = torch.zeros(len(masks), 4)
    for box, mask in zip(boxes, masks, strict=True):
        rows, cols = (torch.nonzero(mask.any(axis)).flatten() for axis in (1, 0))
        box[:] = torch.stack([cols[0], rows[0], cols[-1] + 1, rows[-1] + 1])
    return {"boxes": boxes, "labels": sample["classes"][keep] + 1, "masks": masks}


def truth(one: Target) -> Detections:
    """Return a target as objects to compare detections with."""
    corners = one["boxes"].int().tolist()
    return Detections.of(
        [
            (y0, x0, mask[y0:y1, x0:x1].bool().numpy(), int(label) - 1, SCORES)
            for (x0, y0, x1, y1), label, mask in zip(corners, one["labels"], one["masks"].cpu(), strict=True)
        ]
    )


def _item(sample: dict[str, Tensor], source: ChipSource, entry: DetectionEntry, where: str) -> dict[str, Any]:
    image = standardised(sample, source.mean, source.std)
    return {"image": image, "target": target(sample, entry), "where": where}


def collate(items: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Return a batch: images stacked, targets and places as lists, since chips hold different objects."""
    return {
        "image": torch.stack([i["image"] for i in items]),
        "targets": [i["target"] for i in items],
        "where": [i["where"] for i in items],
    }


class TrainingObjects(TrainingChips):
    """Augmented chips with objects for training; parameters as of `TrainingChips`.

    With `chips.balance`, that share of the chips lies around an object of a class that is drawn first.
    """

    source: ObjectSource
    detection: DetectionEntry = DetectionEntry()
    collate = staticmethod(collate)

    def __getitem__(self, draw: int) -> dict[str, Any]:
        rng = np.random.default_rng((self.seed, draw))
        cell = self.cells[self._pick(draw, rng)]
        window = self._window(cell, rng)
        sample = self.source.sample(cell, window)
        with seeded(int(rng.integers(2**62))):
            sample = self.augmentation(sample)
        return _item(sample, self.source, self.detection, self.source.where(cell, window))

    def balanced(self) -> slice:
        """See `TrainingChips`."""
        # The last channel is the background, which has no objects to be balanced.
        return slice(0, -1) if self.pixels[:-1].any() else slice(None)

    def _window(self, cell: CensusCell, rng: np.random.Generator) -> Window:
        if rng.random() >= self.chips.balance:
            return super()._window(cell, rng)
        objects = self.source.objects(cell, cell.window)
        if not objects:
            return super()._window(cell, rng)
        kinds = sorted({o.channel for o in objects})
        # Rare classes first, by the labelled pixels of all train.
        weights = np.array([1 / max(1, self.pixels[k]) for k in kinds])
        kind = int(rng.choice(kinds, p=weights / weights.sum()))
        same = [o for o in objects if o.channel == kind]
        box = same[int(rng.integers(len(same)))].window
        jitter = self.chips.size // 4
        down, right = (int(n) for n in rng.integers(-jitter, jitter + 1, 2))
        return Window(
            centred(box.rows, cell.region.window.rows, self.read[0], down),
            centred(box.cols, cell.region.window.cols, self.read[1], right),
        )


class EvaluationObjects(EvaluationChips):
    """Chips with objects for evaluation: every cell once, not augmented."""

    source: ObjectSource
    detection: DetectionEntry = DetectionEntry()
    collate = staticmethod(collate)

    def __getitem__(self, index: int) -> dict[str, Any]:
        cell = self.cells[index]
        window = self.window(cell)
        sample = self.source.sample(cell, window)
        return _item(sample, self.source, self.detection, self.source.where(cell, window))
