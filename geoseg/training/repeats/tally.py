"""What is measured of a network on its test part, as numbers that may be added up over places and networks.

Figures that are means over pixels follow from sums. So those of all folds together, and those of any choice
of places that a bootstrap draws, come from the sums of each place without predicting anything again.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import CubicSpline
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax
from torch import nn

from geoseg.config.training import Training
from geoseg.core.legend import IGNORE, Legend
from geoseg.evaluation.calibration import Calibration
from geoseg.evaluation.flags import FlagAgreement
from geoseg.evaluation.metrics import confusion_matrix, plain, scores
from geoseg.evaluation.numbers import NumberAgreement
from geoseg.models.card import Card, CardTarget
from geoseg.training.aim import Aim
from geoseg.training.calibrate import most_rows
from geoseg.training.measure import (
    MOST_PIXELS,
    EvaluationPart,
    PredictedChip,
    decided,
    predict_part,
    rule_of,
)
from geoseg.training.multilabel.measure import predict_flags
from geoseg.training.regression.measure import predict_numbers

Sums = NDArray[np.float64]

MOST_ROWS = 20_000
"""Pixels of each network whose logits are kept where they decide about the calibration of the bundle."""
_MOST_NUMBERS = 500_000
"""Most numbers of them, which keeps the file below 2 MB."""

_OF_CLASSES = ("iou", "f1", "precision", "recall")
_LOG_TEMPERATURES = np.linspace(-2.5, 2.5, 51)
"""Where the likelihood of temperatures is counted; `geoseg.training.measure` looks in the same range."""


class Tally(Protocol):
    """Counts chips of one task into sums, and makes scores of them."""

    @property
    def length(self) -> int:
        """Numbers of the sums."""
        ...

    @property
    def rows(self) -> int:
        """Most pixels of a network whose logits are kept, too; 0: none are needed."""
        ...

    def chips(self, network: nn.Module, part: EvaluationPart, card: Card, batch: int) -> Iterator[Sums]:
        """Yield the sums of each chip, and then of each picture, in the order of the part."""
        ...

    def scores(self, sums: Sums) -> dict[str, Any]:
        """Return the fields of the scores of the task as plain values."""
        ...

    def temperature(self, sums: Sums) -> float | None:
        """Return the temperature with the highest likelihood; None where the card's own is kept."""
        ...


def tally_of(aim: Aim, legend: Legend) -> Tally:
    """Return the tally of what a training aims at."""
    target: CardTarget | None = getattr(aim, "target", None)
    if target is not None:
        return NumberTally(target)
    if aim.card(None).get("task") == "multilabel":
        return FlagTally(legend)
    document: Training | None = getattr(aim, "document", None)
    choosing = document is not None and document.measure.calibration in {"vector", "auto"}
    return ClassTally(legend, most_rows(len(legend), MOST_ROWS, _MOST_NUMBERS) if choosing else 0)


def figures(found: Mapping[str, Any]) -> dict[str, float]:
    """Return scores as one level of numbers, NaN for None: `miou`, `iou/water`, ...

    Examples
    --------
    >>> figures({"pixels": 4, "miou": 0.5, "classes": [{"slug": "water", "iou": None, "title": "Water"}]})
    {'miou': 0.5, 'iou/water': nan}
    """
    whole = {
        k: v
        for k, v in found.items()
        if (v is None or isinstance(v, float)) and k not in ("reference", "mean_average_precision")
    }
    rows = {
        f"{key}/{row['slug']}": row[key]
        for key in _OF_CLASSES
        for row in found.get("classes", ())
        if key in row
    }
    return {k: float("nan") if v is None else float(v) for k, v in (whole | rows).items()}


