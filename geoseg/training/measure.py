"""Measure a trained network: predict the chips of a part, calibrate it, score the predictions."""

import heapq
import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812 (its usual name)
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar
from torch import nn
from torch.utils.data import DataLoader

from geoseg.config.training import Measurement
from geoseg.core.legend import IGNORE, Legend
from geoseg.evaluation.calibration import Calibration, add_reliability
from geoseg.evaluation.metrics import confusion_matrix, plain, scores
from geoseg.evaluation.reports import ChipScores
from geoseg.models.feeding import softmax
from geoseg.models.scaling import UNSCALED, Scaling, VectorScaling
from geoseg.models.symmetries import SYMMETRIES, turn, turn_back
from geoseg.tiling._kernels import PROBABILITY_BITS, TOTAL_BITS
from geoseg.tiling.arrays import HOST, all_of
from geoseg.tiling.thresholds import Thresholds
from geoseg.training.calibrate import Calibrated, LogitRows, calibrated, draw_rows, most_rows, numbered
from geoseg.training.chips import EvaluationChips
from geoseg.training.pictures import Layout, Picture, predict_pictures, predict_tiles
from geoseg.training.scores import TrainingScores

MOST_PIXELS = 1_000_000
"""Most labelled pixels that the temperature is fitted on."""

_STEPS = 1000
"""Thresholds that are tried: thousandths."""

_SHOWN_CHIPS = 6
"""Best and worst chips that are kept for the page."""
_MIXED = 0.1
"""Share of the labelled pixels that two classes of a chip must have, so that it may be one of the best."""

_SHOWN_SIDE = 768
"""Most pixels along the side of one."""


@dataclass(frozen=True)
class PredictedChip:
    """A chip and its predicted probabilities."""

    where: str
    image: NDArray[np.float32]
    """Normalised input, shape (B, rows, cols)."""
    probabilities: NDArray[np.float32]
    """Shape (C, rows, cols)."""
    label: NDArray[Any]
    """Channels, 255 where nothing is labelled, shape (rows, cols); or other labels."""

    @property
    def agreement(self) -> float:
        """Share of the labelled pixels whose predicted class is the labelled one."""
        labelled = self.label != IGNORE
        return float((self.probabilities.argmax(0) == self.label)[labelled].mean())

    @property
    def mixed(self) -> bool:
        """Whether two classes have a share in it: a chip of water alone says nothing of a network."""
        labels = self.label[self.label != IGNORE]
        return int((np.bincount(labels.ravel()) >= _MIXED * labels.size).sum()) > 1


@dataclass(frozen=True)
class EvaluationPart:
    """What a network is measured on."""

    chips: EvaluationChips
    """Chips of scenes with a place on the earth."""
    pictures: tuple[Picture, ...]
    """Photographs, which are predicted whole."""
    layout: Layout
    """How a run of the network lays out tiles."""
    units: tuple[str, ...] = ()
    """Place of each chip, and then of each picture: what is kept together where the part is divided."""

    def __len__(self) -> int:
        return len(self.chips) + len(self.pictures)

    @property
    def unit(self) -> str:
        """What it is made of, for people."""
        return "chips" if not self.pictures else "pictures" if not self.chips.cells else "chips and pictures"

    @property
    def sets(self) -> list[str]:
        """Name of the data set of each chip, and then of each picture; empty where there is only one."""
        sets = self.chips.source.sets
        return [] if sets is None else [*self.chips.sets, *(sets.name_of(p.cells[0]) for p in self.pictures)]

    @property
    def labelled_pixels(self) -> int:
        """Number of labelled pixels, of resized pictures about."""
        cells = [*self.chips.cells, *(c for p in self.pictures for c in p.cells)]
        return sum(int(c.classes.sum()) for c in cells)


@dataclass(frozen=True)
class PartScores:
    """Scores of a network on a part of the data."""

    confusion: NDArray[np.int64]
    """Pixels, shape (C, C): rows are the reference, columns the prediction."""
    scores: ChipScores
    calibration: Calibration
    uncalibrated: Calibration
    """Calibration of the logits as they are; exact without test-time augmentation."""
    best: tuple[PredictedChip, ...]
    worst: tuple[PredictedChip, ...]
    chips: int
    """Number of chips and pictures."""
    unit: str = "chips"
    """What these are."""
    datasets: dict[str, ChipScores] = field(default_factory=dict)
    """Of each of several data sets."""


