"""The Lightning module of a training: network, loss, metrics, optimiser, learning rates."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import lightning.pytorch as pl
import torch
from torch import Tensor, nn
from torchmetrics import MeanMetric, Metric

from geoseg.config.training import Optimizer, Transfer
from geoseg.core.errors import TrainingError
from geoseg.core.legend import IGNORE
from geoseg.models.transfer import parameter_groups
from geoseg.training.contrastive import PixelContrast, watched_features


class Confusion(Metric):
    """Confusion matrix in pixels, shape (C, C): rows are the truth, columns the prediction.

    The counts are those of torchmetrics in a fraction of its time, which matters in each step: labels were
    checked when they were read, and ignored pixels are counted in an extra row instead of being masked.
    """

    full_state_update = False
    matrix: Tensor

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.classes = classes
        self.add_state("matrix", torch.zeros(classes, classes, dtype=torch.long), dist_reduce_fx="sum")

    def update(self, prediction: Tensor, label: Tensor) -> None:
        """Count the pixels of predicted channels and labels (255 where ignored) of one shape."""
        c = self.classes
        pairs = label.clamp(max=c) * c + prediction
        self.matrix += pairs.flatten().bincount(minlength=(c + 1) * c)[: c * c].view(c, c)

    def compute(self) -> Tensor:
        """Return the sum over all devices."""
        return self.matrix

    def see(self, output: Tensor, label: Tensor) -> None:
        """Count the pixels of a network's logits (N, C, H, W)."""
        # max(1).indices is several times faster than argmax along a strided axis.
        self.update(output.float().max(1).indices, label)

    def figures(self) -> dict[str, Any]:
        """Return `miou`, `accuracy`, and `iou` of each class (NaN for absent classes)."""
        matrix = self.compute()
        iou = matrix.diag() / (matrix.sum(0) + matrix.sum(1) - matrix.diag())
        return {
            "miou": float(iou.nanmean()),
            "accuracy": float(matrix.diag().sum() / matrix.sum()),
            "iou": [float(v) for v in iou],
        }

    def nothing(self) -> dict[str, Any]:
        """Return the figures without a pixel."""
        return {"miou": math.nan, "accuracy": math.nan, "iou": []}


class Meter(Protocol):
    """The figures of an epoch, a module of torch that moves to the device with the task."""

    def see(self, output: Tensor, label: Tensor) -> None:
        """Take in a batch: what the network answers, and the labels."""

    def figures(self) -> dict[str, Any]:
        """Return the figures over all devices, as fields of an `EpochRow` without the part."""
        ...

    def nothing(self) -> dict[str, Any]:
        """Return the figures of an epoch without a batch."""
        ...

    def reset(self) -> None:
        """Forget all batches."""


@dataclass(frozen=True)
class Monitor:
    """The figure on val that chooses the best epoch."""

    name: str = "miou"
    mode: Literal["max", "min"] = "max"

    @property
    def key(self) -> str:
        """Its name for Lightning's callbacks."""
        return f"val_{self.name}"