@dataclass(frozen=True)
class ClassTally:
    """One class for each pixel: confusion, calibration of each class, and the likelihood of temperatures."""

    legend: Legend
    rows: int = 0

    @property
    def length(self) -> int:
        """See `Tally`."""
        return len(self.legend) ** 2 + self._calibration + len(_LOG_TEMPERATURES)

    @property
    def _calibration(self) -> int:
        return len(Calibration(classes=len(self.legend)).sums())

    def chips(self, network: nn.Module, part: EvaluationPart, card: Card, batch: int) -> Iterator[Sums]:
        """See `Tally`."""
        rule = rule_of(self.legend, card.thresholds or {})
        step = max(1, -(-part.labelled_pixels // MOST_PIXELS))
        # Logits cannot be found again from probabilities once each class had its own factor.
        again = None if card.calibration is None else predict_part(network, part, batch)
        for chip in predict_part(network, part, batch, scaling=card.scaling):
            calibration = Calibration(classes=len(self.legend))
            calibration.add(chip.probabilities, chip.label)
            matrix = confusion_matrix(chip.label, decided(chip.probabilities, rule), len(self.legend))
            likelihood = _likelihood(chip if again is None else next(again), card.temperature, step)
            yield np.concatenate([matrix.ravel(), calibration.sums(), likelihood])

    def scores(self, sums: Sums) -> dict[str, Any]:
        """See `Tally`."""
        calibration = self.calibration(sums)
        return {
            **scores(self.confusion(sums)).to_dict(self.legend),
            "brier": plain(calibration.brier),
            "expected_calibration_error": plain(calibration.expected_calibration_error),
        }

    def confusion(self, sums: Sums) -> NDArray[np.int64]:
        """Return the confusion matrix, shape (C, C)."""
        count = len(self.legend)
        return sums[: count**2].astype(np.int64).reshape(count, count)

    def calibration(self, sums: Sums) -> Calibration:
        """Return the calibration."""
        first = len(self.legend) ** 2
        return Calibration.of_sums(sums[first : first + self._calibration], len(self.legend))

    def temperature(self, sums: Sums) -> float | None:
        """See `Tally`."""
        loss = sums[-len(_LOG_TEMPERATURES) :]
        if not loss.any():
            return None
        curve = CubicSpline(_LOG_TEMPERATURES, loss / loss.max())
        near = _LOG_TEMPERATURES[int(loss.argmin())]
        found = minimize_scalar(curve, bounds=(max(near - 0.1, -2.5), min(near + 0.1, 2.5)), method="bounded")
        return round(float(np.exp(found.x)), 4)


def _likelihood(chip: PredictedChip, temperature: float, step: int) -> Sums:
    """Return the negative log-likelihood of the labels at each temperature, summed over every nth pixel."""
    used = np.flatnonzero(chip.label != IGNORE)[::step]
    truth = chip.label.reshape(-1)[used].astype(np.intp)
    probabilities = chip.probabilities.reshape(len(chip.probabilities), -1)[:, used].astype(np.float64)
    # The logits up to a constant, to which the softmax is invariant.
    logits = np.log(np.maximum(probabilities, 1e-12)) * temperature
    places = np.arange(len(truth))
    return np.array(
        [-log_softmax(logits / t, axis=0)[truth, places].sum() for t in np.exp(_LOG_TEMPERATURES)]
    )


@dataclass(frozen=True)
class FlagTally:
    """Labels, of which a pixel may have several. Average precision is none of the figures that add up."""

    legend: Legend
    rows: int = 0

    @property
    def length(self) -> int:
        """See `Tally`."""
        return 4 * len(self.legend)

    def chips(self, network: nn.Module, part: EvaluationPart, card: Card, batch: int) -> Iterator[Sums]:
        """See `Tally`."""
        limits = np.array(card.limits)[:, None, None]
        for chip in predict_flags(network, part.chips, batch, card.temperature):
            found = FlagAgreement.of(chip.label, (chip.probabilities >= limits).astype(np.uint8))
            counts = [found.both, found.map_only, found.reference_only, found.neither]
            yield np.concatenate(counts).astype(np.float64)

    def scores(self, sums: Sums) -> dict[str, Any]:
        """See `Tally`."""
        return FlagAgreement(*sums.astype(np.int64).reshape(4, -1)).scores(self.legend)

    def temperature(self, sums: Sums) -> float | None:  # noqa: ARG002 (see `Tally`)
        """See `Tally`."""
        return None


@dataclass(frozen=True)
class NumberTally:
    """A number for each pixel."""

    target: CardTarget
    rows: int = 0
    length: int = 8

    def chips(self, network: nn.Module, part: EvaluationPart, card: Card, batch: int) -> Iterator[Sums]:
        """See `Tally`."""
        own = card.target or self.target
        for chip in predict_numbers(network, part.chips, own, batch):
            known = ~np.isnan(chip.label)
            pair = np.stack([chip.label[known], chip.found[known]]).astype(np.float64)
            difference = pair[1] - pair[0]
            # From a number in their middle: squares of large numbers would lose the digits that differ.
            centred = pair - self.target.mean
            yield np.array(
                [
                    known.sum(), np.abs(difference).sum(), difference @ difference, *centred.sum(axis=1),
                    centred[0] @ centred[0], centred[0] @ centred[1], centred[1] @ centred[1],
                ]
            )  # fmt: skip

    def scores(self, sums: Sums) -> dict[str, Any]:
        """See `Tally`."""
        pixels, absolute, squares = int(sums[0]), float(sums[1]), float(sums[2])
        means = sums[3:5] / max(1, pixels)
        products = sums[[5, 6, 6, 7]].reshape(2, 2)
        moments = products - pixels * np.outer(means, means)
        found = NumberAgreement(self.target.min, self.target.max, pixels, absolute, squares)
        found.means, found.moments = means + self.target.mean, moments
        return found.scores()

    def temperature(self, sums: Sums) -> float | None:  # noqa: ARG002 (see `Tally`)
        """See `Tally`."""
        return None
