"""How well a network does on a part of labelled data: figures, calibration, its best and worst chips."""

import heapq
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from geoseg.core.legend import IGNORE, Legend
from geoseg.evaluation.calibration import Calibration
from geoseg.evaluation.metrics import confusion_matrix, plain, scores
from geoseg.training.chips import GridChips
from geoseg.training.measure import PredictedChip, predict_chips

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True)
class Appraisal:
    """What was found on a part."""

    confusion: NDArray[np.int64]
    """Pixels, shape (C, C): rows are the reference, columns the prediction."""
    figures: dict[str, Any]
    """All scores as plain values."""
    calibration: Calibration
    uncalibrated: Calibration
    """As if the temperature were 1; exact without augmentation."""
    best: tuple[PredictedChip, ...]
    worst: tuple[PredictedChip, ...]
    chips: int


def appraise(
    network: "nn.Module",
    chips: GridChips,
    legend: Legend,
    *,
    temperature: float = 1.0,
    augment: str = "none",
    shown: int = 0,
    batch: int = 16,
) -> Appraisal:
    """Predict all chips of a part and add up what comes out; memory does not grow with their number.

    Parameters
    ----------
    network
        The network, in evaluation mode.
    chips
        The chips.
    legend
        The classes in channel order.
    temperature, augment
        As a run uses them.
    shown
        Number of best and of worst chips to keep.
    batch
        Chips in a forward pass.
    """
    classes = len(legend)
    matrix = np.zeros((classes, classes), dtype=np.int64)
    calibration, uncalibrated = Calibration(), Calibration()
    best: list[tuple[float, int, PredictedChip]] = []
    worst: list[tuple[float, int, PredictedChip]] = []
    for number, chip in enumerate(
        predict_chips(network, chips, batch, temperature=temperature, augment=augment)
    ):
        prediction = chip.probabilities.argmax(0).astype(np.uint8)
        matrix += confusion_matrix(chip.label, prediction, classes)
        calibration.add(chip.probabilities, chip.label)
        uncalibrated.add(_warmed(chip.probabilities, temperature), chip.label)
        # A chip with a handful of labelled pixels says little; it is not worth showing.
        if shown and (chip.label != IGNORE).mean() > 0.25:
            _keep(best, (chip.agreement, number, chip), shown)
            _keep(worst, (-chip.agreement, number, chip), shown)
    figures = {
        **scores(matrix).to_dict(legend),
        "brier": plain(calibration.brier),
        "expected_calibration_error": plain(calibration.expected_calibration_error),
    }
    return Appraisal(matrix, figures, calibration, uncalibrated, _chips(best), _chips(worst), len(chips))


def _warmed(probabilities: NDArray[np.float32], temperature: float) -> NDArray[np.float32]:
    """Return what the softmax of the logits gives without a temperature: p ** T, normalised."""
    powers = probabilities**temperature
    warmed: NDArray[np.float32] = powers / powers.sum(axis=0)
    return warmed


def _keep(heap: list[Any], item: tuple[float, int, PredictedChip], most: int) -> None:
    heapq.heappush(heap, item)
    if len(heap) > most:
        heapq.heappop(heap)


def _chips(heap: list[tuple[float, int, PredictedChip]]) -> tuple[PredictedChip, ...]:
    return tuple(chip for *_, chip in sorted(heap, key=lambda i: (-i[0], i[1])))
