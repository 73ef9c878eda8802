"""Measure a trained network of labels: temperature and thresholds fitted on val, scores on test."""

import heapq
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812 (its usual name)
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar
from torch import nn
from torchmetrics.classification import MultilabelAveragePrecision, MultilabelPrecisionRecallCurve

from geoseg.config.training import Measurement
from geoseg.core.legend import IGNORE, Legend
from geoseg.evaluation.flags import FlagAgreement
from geoseg.evaluation.reports import FlagScores
from geoseg.models.scaling import Scaling
from geoseg.training.chips import EvaluationChips
from geoseg.training.measure import MOST_PIXELS, PredictedChip, as_it_is, predict_chips, references
from geoseg.training.scores import FlagTrainingScores

_SHOWN_CHIPS = 6
_LEVELS = 100
"""Thresholds that are tried are multiples of one hundredth."""


@dataclass(frozen=True)
class FlagPart:
    """Scores on a part of the data."""

    scores: FlagScores
    agreement: FlagAgreement
    chips: int
    best: tuple[PredictedChip, ...]
    worst: tuple[PredictedChip, ...]
    datasets: dict[str, FlagScores]
    """Of each of several data sets."""


@dataclass(frozen=True)
class MeasuredFlags:
    """Temperature, thresholds and scores of a network of labels."""

    measured_on: str
    """The part whose scores are to be quoted: test, else val, else train."""
    parts: dict[str, FlagPart]
    temperature: float
    """Fitted on val; 1 when not calibrated."""
    thresholds: tuple[float, ...]
    """Of each class, the one with the best F1 on val; 0.5 without val."""

    @property
    def main(self) -> FlagPart:
        """The scores to quote."""
        return self.parts[self.measured_on]

    def scores(self) -> FlagTrainingScores:
        """Return all scores for the card and the record."""
        return FlagTrainingScores(
            reference=references(f"{self.main.chips} chips", chosen="epoch, temperature and thresholds")[
                self.measured_on
            ],
            other_parts={k: p.scores for k, p in self.parts.items() if k != self.measured_on},
            datasets=self.main.datasets,
            **dict(self.main.scores),
        )


def measure_flags(
    network: nn.Module, parts: Mapping[str, EvaluationChips], legend: Legend, entry: Measurement, batch: int
) -> MeasuredFlags:
    """Fit temperature and thresholds on val, and score a network on test and val, or on train without them.

    Parameters
    ----------
    network
        (N, B, H, W) to logits (N, C, H, W).
    parts
        Chips by part.
    legend
        The classes in channel order.
    entry
        Whether to calibrate, and the test-time augmentation.
    batch
        Chips in a forward pass.
    """
    temperature, thresholds = 1.0, (0.5,) * len(legend)
    if "val" in parts:
        if entry.calibration != "none":
            logits = predict_chips(network, parts["val"], batch, activate=as_it_is)
            temperature = round(fit_temperature(logits, sum(c.labelled for c in parts["val"].cells)), 4)
        thresholds = best_thresholds(predict_flags(network, parts["val"], batch, temperature), len(legend))
    last = next(p for p in ("test", "val", "train") if p in parts)
    names = dict.fromkeys([last, *(p for p in ("val",) if p in parts)])
    options: dict[str, Any] = {"batch": batch, "temperature": temperature, "thresholds": thresholds}
    measured = {
        part: score_flags(network, parts[part], legend, shown=_SHOWN_CHIPS * (part == last), **options)
        for part in names
    }
    if entry.augment != "none":
        measured[f"{last} with {entry.augment}"] = score_flags(
            network, parts[last], legend, augment=entry.augment, **options
        )
    return MeasuredFlags(last, measured, temperature, thresholds)


def score_flags(
    network: nn.Module,
    chips: EvaluationChips,
    legend: Legend,
    *,
    batch: int,
    temperature: float,
    thresholds: tuple[float, ...],
    augment: str = "none",
    shown: int = 0,
) -> FlagPart:
    """Predict all chips of a part and score them; memory does not grow with their number.

    Parameters
    ----------
    network, legend, batch
        As in `measure_flags`.
    chips
        The chips.
    temperature, thresholds
        What logits are divided by, and the threshold of each class.
    augment
        Test-time augmentation: `none`, `flips` or `d4`.
    shown
        Number of best and of worst chips to keep.
    """
    counts, sets = _FlagCounts(len(legend)), chips.sets
    of_sets = {name: _FlagCounts(len(legend)) for name in dict.fromkeys(sets)}
    limits = np.array(thresholds)[:, None, None]
    best: list[Any] = []
    worst: list[Any] = []
    for number, chip in enumerate(predict_flags(network, chips, batch, temperature, augment)):
        found = FlagAgreement.of(chip.label, (chip.probabilities >= limits).astype(np.uint8))
        for one in (counts, *([of_sets[sets[number]]] if sets else [])):
            one.add(chip, found)
        if shown and (chip.label != IGNORE).any(axis=0).mean() > 0.25:
            right = float((found.both + found.neither).sum())
            share = right / max(1.0, right + float((found.map_only + found.reference_only).sum()))
            for heap, key in ((best, share), (worst, -share)):
                heapq.heappush(heap, (key, number, chip))
                if len(heap) > shown:
                    heapq.heappop(heap)
    datasets = {name: one.scores(legend) for name, one in of_sets.items()}
    return FlagPart(
        counts.scores(legend), counts.agreement, len(chips), _sorted(best), _sorted(worst), datasets
    )


