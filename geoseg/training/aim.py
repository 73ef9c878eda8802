"""What a training aims at: classes, objects, numbers or labels, and all that follows from it.

An aim says what the network answers, what is minimised and measured, what the card says and what the page
shows. The rest of a training, from the split to the last checkpoint, is the same for all.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from torch import nn

from geoseg.config.legend import LegendDocument
from geoseg.config.training import Training
from geoseg.core.legend import Legend
from geoseg.models.card import Card, CardTarget
from geoseg.training.census import CensusCell, NumberSums, class_counts
from geoseg.training.contrastive import PixelContrast, feature_channels
from geoseg.training.instances.census import ObjectCensus
from geoseg.training.instances.scores import InstanceScores
from geoseg.training.scores import FlagTrainingScores, NumberTrainingScores, TrainingScores
from geoseg.training.task import Meter, Monitor, SegmentationTask, Task

if TYPE_CHECKING:
    from geoseg.training.measure import EvaluationPart

    MeasuredParts = Mapping[str, EvaluationPart]

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

    def scores(self) -> TrainingScores | InstanceScores | NumberTrainingScores | FlagTrainingScores:
        """Return all scores for the card and the record."""
        ...


class Aim(Protocol):
    """What a training aims at."""

    @property
    def channels(self) -> int:
        """Channels that the network answers."""
        ...

    def task(self, network: nn.Module) -> Task:
        """Return the task of a network: loss, figures of an epoch, and the one that chooses the best."""
        ...

    def measure(self, network: nn.Module, parts: "MeasuredParts", batch: int) -> Any:
        """Measure a trained network on parts of the data."""
        ...

    def card(self, measured: Any | None) -> dict[str, Any]:
        """Return the fields of a card that are of this aim; before it is measured with their defaults."""
        ...

    def write_page(
        self, path: Path, record: Any, measured: Any, card: Card, links: Mapping[str, str]
    ) -> None:
        """Write the page of a training."""
        ...


class PixelAim(Aim, Protocol):
    """What a training aims at whose network answers for each pixel."""

    @property
    def document(self) -> Training:
        """The training file."""
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


def pixel_task(aim: PixelAim, network: nn.Module, contrast: PixelContrast | None = None) -> Task:
    """Return the task of a network that answers for each pixel."""
    d = aim.document
    return SegmentationTask(
        network, aim.loss(), aim.channels, d.optimizer, d.transfer, d.seed, aim.meter, aim.monitor, contrast
    )


def aim_of(
    document: Training, legend: LegendDocument, parts: Parts, objects: Mapping[str, ObjectCensus]
) -> Aim:
    """Return the aim of a training whose data were read and split."""
    if document.task == "instances":
        from geoseg.training.instances.aim import ObjectAim  # noqa: PLC0415 (it imports this module)

        # Those of train, or of the part that is evaluated where nothing is trained.
        return ObjectAim(document, legend.legend, next(c for c in objects.values() if len(c.boxes)))
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

        terms = [t for t in self.document.loss if t.kind != "contrastive"]
        return Loss(terms, class_counts(self.train, self.channels))

    def task(self, network: nn.Module) -> Task:
        """See `Aim`."""
        return pixel_task(self, network, contrast_of(self.document, network))

    def meter(self) -> Meter:
        """See `Aim`."""
        from geoseg.training.task import Confusion  # noqa: PLC0415 (as below)

        return Confusion(self.channels)

    def measure(self, network: nn.Module, parts: "MeasuredParts", batch: int) -> Any:
        """See `Aim`."""
        from geoseg.training.measure import measure  # noqa: PLC0415 (scipy is slow to import)

        return measure(network, parts, self.legend, self.document.measure, batch)

    def card(self, measured: Any | None) -> dict[str, Any]:
        """See `Aim`."""
        found = {} if measured is None else {"calibration": measured.calibration}
        thresholds = {} if measured is None else measured.thresholds
        return {"classes": card_classes(self.legend), "thresholds": thresholds, **found}

    def write_page(
        self, path: Path, record: Any, measured: Any, card: Card, links: Mapping[str, str]
    ) -> None:
        """See `Aim`."""
        from geoseg.training.page import write_page  # noqa: PLC0415 (matplotlib is slow to import)

        write_page(path, record, measured, self.legend, card, links)


def contrast_of(document: Training, network: nn.Module) -> PixelContrast | None:
    """Return the contrastive loss of a training, None without.

    Raises
    ------
    ConfigError
        When the network has no features to compare.
    """
    term = next((t for t in document.loss if t.kind == "contrastive"), None)
    return None if term is None else PixelContrast(term, feature_channels(network))


def card_classes(legend: Legend) -> list[dict[str, Any]]:
    """Return classes as a card lists them."""
    return [{"id": c.id, "slug": c.slug, "title": c.title, "color": c.color} for c in legend.classes]