@dataclass(frozen=True)
class Measured:
    """How a network's logits are scaled, and its scores by part."""

    calibrated: Calibrated
    """Fitted on val; logits as they are when not calibrated."""
    thresholds: dict[str, float]
    """By slug, chosen on val; empty without."""
    measured_on: str
    """The part whose scores are to be quoted: test, else val, else train."""
    parts: dict[str, PartScores]
    """By part, and `PART with AUGMENTATION`; all calibrated."""

    @property
    def temperature(self) -> float:
        """What logits are divided by."""
        return self.calibrated.scaling.temperature

    @property
    def calibration(self) -> VectorScaling | None:
        """Factor and shift of each class, instead of the temperature."""
        return self.calibrated.scaling.calibration

    @property
    def told(self) -> str:
        """How the calibration was chosen, in one line; empty where there was nothing to choose."""
        return self.calibrated.told

    @property
    def main(self) -> PartScores:
        """The scores to quote."""
        return self.parts[self.measured_on]

    def scores(self) -> TrainingScores:
        """Return all scores for the card and the record."""
        chosen = "epoch and temperature" if self.calibration is None else "epoch and calibration"
        reference = references(f"{self.main.chips} {self.main.unit}", chosen)
        return TrainingScores(
            reference=reference[self.measured_on],
            other_parts={
                k: p.scores.without_reliability() for k, p in self.parts.items() if k != self.measured_on
            },
            datasets=self.main.datasets,
            **dict(self.main.scores),
        )


def references(chips: str, chosen: str = "epoch and temperature") -> dict[str, str]:
    """Return in words, for each part, what scores were measured on; `chips` are such as `12 chips`."""
    return {
        "test": f"agreement with the labels of {chips} of test, which nothing was fitted to",
        "val": f"agreement with the labels of {chips} of val, which chose {chosen}",
        "train": f"agreement with the labels of the {chips} that it was trained on",
    }


def measure(
    network: nn.Module, parts: Mapping[str, EvaluationPart], legend: Legend, entry: Measurement, batch: int
) -> Measured:
    """Calibrate a network and score it on test and val, or on train when these are empty.

    Parameters
    ----------
    network
        (N, B, H, W) to logits (N, C, H, W).
    parts
        Chips and pictures by part.
    legend
        The classes in channel order.
    entry
        How to calibrate, whether to choose thresholds, and the test-time augmentation.
    batch
        Chips in a forward pass.
    """
    network.eval()
    found = calibrate(network, parts["val"], legend, entry, batch) if "val" in parts else Calibrated()
    scaling = found.scaling
    chosen: dict[str, float] = {}
    if entry.thresholds == "f1" and "val" in parts:
        chosen = best_thresholds(predict_part(network, parts["val"], batch, scaling=scaling), legend)
    rule = rule_of(legend, chosen)
    last = next(p for p in ("test", "val", "train") if p in parts)
    measured = {
        part: score_part(
            network, parts[part], legend, scaling=scaling, batch=batch, rule=rule,
            shown=_SHOWN_CHIPS if part == last else 0,
        )
        for part in dict.fromkeys([last, *(p for p in ("val",) if p in parts)])
    }  # fmt: skip
    if entry.augment != "none":
        measured[f"{last} with {entry.augment}"] = score_part(
            network, parts[last], legend, scaling=scaling, augment=entry.augment, batch=batch, rule=rule
        )
    return Measured(found, chosen, last, measured)


def calibrate(
    network: nn.Module, val: EvaluationPart, legend: Legend, entry: Measurement, batch: int
) -> Calibrated:
    """Return what calibrates a network on val, as the training file asks for it."""
    if entry.calibration == "none":
        return Calibrated()
    if entry.calibration == "temperature":
        chips = predict_part(network, val, batch)
        return Calibrated(Scaling(round(fit_temperature(chips, val.labelled_pixels), 4)))
    rows = logit_rows(network, val, batch, most_rows(len(legend)))
    return calibrated(entry.calibration, rows, "val") if len(rows) else Calibrated()


