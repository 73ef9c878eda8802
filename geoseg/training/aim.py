"""What a training aims at: classes, numbers or labels, and all that follows from it.

An aim says how labels are read, what the network answers, what is minimised and measured, what the card says
and what the page shows. The rest of a training, from the split to the last checkpoint, is the same for all.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from torch import nn

from geoseg.config.legend import LegendDocument
from geoseg.config.training import Training
from geoseg.core.legend import Legend
from geoseg.models.card import Card, CardTarget
from geoseg.training.census import CensusCell, NumberSums, class_counts
from geoseg.training.chips import EvaluationChips
from geoseg.training.scores import FlagTrainingScores, NumberTrainingScores, TrainingScores
from geoseg.training.task import Meter, Monitor

Parts = Mapping[str, Sequence[CensusCell]]
"""Cells by part of the data."""


class Measured(Protocol):
    """What was measured of a trained network."""

    @property
    def measured_on(self) -> str:
        """The part whose scores are to be quoted."""
        ...

    @property
    def temperature(self) -> float:
        """What logits are divided by."""
        ...

    def scores(self) -> TrainingScores | NumberTrainingScores | FlagTrainingScores:
        """Return all scores for the card and the record."""
        ...


class Aim(Protocol):
    """What a training aims at."""

    @property
    def channels(self) -> int:
        """Channels that the network answers."""
        ...

    @property
    def monitor(self) -> Monitor:
        """The figure that chooses the best epoch."""
        ...

    def loss(self) -> nn.Module:
        """Return the loss that is minimised."""
        ...

    def meter(self) -> Meter:
        """Return what measures an epoch."""
        ...

    def measure(self, network: nn.Module, parts: Mapping[str, EvaluationChips], batch: int) -> Any:
        """Measure a trained network on parts of the data."""
        ...

    def card(self, measured: Any | None) -> dict[str, Any]:
        """Return the fields of a card that are of this aim; before it is measured with their defaults."""
        ...

    def write_page(self, path: Path, record: Any, measured: Any, card: Card) -> None:
        """Write the page of a training."""
        ...


def aim_of(document: Training, legend: LegendDocument, parts: Parts) -> Aim:
    """Return the aim of a training whose data were read and split."""
    if document.task == "regression":
        from geoseg.training.regression.aim import NumberAim  # noqa: PLC0415 (it imports this module)

        sums = sum((c.numbers for c in parts["train"] if c.numbers is not None), NumberSums())
        return NumberAim.of(document, sums, _target_to_start_from(document))
    if document.task == "multilabel":
        from geoseg.training.multilabel.aim import LabelAim  # noqa: PLC0415 (it imports this module)

        return LabelAim(document, legend.legend, tuple(parts["train"]))
    return ClassAim(document, legend.legend, tuple(parts["train"]))


def _target_to_start_from(document: Training) -> CardTarget | None:
    """Return the target of the bundle that a regression starts from, when it is of the same name."""
    target, bundle = document.target, document.transfer.bundle
    if target is None or bundle is None:
        return None
    from geoseg.models.bundle import open_bundle  # noqa: PLC0415 (as in `prepare`)

    known = open_bundle(bundle).card.target
    return known if known is not None and known.name == target.name else None


@dataclass(frozen=True)
class ClassAim:
    """One class for each pixel."""

    document: Training
    legend: Legend
    train: tuple[CensusCell, ...]
    monitor = Monitor()

    @property
    def channels(self) -> int:
        """One for each class."""
        return len(self.legend)

    def loss(self) -> nn.Module:
        """See `Aim`."""
        from geoseg.training.losses import Loss  # noqa: PLC0415 (as below)

        return Loss(self.document.loss, class_counts(self.train, self.channels))

    def meter(self) -> Meter:
        """See `Aim`."""
        from geoseg.training.task import Confusion  # noqa: PLC0415 (as below)

        return Confusion(self.channels)

    def measure(self, network: nn.Module, parts: Mapping[str, EvaluationChips], batch: int) -> Any:
        """See `Aim`."""
        from geoseg.training.measure import measure  # noqa: PLC0415 (scipy is slow to import)

        return measure(network, parts, self.legend, self.document.measure, batch)

    def card(self, measured: Any | None) -> dict[str, Any]:  # noqa: ARG002 (as other aims)
        """See `Aim`."""
        return {"classes": card_classes(self.legend)}

    def write_page(self, path: Path, record: Any, measured: Any, card: Card) -> None:
        """See `Aim`."""
        from geoseg.training.page import write_page  # noqa: PLC0415 (matplotlib is slow to import)

        write_page(path, record, measured, self.legend, card)


def card_classes(legend: Legend) -> list[dict[str, Any]]:
    """Return classes as a card lists them."""
    return [{"id": c.id, "slug": c.slug, "title": c.title, "color": c.color} for c in legend.classes]
