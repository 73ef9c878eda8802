"""The aim of a network of labels: for each class on its own whether a pixel has it."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch import nn

from geoseg.config.training import Training
from geoseg.core.legend import Legend
from geoseg.models.card import Card
from geoseg.training.aim import card_classes, pixel_task
from geoseg.training.census import CensusCell, class_counts
from geoseg.training.multilabel.loss import LabelLoss, LabelMeter
from geoseg.training.task import Meter, Monitor, Task

if TYPE_CHECKING:
    from geoseg.training.aim import MeasuredParts


@dataclass(frozen=True)
class LabelAim:
    """For each class on its own whether a pixel has it."""

    document: Training
    legend: Legend
    train: tuple[CensusCell, ...]
    monitor = Monitor()

    @property
    def channels(self) -> int:
        """One for each class."""
        return len(self.legend)

    def loss(self) -> nn.Module:
        """See `geoseg.training.aim.Aim`."""
        counts = class_counts(self.train, self.channels)
        return LabelLoss(self.document.loss, counts, sum(c.labelled for c in self.train))

    def meter(self) -> Meter:
        """See `geoseg.training.aim.Aim`."""
        return LabelMeter(self.channels)

    def task(self, network: nn.Module) -> Task:
        """See `geoseg.training.aim.Aim`."""
        return pixel_task(self, network)

    def measure(self, network: nn.Module, parts: "MeasuredParts", batch: int) -> Any:
        """See `geoseg.training.aim.Aim`."""
        from geoseg.training.multilabel.measure import measure_flags  # noqa: PLC0415 (scipy is slow)

        return measure_flags(
            network, {k: p.chips for k, p in parts.items()}, self.legend, self.document.measure, batch
        )

    def card(self, measured: Any | None) -> dict[str, Any]:
        """See `geoseg.training.aim.Aim`."""
        limits = (0.5,) * self.channels if measured is None else measured.thresholds
        thresholds = {c.slug: t for c, t in zip(self.legend.classes, limits, strict=True)}
        return {
            "task": "multilabel",
            "output": "sigmoid",
            "classes": card_classes(self.legend),
            "thresholds": thresholds,
        }

    def write_page(
        self, path: Path, record: Any, measured: Any, card: Card, links: Mapping[str, str]
    ) -> None:
        """See `geoseg.training.aim.Aim`."""
        from geoseg.training.multilabel.page import write_page  # noqa: PLC0415 (matplotlib is slow)

        write_page(path, record, measured, self.legend, card, links)