class _FlagCounts:
    """What is counted of chips."""

    def __init__(self, classes: int) -> None:
        nothing = np.zeros(classes, np.int64)
        self.agreement = FlagAgreement(nothing, nothing, nothing, nothing)
        self.precision = MultilabelAveragePrecision(
            classes, average=None, thresholds=_LEVELS + 1, ignore_index=IGNORE, validate_args=False
        )

    def add(self, chip: PredictedChip, found: FlagAgreement) -> None:
        """Count a chip and what was found of it."""
        self.agreement = self.agreement + found
        self.precision.update(*_as_tensors(chip))

    def scores(self, legend: Legend) -> FlagScores:
        """Return the scores of what was counted."""
        values: Any = self.precision.compute()
        seen = self.agreement.both + self.agreement.reference_only > 0
        precisions = np.where(seen, values.double().numpy(), np.nan)
        return FlagScores.model_validate(self.agreement.scores(legend, precisions))


def best_thresholds(chips: Iterable[PredictedChip], classes: int) -> tuple[float, ...]:
    """Return the threshold of each class with the best F1, a multiple of 0.01; 0.5 for absent classes.

    Of thresholds with the same F1 the one that is nearest to 0.5 is taken.
    """
    curve = MultilabelPrecisionRecallCurve(
        classes, thresholds=_LEVELS + 1, ignore_index=IGNORE, validate_args=False
    )
    there = np.zeros(classes, np.int64)
    for chip in chips:
        curve.update(*_as_tensors(chip))
        there += (chip.label == 1).sum(axis=(1, 2))
    found: Any = curve.compute()
    precision, recall = (v.double().numpy()[:, :-1] for v in found[:2])
    total = precision + recall
    f1 = np.divide(2 * precision * recall, total, out=np.zeros_like(total), where=total > 0)
    levels = np.arange(_LEVELS + 1) / _LEVELS
    # A threshold of 0 would put the label everywhere.
    f1[:, 0] = -1
    nearest = np.argsort(np.abs(levels - 0.5), kind="stable")
    chosen = [float(levels[nearest[np.argmax(row[nearest])]]) for row in f1]
    return tuple(t if n else 0.5 for t, n in zip(chosen, there, strict=True))


def fit_temperature(chips: Iterable[PredictedChip], labelled_pixels: int) -> float:
    """Return the temperature with the highest likelihood of the labels (Guo et al. 2017), of all together.

    Parameters
    ----------
    chips
        Whose `probabilities` are logits; at most a million of their labelled pixels are used, evenly spread.
    labelled_pixels
        Number of labelled pixels of all chips.
    """
    step = max(1, -(-labelled_pixels // MOST_PIXELS))
    logits, truth, seen = [], [], 0
    for chip in chips:
        used = np.flatnonzero((chip.label != IGNORE).any(axis=0))
        first, seen = -seen % step, seen + len(used)
        used = used[first::step]
        logits.append(chip.probabilities.reshape(len(chip.label), -1)[:, used])
        truth.append(chip.label.reshape(len(chip.label), -1)[:, used])
    x, y = (torch.from_numpy(np.concatenate(v, axis=1)) for v in (logits, truth))
    known = y != IGNORE
    if not known.any():
        return 1.0
    x, target = x[known], y[known].float()
    best = minimize_scalar(
        lambda log_t: float(F.binary_cross_entropy_with_logits(x / np.exp(log_t), target)),
        bounds=(-2.5, 2.5),
        method="bounded",
    )
    return float(np.exp(best.x))


def predict_flags(
    network: nn.Module, chips: EvaluationChips, batch: int, temperature: float, augment: str = "none"
) -> Iterable[PredictedChip]:
    """Predict every chip once, each label on its own; see `score_flags`."""
    return predict_chips(
        network, chips, batch, scaling=Scaling(temperature), augment=augment, activate=torch.sigmoid
    )


def _as_tensors(chip: PredictedChip) -> tuple[torch.Tensor, torch.Tensor]:
    """Return a chip as torchmetrics takes it: probabilities and labels, (1, C, rows, cols)."""
    return torch.from_numpy(chip.probabilities)[None], torch.from_numpy(chip.label)[None].long()


def _sorted(heap: list[Any]) -> tuple[PredictedChip, ...]:
    return tuple(chip for *_, chip in sorted(heap, key=lambda i: (-i[0], i[1])))


def rarest(flags: NDArray[np.uint8], order: NDArray[np.intp]) -> NDArray[np.uint8]:
    """Return for each pixel the label that comes last in an order, 255 where it has none or none is known.

    Parameters
    ----------
    flags
        0 and 1, 255 where nothing is known, shape (C, rows, cols).
    order
        Channels, from the most to the least common one.
    """
    top = np.full(flags.shape[1:], IGNORE, dtype=np.uint8)
    for channel in order:
        top[flags[channel] == 1] = channel
    return top