class Task(pl.LightningModule):
    """A network that learns: freezing, optimiser and learning rates, whatever it learns.

    Parameters
    ----------
    network
        A network of the registry.
    optimizer, transfer
        Optimiser and learning rates; frozen epochs and rates of the encoder.
    seed
        Seed of dropout.
    """

    monitor = Monitor()
    """The figure on val by which the best epoch is chosen."""
    val: dict[str, Any]
    """The figures of val of the last epoch."""

    def __init__(self, network: nn.Module, optimizer: Optimizer, transfer: Transfer, seed: int) -> None:
        super().__init__()
        # Convolutions in oneDNN and cuDNN are faster with channels last.
        self.network = network.to(memory_format=torch.channels_last)
        self.optimizer, self.transfer, self.seed = optimizer, transfer, seed
        self.frozen = False

    def train(self, mode: bool = True) -> "Task":  # noqa: FBT001, FBT002 (torch's signature)
        """Set the mode; batch norms of a frozen encoder keep their statistics."""
        super().train(mode)
        if self.frozen:
            self.network.encoder.eval()  # type: ignore[union-attr]
        return self

    def on_train_epoch_start(self) -> None:
        """Freeze or unfreeze the encoder, and seed the dropout of this epoch."""
        frozen = self.current_epoch < self.transfer.freeze_epochs
        if frozen != self.frozen:
            self.frozen = frozen
            self.network.encoder.requires_grad_(not frozen)
            self.train()
        torch.manual_seed(self.seed * 1_000_003 + self.current_epoch)

    def configure_optimizers(self) -> Any:
        """Return the optimiser and its schedule, stepped with every batch."""
        o, t = self.optimizer, self.transfer
        groups = parameter_groups(
            self.network, o.rate, encoder_rate=t.encoder_rate, layer_decay=t.layer_decay,
            weight_decay=o.weight_decay,
        )  # fmt: skip
        groups += self.own_groups()
        # A fused kernel reads each weight once; torch's other kernels on a CPU read it once per operation.
        # On GPUs torch chooses. In mixed precision Lightning cannot clip gradients of a fused optimiser.
        fused = True if self.device.type == "cpu" and self.trainer.precision == "32-true" else None
        chosen: torch.optim.Optimizer
        if o.kind == "sgd":
            chosen = torch.optim.SGD(groups, lr=o.rate, momentum=o.momentum, fused=fused)
        else:
            kind = {"adamw": torch.optim.AdamW, "adam": torch.optim.Adam}[o.kind]
            chosen = kind(groups, lr=o.rate, fused=fused)
        steps = max(1, int(self.trainer.estimated_stepping_batches))
        return {
            "optimizer": chosen,
            "lr_scheduler": {"scheduler": schedule(chosen, o, steps), "interval": "step"},
        }

    def own_groups(self) -> list[dict[str, Any]]:
        """Return the parameters that are not of the network, as groups of the optimiser."""
        return []

    def log_figures(self, monitored: float) -> None:
        """Tell early stopping and checkpoints the figures of val; loggers get the row of the history."""
        self.log(self.monitor.key, monitored, logger=False)
        for figure in ("loss", "accuracy"):
            if figure in self.val:
                self.log(f"val_{figure}", self.val[figure], logger=False)