def logit_rows(network: nn.Module, part: EvaluationPart, batch: int, most: int) -> LogitRows:
    """Return logits of at most so many labelled pixels of a part, about, each place with its share."""
    units = numbered(part.units)
    chips = ((next(units), c.probabilities, c.label) for c in predict_chips(
        network, part.chips, batch, activate=as_it_is
    ))  # fmt: skip
    answer, known = _answering(network, activate=as_it_is), part.chips.source.statistics

    def tiles() -> Iterator[tuple[int, NDArray[np.float32], NDArray[np.uint8]]]:
        for picture in part.pictures:
            unit = next(units)
            for tile in predict_tiles(answer, [picture], part.layout, known, batch):
                yield unit, tile.probabilities, tile.label

    return draw_rows(itertools.chain(chips, tiles()), part.labelled_pixels, most)


def as_it_is(answer: torch.Tensor) -> torch.Tensor:
    """Return the answer of a network itself, where no probabilities are wanted."""
    return answer


def predict_part(
    network: nn.Module,
    part: EvaluationPart,
    batch: int,
    *,
    scaling: Scaling = UNSCALED,
    augment: str = "none",
) -> Iterator[PredictedChip]:
    """Predict every chip and every picture of a part once, see `predict_chips`."""
    settings: dict[str, Any] = {"scaling": scaling, "augment": augment}
    yield from predict_chips(network, part.chips, batch, **settings)
    answer, known = _answering(network, **settings), part.chips.source.statistics
    for p in predict_pictures(answer, part.pictures, part.layout, known, batch):
        yield PredictedChip(p.name, p.image, p.probabilities, p.label)


def _answering(
    network: nn.Module,
    scaling: Scaling = UNSCALED,
    augment: str = "none",
    activate: Callable[[torch.Tensor], torch.Tensor] = softmax,
) -> Callable[[torch.Tensor], torch.Tensor]:
    """Return what answers tiles on the CPU, wherever the network is, see `_answer`."""
    device = next(network.parameters()).device

    @torch.inference_mode()
    def answer(x: torch.Tensor) -> torch.Tensor:
        x = x.to(device, memory_format=torch.channels_last)
        return _answer(network, x, scaling, augment, activate).cpu()

    return answer


def _answer(
    network: nn.Module,
    x: torch.Tensor,
    scaling: Scaling,
    augment: str,
    activate: Callable[[torch.Tensor], torch.Tensor] = softmax,
) -> torch.Tensor:
    """Return the mean probabilities over the symmetries of an augmentation, shape (N, C, rows, cols)."""
    views = [
        turn_back(activate(scaling.apply(network(turn(x, *s)).float())), *s) for s in SYMMETRIES[augment]
    ]
    return torch.stack(views).mean(0)


@torch.inference_mode()
def predict_chips(
    network: nn.Module,
    chips: EvaluationChips,
    batch: int,
    *,
    scaling: Scaling = UNSCALED,
    augment: str = "none",
    activate: Callable[[torch.Tensor], torch.Tensor] = softmax,
) -> Iterator[PredictedChip]:
    """Predict every chip once.

    Parameters
    ----------
    network
        (N, B, H, W) to logits (N, C, H, W).
    chips
        The chips.
    batch
        Chips in a forward pass.
    scaling
        What is done to the logits.
    augment
        Test-time augmentation: `none`, `horizontal`, `flips` or `d4`, the mean over its symmetries.
    activate
        What makes probabilities of the logits.
    """
    network.eval()
    device = next(network.parameters()).device
    for samples in DataLoader(chips, batch_size=batch):
        x = samples["image"].to(device, memory_format=torch.channels_last)
        mean = _answer(network, x, scaling, augment, activate)
        for i, where in enumerate(samples["where"]):
            label = samples["label"][i]
            yield PredictedChip(
                where,
                samples["image"][i].numpy(),
                mean[i].cpu().numpy(),
                (label if label.is_floating_point() else label.to(torch.uint8)).numpy(),
            )


