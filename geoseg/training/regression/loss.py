"""Losses of numbers, and the figures of an epoch."""

import math
from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812 (its usual name)
from torch import Tensor, nn
from torchmetrics import MeanAbsoluteError, MeanMetric, MeanSquaredError, Metric, R2Score

from geoseg.config.training import LossTerm


class NumberLoss(nn.Module):
    """The weighted sum of several losses, in standard deviations of the target.

    Labelled pixels are selected first: others have no influence on any loss or gradient, exactly.

    Parameters
    ----------
    terms
        The losses and their weights.
    mean, std
        Mean and standard deviation of the target: the network answers (number - mean) / std.
    """

    def __init__(self, terms: Sequence[LossTerm], mean: float, std: float) -> None:
        super().__init__()
        self.terms, self.mean, self.std = terms, mean, std

    def forward(self, output: Tensor, target: Tensor) -> Tensor:
        """Return the loss of a batch: output (N, 1, H, W), target (N, H, W), NaN where ignored."""
        known = ~target.isnan()
        found = output.float()[:, 0][known]
        if len(found) == 0:
            # Connected to the network, with the gradient zero.
            return output.sum() * 0.0
        truth = (target[known] - self.mean) / self.std
        total = found.new_zeros(())
        for t in self.terms:
            total = total + t.weight * _term(t, found, truth)
        return total


def _term(term: LossTerm, found: Tensor, truth: Tensor) -> Tensor:
    if term.kind == "huber":
        return F.huber_loss(found, truth, delta=term.delta)
    return F.mse_loss(found, truth) if term.kind == "mse" else F.l1_loss(found, truth)


class NumberMeter(nn.Module):
    """RMSE, MAE, bias and R2 of an epoch, in the unit of the target."""

    def __init__(self, mean: float, std: float) -> None:
        super().__init__()
        self.mean, self.std = mean, std
        metrics: dict[str, Metric] = {
            "rmse": MeanSquaredError(), "mae": MeanAbsoluteError(), "r2": R2Score(), "bias": MeanMetric(),
        }  # fmt: skip
        for metric in metrics.values():
            # In single precision sums over millions of pixels lose their last digits.
            metric.set_dtype(torch.float64)
        # In a ModuleDict metrics move to the device with the task; it has no type for its values.
        self.metrics: Any = nn.ModuleDict(metrics)

    def see(self, output: Tensor, label: Tensor) -> None:
        """See `geoseg.training.task.Meter`."""
        known = ~label.isnan()
        found, truth = output[:, 0][known].double(), (label[known].double() - self.mean) / self.std
        for name in ("rmse", "mae", "r2"):
            self.metrics[name].update(found, truth)
        self.metrics["bias"].update(found - truth)

    def figures(self) -> dict[str, Any]:
        """See `geoseg.training.task.Meter`."""
        # On several devices each computes, or gathering the sums hangs.
        found = {name: _computed(metric) for name, metric in self.metrics.items()}
        found["rmse"] = math.sqrt(found["rmse"])
        return {"figures": {k: v if k == "r2" else v * self.std for k, v in found.items()}}

    def nothing(self) -> dict[str, Any]:
        """See `geoseg.training.task.Meter`."""
        return {"figures": dict.fromkeys(self.metrics, math.nan)}

    def reset(self) -> None:
        """Forget all batches."""
        for metric in self.metrics.values():
            metric.reset()


def _computed(metric: Metric) -> float:
    """Return the figure of a metric, NaN with too few pixels: R2 of a single one is not defined."""
    try:
        return float(metric.compute())
    except ValueError:
        return math.nan