class SegmentationTask(Task):
    """A network that learns to segment.

    Parameters
    ----------
    network
        (N, B, H, W) to the answer (N, C, H, W), such as logits.
    loss
        Loss that is minimised.
    classes
        Number of channels.
    optimizer, transfer
        Optimiser and learning rates; frozen epochs and rates of the encoder.
    seed
        Seed of dropout.
    meter
        Makes what measures an epoch; default: the confusion of the classes.
    monitor
        The figure that chooses the best epoch.
    contrast
        Auxiliary loss on the features before the head; only for training, and no part of the network.
    """

    def __init__(
        self,
        network: nn.Module,
        loss: Callable[[Tensor, Tensor], Tensor],
        classes: int,
        optimizer: Optimizer,
        transfer: Transfer,
        seed: int,
        meter: Callable[[], Meter] | None = None,
        monitor: Monitor = Monitor(),
        contrast: PixelContrast | None = None,
    ) -> None:
        super().__init__(network, optimizer, transfer, seed)
        self.loss, self.contrast = loss, contrast
        # In a ModuleDict metrics move to the device with the task; it has no type for its values.
        self.losses: Any = nn.ModuleDict({"train_": MeanMetric(), "val_": MeanMetric()})
        make: Callable[[], Any] = meter or (lambda: Confusion(classes))
        self.meters: Any = nn.ModuleDict({part: make() for part in ("train_", "val_")})
        self.monitor = monitor

    def own_groups(self) -> list[dict[str, Any]]:
        """Return the parameters of the projection of the contrastive loss."""
        if self.contrast is None:
            return []
        o = self.optimizer
        own = {"name": "contrast", "params": list(self.contrast.parameters()), "lr": o.rate}
        return [{**own, "weight_decay": o.weight_decay}]

    def training_step(self, batch: dict[str, Any], _: int) -> Tensor:
        """Return the loss of a batch."""
        if self.contrast is None:
            logits = self._forward(batch)
            loss: Tensor = self.loss(logits, batch["label"])
        else:
            with watched_features(self.network) as features:
                logits = self._forward(batch)
            loss = self.loss(logits, batch["label"]) + self.contrast(features[0], logits, batch["label"])
        if not torch.isfinite(loss):
            raise TrainingError(self._not_finite(batch, logits))
        self._count("train_", loss, logits.detach(), batch["label"])
        return loss

    def validation_step(self, batch: dict[str, Any], _: int) -> None:
        """Count loss and confusion of a batch."""
        logits = self._forward(batch)
        self._count("val_", self.loss(logits, batch["label"]), logits, batch["label"])

    def _forward(self, batch: dict[str, Any]) -> Tensor:
        image = batch["image"].contiguous(memory_format=torch.channels_last)
        logits: Tensor = self.network(image)
        return logits

    def _count(self, part: str, loss: Tensor, logits: Tensor, label: Tensor) -> None:
        # Batches without labels have weight 0: all devices must update, or gathering the results hangs.
        known = ~label.isnan() if label.is_floating_point() else label != IGNORE
        self.losses[part].update(loss.detach(), weight=known.sum())
        self.meters[part].see(logits, label)

    def results(self, part: str) -> dict[str, Any]:
        """Return and reset the figures over all devices: `loss`, and those of the meter."""
        loss, meter = self.losses[part], self.meters[part]
        if not loss.update_called:
            return {"loss": math.nan, **meter.nothing()}
        result = {"loss": float(loss.compute()), **meter.figures()}
        for m in (loss, meter):
            m.reset()
        return result

    def on_validation_epoch_end(self) -> None:
        """Keep the figures of val, and tell them to early stopping and checkpoints."""
        self.val = self.results("val_")
        if not math.isfinite(self.val["loss"]):
            raise TrainingError(
                f"the loss on val is NaN or infinite after epoch {self.current_epoch + 1}; lower "
                "optimizer.rate; the checkpoints of the epochs before are kept"
            )
        name = self.monitor.name
        self.log_figures(self.val[name] if name in self.val else self.val["figures"][name])

    def _not_finite(self, batch: dict[str, Any], logits: Tensor) -> str:
        """Return the message that names the chips with non-finite values, or else with a non-finite loss."""
        pairs = list(zip(batch["where"], batch["image"], logits, batch["label"], strict=True))
        # Inputs first, since batch norm spreads a single bad value over the whole batch.
        bad = [where for where, image, _, _ in pairs if not torch.isfinite(image).all()]
        with torch.no_grad():
            bad = bad or [
                where
                for where, _, one, label in pairs
                if not torch.isfinite(self.loss(one[None], label[None]))
            ]
        return (
            f"the loss is NaN or infinite in epoch {self.current_epoch + 1} at "
            f"{'; '.join(bad or batch['where'])}; look at the values and labels there, or lower "
            "optimizer.rate; the checkpoints of the epochs before are kept"
        )


def schedule(
    optimizer: torch.optim.Optimizer, entry: Optimizer, steps: int
) -> torch.optim.lr_scheduler.LRScheduler:
    """Return the schedule of the learning rates over a number of optimiser steps."""
    if entry.schedule == "one-cycle":
        # Smith and Topin 2018: up to the peak rate and down to nearly 0.
        return torch.optim.lr_scheduler.OneCycleLR(
            optimizer,
            max_lr=[g["lr"] for g in optimizer.param_groups],
            total_steps=steps + 1,
            pct_start=max(entry.warmup, 1e-3),
            cycle_momentum=False,
        )
    return torch.optim.lr_scheduler.LambdaLR(optimizer, rate_factor(entry, steps))


def rate_factor(entry: Optimizer, steps: int) -> Callable[[int], float]:
    """Return the factor of the rate at each step: a linear rise, then a half cosine or a constant."""
    rise = max(1, round(entry.warmup * steps))

    def factor(step: int) -> float:
        if step < rise and entry.warmup > 0:
            return (step + 1) / rise
        if entry.schedule == "constant":
            return 1.0
        return 0.5 + 0.5 * math.cos(math.pi * min(1.0, (step - rise) / max(1, steps - rise)))

    return factor