def fit_temperature(chips: Iterable[PredictedChip], labelled_pixels: int) -> float:
    """Return the temperature with the highest likelihood of the labels (Guo et al. 2017).

    Parameters
    ----------
    chips
        Predicted with temperature 1; at most a million of their labelled pixels are used, evenly spread.
    labelled_pixels
        Number of labelled pixels of all chips; it is known before, so that only used pixels are kept.
    """
    step = -(-labelled_pixels // MOST_PIXELS)
    logits, truth, seen = [], [], 0
    for chip in chips:
        used = np.flatnonzero(chip.label != IGNORE)
        first, seen = -seen % step, seen + len(used)
        used = used[first::step]
        # The logits up to a constant, to which the softmax is invariant.
        logits.append(
            np.log(np.maximum(chip.probabilities.reshape(len(chip.probabilities), -1)[:, used].T, 1e-12))
        )
        truth.append(chip.label.reshape(-1)[used])
    x, y = torch.from_numpy(np.concatenate(logits)), torch.from_numpy(np.concatenate(truth)).long()
    best = minimize_scalar(
        lambda log_t: float(F.cross_entropy(x / np.exp(log_t), y)), bounds=(-2.5, 2.5), method="bounded"
    )
    return float(np.exp(best.x))


def best_thresholds(chips: Iterable[PredictedChip], legend: Legend) -> dict[str, float]:
    """Return for each class the probability from which it has the highest F1, in thousandths.

    Of equal ones the lowest. Classes that the chips lack have none.

    Parameters
    ----------
    chips
        Predicted chips; two numbers of each thousandth and class are kept of them.
    legend
        The classes in channel order.
    """
    counts = np.zeros((2, len(legend), _STEPS + 1), np.int64)
    for chip in chips:
        labelled = chip.label != IGNORE
        truth, steps = chip.label[labelled], (chip.probabilities[:, labelled] * _STEPS).astype(np.int64)
        for channel, step in enumerate(steps):
            for hit in (0, 1):
                here = step[(truth == channel) == bool(hit)]
                counts[hit, channel] += np.bincount(here, minlength=_STEPS + 1)
    # Those at least as probable as each step.
    false, true = counts[:, :, ::-1].cumsum(axis=2)[:, :, ::-1]
    everything = true[:, :1]
    f1 = 2 * true / np.maximum(true + false + everything, 1)
    best = f1[:, 1:].argmax(axis=1) + 1
    return {
        c.slug: int(step) / _STEPS
        for c, step, there in zip(legend.classes, best, everything[:, 0], strict=True)
        if there
    }


def rule_of(legend: Legend, shares: Mapping[str, float]) -> Thresholds | None:
    """Return the rule of thresholds by slug, None without any."""
    return Thresholds.of([c.slug for c in legend.classes], shares) if shares else None


def decided(probabilities: NDArray[np.float32], rule: Thresholds | None) -> NDArray[np.uint8]:
    """Return the channel of each pixel as a run decides it, shape (rows, cols)."""
    if rule is None:
        likeliest: NDArray[np.uint8] = probabilities.argmax(0).astype(np.uint8)
        return likeliest
    steps = np.rint(probabilities * (1 << PROBABILITY_BITS)).astype(np.int32)
    sums = steps << (TOTAL_BITS - PROBABILITY_BITS)
    channels = np.arange(len(sums), dtype=np.uint8)
    chosen: NDArray[np.uint8] = HOST.decide(sums, all_of(sums), channels, every=False, thresholds=rule)[0]
    return chosen


def score_part(
    network: nn.Module,
    part: EvaluationPart,
    legend: Legend,
    *,
    scaling: Scaling = UNSCALED,
    augment: str = "none",
    shown: int = 0,
    rule: Thresholds | None = None,
    batch: int = 16,
) -> PartScores:
    """Predict all chips and pictures of a part and score them; memory does not grow with their number.

    Parameters
    ----------
    network
        (N, B, H, W) to logits (N, C, H, W).
    part
        The chips and pictures.
    legend
        The classes in channel order.
    scaling, augment
        As in `predict_chips`.
    shown
        Number of best and of worst chips to keep.
    rule
        Thresholds of the classes.
    batch
        Chips in a forward pass.
    """
    classes = len(legend)
    matrix = np.zeros((classes, classes), dtype=np.int64)
    calibration, uncalibrated = Calibration(classes=classes), Calibration()
    sets, of_sets = part.sets, {name: _SetCounts.of(classes) for name in dict.fromkeys(part.sets)}
    best: list[tuple[float, int, PredictedChip]] = []
    uniform: list[tuple[float, int, PredictedChip]] = []
    worst: list[tuple[float, int, PredictedChip]] = []
    predicted = predict_part(network, part, batch, scaling=scaling, augment=augment)
    # Logits cannot be found again from probabilities once each class had its own factor.
    again = None if scaling.calibration is None else predict_part(network, part, batch, augment=augment)
    for number, chip in enumerate(predicted):
        prediction = decided(chip.probabilities, rule)
        matrix += confusion_matrix(chip.label, prediction, classes)
        calibration.add(chip.probabilities, chip.label)
        if sets:
            of_sets[sets[number]].add(chip, prediction)
        plainly = (
            _without_temperature(chip.probabilities, scaling.temperature)
            if again is None
            else next(again).probabilities
        )
        uncalibrated.add(plainly, chip.label)
        # A chip with few labelled pixels is not worth showing.
        if shown and (chip.label != IGNORE).mean() > 0.25:
            small = _thumbnail(chip)
            _keep(best if chip.mixed else uniform, (chip.agreement, number, small), shown)
            _keep(worst, (-chip.agreement, number, small), shown)
    return PartScores(
        matrix, _scores_of(matrix, calibration, legend), calibration, uncalibrated, _sorted(best or uniform),
        _sorted(worst), len(part), part.unit,
        {n: _scores_of(c.matrix, c.calibration, legend).without_reliability() for n, c in of_sets.items()},
    )  # fmt: skip


@dataclass(frozen=True)
class _SetCounts:
    """What is counted of one of several data sets."""

    matrix: NDArray[np.int64]
    calibration: Calibration

    @classmethod
    def of(cls, classes: int) -> "_SetCounts":
        return cls(np.zeros((classes, classes), dtype=np.int64), Calibration(classes=classes))

    def add(self, chip: PredictedChip, prediction: NDArray[np.uint8]) -> None:
        self.matrix[:] += confusion_matrix(chip.label, prediction, len(self.matrix))
        self.calibration.add(chip.probabilities, chip.label)


def _scores_of(matrix: NDArray[np.int64], calibration: Calibration, legend: Legend) -> ChipScores:
    fields = {
        **scores(matrix).to_dict(legend),
        "brier": plain(calibration.brier),
        "expected_calibration_error": plain(calibration.expected_calibration_error),
    }
    add_reliability(fields, calibration)
    return ChipScores.model_validate(fields)


def _thumbnail(chip: PredictedChip) -> PredictedChip:
    """Return a chip with at most `_SHOWN_SIDE` pixels a side, for the page."""
    step = -(-max(chip.label.shape) // _SHOWN_SIDE)
    if step == 1:
        return chip
    here = np.s_[..., ::step, ::step]
    return PredictedChip(
        chip.where, chip.image[here].copy(), chip.probabilities[here].copy(), chip.label[here].copy()
    )


def _without_temperature(probabilities: NDArray[np.float32], temperature: float) -> NDArray[np.float32]:
    """Return the softmax of the logits with temperature 1: p ** T, normalised."""
    powers = probabilities**temperature
    normalised: NDArray[np.float32] = powers / powers.sum(axis=0)
    return normalised


def _keep(heap: list[Any], item: tuple[float, int, PredictedChip], most: int) -> None:
    heapq.heappush(heap, item)
    if len(heap) > most:
        heapq.heappop(heap)


def _sorted(heap: list[tuple[float, int, PredictedChip]]) -> tuple[PredictedChip, ...]:
    return tuple(chip for *_, chip in sorted(heap, key=lambda i: (-i[0], i[1])))
