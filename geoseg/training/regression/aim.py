"""The aim of a regression: a number for each pixel."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch import nn

from geoseg.config.training import TargetEntry, Training
from geoseg.core.errors import ConfigError
from geoseg.models.card import Card, CardTarget
from geoseg.training.aim import pixel_task
from geoseg.training.census import NumberSums
from geoseg.training.regression.loss import NumberLoss, NumberMeter
from geoseg.training.task import Meter, Monitor, Task

if TYPE_CHECKING:
    from geoseg.training.aim import MeasuredParts


@dataclass(frozen=True)
class NumberAim:
    """A number for each pixel."""

    document: Training
    target: CardTarget
    """Its range, and how it is standardised."""
    channels = 1
    monitor = Monitor("rmse", "min")

    @classmethod
    def of(cls, document: Training, sums: NumberSums, start: CardTarget | None = None) -> "NumberAim":
        """Return the aim of a document.

        Parameters
        ----------
        document
            The training.
        sums
            Those of the numbers of train.
        start
            Target of the bundle that it starts from, whose weights expect its mean and standard deviation.

        Raises
        ------
        ConfigError
            When all numbers of train are the same, or beyond the range.
        """
        entry = document.target or TargetEntry(name="value")
        if not sums.count or not sums.least < sums.most:
            raise ConfigError(f"train: every label is {sums.least:g}; a regression needs numbers that differ")
        low = _rounded(sums.least, down=True) if entry.min is None else entry.min
        high = _rounded(sums.most, down=False) if entry.max is None else entry.max
        if not low < high or low > sums.most or high < sums.least:
            raise ConfigError(
                f"target: the range {low:g} to {high:g} does not hold the labels of train, which lie between "
                f"{sums.least:g} and {sums.most:g}"
            )
        target = CardTarget(
            name=entry.name, title=entry.title, unit=entry.unit, min=low, max=high,
            mean=float(f"{sums.mean:.6g}") if start is None else start.mean,
            std=float(f"{sums.std:.6g}") if start is None else start.std,
        )  # fmt: skip
        return cls(document, target)

    def loss(self) -> nn.Module:
        """See `geoseg.training.aim.Aim`."""
        return NumberLoss(self.document.loss, self.target.mean, self.target.std)

    def meter(self) -> Meter:
        """See `geoseg.training.aim.Aim`."""
        return NumberMeter(self.target.mean, self.target.std)

    def task(self, network: nn.Module) -> Task:
        """See `geoseg.training.aim.Aim`."""
        return pixel_task(self, network)

    def measure(self, network: nn.Module, parts: "MeasuredParts", batch: int) -> Any:
        """See `geoseg.training.aim.Aim`."""
        from geoseg.training.regression.measure import measure_numbers  # noqa: PLC0415 (scipy is slow)

        return measure_numbers(
            network, {k: p.chips for k, p in parts.items()}, self.target, self.document.measure, batch
        )

    def card(self, measured: Any | None) -> dict[str, Any]:  # noqa: ARG002 (as other aims)
        """See `geoseg.training.aim.Aim`."""
        return {"task": "regression", "output": "values", "target": self.target.model_dump()}

    def write_page(
        self, path: Path, record: Any, measured: Any, card: Card, links: Mapping[str, str]
    ) -> None:
        """See `geoseg.training.aim.Aim`."""
        from geoseg.training.regression.page import write_page  # noqa: PLC0415 (matplotlib is slow)

        write_page(path, record, measured, card, links)


def _rounded(value: float, *, down: bool) -> float:
    """Return a number of at most four digits that is not above, or not below, a value."""
    if value == 0:
        return 0.0
    unit = 10.0 ** (math.floor(math.log10(abs(value))) - 3)
    steps = math.floor(value / unit) if down else math.ceil(value / unit)
    return float(f"{steps * unit:.6g}")
