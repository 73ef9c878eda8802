"""Measure a network that finds objects: fit the score threshold on val, score the parts."""

import heapq
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import DataLoader

from geoseg.config.training import DetectionEntry
from geoseg.core.detections import Detections
from geoseg.core.legend import Legend
from geoseg.evaluation.objects.matching import Tally, match
from geoseg.evaluation.objects.precision import Precision
from geoseg.evaluation.objects.scores import ObjectScores, object_scores
from geoseg.models.backends.torch_detector import detections
from geoseg.models.card import CardDetection
from geoseg.models.networks.mask_rcnn import MaskRCNN
from geoseg.training.instances.chips import EvaluationObjects
from geoseg.training.instances.scores import InstanceScores
from geoseg.training.instances.task import on_cpu

LEAST_SCORE = 0.05
"""Detections with a lower score are no part of an average precision; torchvision's default."""

_SHOWN = 6
"""Best and worst chips that are kept for the page."""


@dataclass(frozen=True)
class DetectedChip:
    """A chip, its labelled objects and those that were found."""

    where: str
    image: NDArray[np.float32]
    """Normalised input, shape (B, rows, cols)."""
    true: Detections
    predicted: Detections
    """All with a score of at least `LEAST_SCORE`."""
    full: bool
    """Whether as many objects were found as may be in a tile."""

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""
        return self.image.shape[1], self.image.shape[2]


@dataclass(frozen=True)
class InstancePart:
    """Scores of a network on a part of the data."""

    scores: ObjectScores
    best: tuple[tuple[float, DetectedChip], ...]
    """F1 and chip."""
    worst: tuple[tuple[float, DetectedChip], ...]
    chips: int
    full: int
    """Chips in which as many objects were found as may be."""
    curve: tuple[tuple[float, float, float], ...] = ()
    """Score, recall and precision, see `Tally.curve`."""


@dataclass(frozen=True)
class MeasuredInstances:
    """A network's score threshold, and its scores by part."""

    detection: CardDetection
    """With the score threshold that was fitted on val."""
    measured_on: str
    """The part whose scores are to be quoted: test, else val, else train."""
    parts: dict[str, InstancePart]
    datasets: dict[str, ObjectScores]
    """Scores on the same part, of each of several data sets."""
    temperature: float = 1.0
    """Scores are not calibrated."""

    @property
    def main(self) -> InstancePart:
        """The scores of the part to be quoted."""
        return self.parts[self.measured_on]

    def scores(self) -> InstanceScores:
        """Return the scores for card and record."""
        chips = self.main.chips
        reference = {
            "test": f"objects of {chips} chips of test, which nothing was fitted to",
            "val": f"objects of {chips} chips of val, which chose epoch and score threshold",
            "train": f"objects of the {chips} chips that it was trained on",
        }
        return InstanceScores(
            reference=reference[self.measured_on],
            other_parts={k: p.scores for k, p in self.parts.items() if k != self.measured_on},
            datasets=self.datasets,
            **dict(self.main.scores),
        )


def measure_instances(
    network: MaskRCNN,
    parts: Mapping[str, EvaluationObjects],
    legend: Legend,
    detection: CardDetection,
    entry: DetectionEntry,
    batch: int,
) -> MeasuredInstances:
    """Fit the score threshold on val, and score the network on test and val, or on train without these.

    Parameters
    ----------
    network
        The network.
    parts
        Chips by part.
    legend
        The classes.
    detection
        The other thresholds.
    entry
        Whether the score threshold is fitted.
    batch
        Chips in a forward pass.
    """
    last = next(p for p in ("test", "val", "train") if p in parts)
    fitted_on = "val" if "val" in parts else last
    detected = {p: list(detect_chips(network, parts[p], detection, batch)) for p in {fitted_on, last}}
    threshold = entry.score_threshold
    if threshold == "auto":
        tally = Tally()
        for chip in detected[fitted_on]:
            tally.add(match(chip.predicted, chip.true))
        threshold = tally.best_threshold()
    fitted = detection.model_copy(update={"score_threshold": threshold})
    measured = {
        p: score_instances(detected[p], legend, threshold, shown=_SHOWN if p == last else 0)
        for p in dict.fromkeys([last, fitted_on])
    }
    sets = parts[last].sets
    of_sets = {
        name: [chip for chip, own in zip(detected[last], sets, strict=True) if own == name]
        for name in dict.fromkeys(sets)
    }
    datasets = {name: score_instances(mine, legend, threshold).scores for name, mine in of_sets.items()}
    return MeasuredInstances(fitted, last, measured, datasets)


@torch.inference_mode()
def detect_chips(
    network: MaskRCNN, chips: EvaluationObjects, detection: CardDetection, batch: int
) -> Iterator[DetectedChip]:
    """Find the objects of every chip, down to a score of `LEAST_SCORE`."""
    network.eval()
    heads = network.roi_heads
    heads.score_thresh, heads.detections_per_img = LEAST_SCORE, detection.per_tile
    loose = detection.model_copy(update={"score_threshold": 0.0})
    device = next(network.parameters()).device
    channels = range(heads.box_predictor.cls_score.out_features - 1)
    for samples in DataLoader(chips, batch_size=batch, collate_fn=chips.collate):
        found: Any = network(samples["image"].to(device, memory_format=torch.channels_last))
        for one, image, target, where in zip(
            found, samples["image"], samples["targets"], samples["where"], strict=True
        ):
            shape = int(image.shape[-2]), int(image.shape[-1])
            objects = detections(one, loose, channels, shape)
            full = len(one["scores"]) >= heads.detections_per_img
            yield DetectedChip(where, image.numpy(), on_cpu(target), objects, full)


def score_instances(
    chips: Sequence[DetectedChip], legend: Legend, threshold: float, *, shown: int = 0
) -> InstancePart:
    """Score the objects that were found in chips.

    Parameters
    ----------
    chips
        The chips.
    legend
        The classes.
    threshold
        Least score of a detection that counts; average precision looks at all.
    shown
        Number of best and of worst chips to keep, by F1; those without objects are not shown.
    """
    precision, tally = Precision(), Tally()
    best: list[tuple[float, int]] = []
    worst: list[tuple[float, int]] = []
    for number, chip in enumerate(chips):
        one = match(chip.predicted, chip.true)
        precision.add(chip.predicted, chip.true, chip.shape)
        tally.add(one)
        if shown and len(chip.true):
            alone = Tally()
            alone.add(one)
            f1 = alone.counts(threshold).f1
            _keep(best, (f1, -number), shown)
            _keep(worst, (-f1, -number), shown)
    scores = object_scores(precision.compute(), tally, threshold, legend)
    return InstancePart(
        scores,
        tuple((f1, chips[-n]) for f1, n in sorted(best, reverse=True)),
        tuple((-f1, chips[-n]) for f1, n in sorted(worst, reverse=True)),
        len(chips),
        sum(c.full for c in chips),
        tally.curve(),
    )


def _keep(heap: list[tuple[float, int]], item: tuple[float, int], most: int) -> None:
    heapq.heappush(heap, item)
    if len(heap) > most:
        heapq.heappop(heap)
