"""Measure a trained regression: errors on chips, where they lie, and the best and worst chips."""

import heapq
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import nn

from geoseg.config.training import Measurement
from geoseg.evaluation.numbers import NumberAgreement
from geoseg.evaluation.reports import NumberScores
from geoseg.models.card import CardTarget
from geoseg.training.chips import EvaluationChips
from geoseg.training.measure import as_it_is, predict_chips, references
from geoseg.training.scores import NumberTrainingScores

_SHOWN_CHIPS = 4
"""Best and worst chips that are kept for the page."""


@dataclass(frozen=True)
class NumberChip:
    """A chip and its predicted numbers."""

    where: str
    image: NDArray[np.float32]
    """Normalised input, shape (B, rows, cols)."""
    label: NDArray[np.float32]
    """In the unit of the target, NaN where nothing is known, shape (rows, cols)."""
    found: NDArray[np.float32]
    """Prediction in the unit of the target, within its range."""

    @property
    def mae(self) -> float:
        """Mean absolute difference of the labelled pixels."""
        return float(np.nanmean(np.abs(self.found - self.label)))


@dataclass(frozen=True)
class NumberPart:
    """Scores on a part of the data."""

    agreement: NumberAgreement
    scores: NumberScores
    chips: int
    best: tuple[NumberChip, ...]
    worst: tuple[NumberChip, ...]
    datasets: dict[str, NumberScores]
    """Of each of several data sets."""


@dataclass(frozen=True)
class MeasuredNumbers:
    """The scores of a regression by part."""

    measured_on: str
    """The part whose scores are to be quoted: test, else val, else train."""
    parts: dict[str, NumberPart]
    temperature: float = 1.0

    @property
    def main(self) -> NumberPart:
        """The scores to quote."""
        return self.parts[self.measured_on]

    def scores(self) -> NumberTrainingScores:
        """Return all scores for the card and the record."""
        return NumberTrainingScores(
            reference=references(f"{self.main.chips} chips", chosen="epoch")[self.measured_on],
            other_parts={k: p.scores for k, p in self.parts.items() if k != self.measured_on},
            datasets=self.main.datasets,
            **dict(self.main.scores),
        )


def measure_numbers(
    network: nn.Module,
    parts: Mapping[str, EvaluationChips],
    target: CardTarget,
    entry: Measurement,
    batch: int,
) -> MeasuredNumbers:
    """Score a regression on test and val, or on train when these are empty.

    Parameters
    ----------
    network
        (N, B, H, W) to standardised numbers (N, 1, H, W).
    parts
        Chips by part.
    target
        The range of its numbers, and how they are standardised.
    entry
        The test-time augmentation.
    batch
        Chips in a forward pass.
    """
    last = next(p for p in ("test", "val", "train") if p in parts)
    names = dict.fromkeys([last, *(p for p in ("val",) if p in parts)])
    measured = {
        part: score_numbers(network, parts[part], target, batch=batch, shown=_SHOWN_CHIPS * (part == last))
        for part in names
    }
    if entry.augment != "none":
        measured[f"{last} with {entry.augment}"] = score_numbers(
            network, parts[last], target, batch=batch, augment=entry.augment
        )
    return MeasuredNumbers(last, measured)


def score_numbers(
    network: nn.Module,
    chips: EvaluationChips,
    target: CardTarget,
    *,
    batch: int,
    augment: str = "none",
    shown: int = 0,
) -> NumberPart:
    """Predict all chips of a part and score them; memory does not grow with their number.

    Parameters
    ----------
    network, target, batch
        As in `measure_numbers`.
    chips
        The chips.
    augment
        Test-time augmentation: `none`, `flips` or `d4`.
    shown
        Number of best and of worst chips to keep.
    """
    agreement = NumberAgreement(target.min, target.max)
    sets = chips.sets
    of_sets = {name: NumberAgreement(target.min, target.max) for name in dict.fromkeys(sets)}
    best: list[Any] = []
    worst: list[Any] = []
    for number, one in enumerate(predict_numbers(network, chips, target, batch, augment)):
        agreement.add(one.label, one.found)
        if sets:
            of_sets[sets[number]].add(one.label, one.found)
        # A chip with few labelled pixels is not worth showing.
        if shown and (~np.isnan(one.label)).mean() > 0.25:
            for heap, key in ((best, -one.mae), (worst, one.mae)):
                heapq.heappush(heap, (key, number, one))
                if len(heap) > shown:
                    heapq.heappop(heap)
    scores = NumberScores.model_validate(agreement.scores())
    datasets = {name: NumberScores.model_validate(a.scores()) for name, a in of_sets.items()}
    return NumberPart(agreement, scores, len(chips), _sorted(best), _sorted(worst), datasets)


def predict_numbers(
    network: nn.Module, chips: EvaluationChips, target: CardTarget, batch: int, augment: str = "none"
) -> Iterator[NumberChip]:
    """Predict every chip once; see `score_numbers`."""
    for chip in predict_chips(network, chips, batch, augment=augment, activate=as_it_is):
        values = (chip.probabilities[0] * target.std + target.mean).clip(target.min, target.max)
        yield NumberChip(chip.where, chip.image, chip.label, values.astype(np.float32))


def _sorted(heap: list[Any]) -> tuple[NumberChip, ...]:
    return tuple(chip for *_, chip in sorted(heap, key=lambda i: (-i[0], i[1])))
