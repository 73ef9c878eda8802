"""What Lightning trains: the network, its loss, its metrics, its learning rates."""

import math
from collections.abc import Callable
from typing import Any

import lightning.pytorch as pl
import torch
from torch import Tensor, nn
from torchmetrics import MeanMetric, Metric

from geoseg.config.training import Optimizer, Transfer
from geoseg.core.errors import TrainingError
from geoseg.core.legend import IGNORE
from geoseg.models.transfer import parameter_groups
from geoseg.training.losses import Loss


class Confusion(Metric):
    """How many pixels of each class were taken for which: rows are the truth, shape (C, C).

    As torchmetrics counts, in a fraction of its time, since this is done in each step: labels were checked
    when they were read, and what is ignored is counted in a row of its own instead of being sought out first.
    """

    full_state_update = False
    matrix: Tensor

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.classes = classes
        self.add_state("matrix", torch.zeros(classes, classes, dtype=torch.long), dist_reduce_fx="sum")

    def update(self, said: Tensor, label: Tensor) -> None:
        """Count pixels: what the network says and labels, 255 where ignored."""
        c = self.classes
        pairs = label.clamp(max=c) * c + said
        self.matrix += pairs.flatten().bincount(minlength=(c + 1) * c)[: c * c].view(c, c)

    def compute(self) -> Tensor:
        """Return the matrix of all devices."""
        return self.matrix


class SegmentationTask(pl.LightningModule):
    """A network that learns to segment.

    Parameters
    ----------
    network
        (N, B, H, W) to logits (N, C, H, W).
    loss
        What is minimised.
    classes
        Number of channels.
    optimizer, transfer
        How weights move, and which of them.
    seed
        Of dropout.
    """

    def __init__(
        self,
        network: nn.Module,
        loss: Loss,
        classes: int,
        optimizer: Optimizer,
        transfer: Transfer,
        seed: int,
    ) -> None:
        super().__init__()
        # Convolutions of oneDNN and cuDNN are faster with channels last.
        self.network = network.to(memory_format=torch.channels_last)
        self.loss = loss
        self.optimizer, self.transfer, self.seed = optimizer, transfer, seed
        self.frozen = False
        # ModuleDict: metrics move to the device with the task. No type knows what it holds.
        self.losses: Any = nn.ModuleDict({"train_": MeanMetric(), "val_": MeanMetric()})
        self.confusions: Any = nn.ModuleDict({part: Confusion(classes) for part in ("train_", "val_")})

    def train(self, mode: bool = True) -> "SegmentationTask":  # noqa: FBT001, FBT002 (torch's signature)
        """Set the mode; batch norms of a frozen encoder keep their statistics."""
        super().train(mode)
        if self.frozen:
            self.network.encoder.eval()  # type: ignore[union-attr]
        return self

    def on_train_epoch_start(self) -> None:
        """Freeze or free the encoder, and make dropout of this epoch independent of what ran before."""
        frozen = self.current_epoch < self.transfer.freeze_epochs
        if frozen != self.frozen:
            self.frozen = frozen
            self.network.encoder.requires_grad_(not frozen)
            self.train()
        torch.manual_seed(self.seed * 1_000_003 + self.current_epoch)

    def training_step(self, batch: dict[str, Any], _: int) -> Tensor:
        """Return the loss of a batch."""
        logits = self._forward(batch)
        loss: Tensor = self.loss(logits, batch["label"])
        if not torch.isfinite(loss):
            raise TrainingError(self._say_where(batch, logits))
        self._count("train_", loss, logits.detach(), batch["label"])
        return loss

    def validation_step(self, batch: dict[str, Any], _: int) -> None:
        """Measure a batch."""
        logits = self._forward(batch)
        self._count("val_", self.loss(logits, batch["label"]), logits, batch["label"])

    def _forward(self, batch: dict[str, Any]) -> Tensor:
        image = batch["image"].contiguous(memory_format=torch.channels_last)
        logits: Tensor = self.network(image)
        return logits

    def _count(self, part: str, loss: Tensor, logits: Tensor, label: Tensor) -> None:
        # Batches without labels count with weight 0: all devices must take part when results are gathered.
        self.losses[part].update(loss.detach(), weight=(label != IGNORE).sum())
        # max(1).indices is several times faster than argmax along a strided axis.
        self.confusions[part].update(logits.float().max(1).indices, label)

    def results(self, part: str) -> dict[str, Any]:
        """Return and forget what all devices counted: `loss`, `miou`, `iou` with NaN for absent classes."""
        if not self.losses[part].update_called:
            return {"loss": math.nan, "miou": math.nan, "iou": []}
        matrix = self.confusions[part].compute()
        iou = matrix.diag() / (matrix.sum(0) + matrix.sum(1) - matrix.diag())
        result = {
            "loss": float(self.losses[part].compute()),
            "miou": float(iou.nanmean()),
            "iou": [float(v) for v in iou],
        }
        for m in (self.losses[part], self.confusions[part]):
            m.reset()
        return result

    def on_validation_epoch_end(self) -> None:
        """Tell Lightning's callbacks the figures of val."""
        self.val = self.results("val_")
        if not math.isfinite(self.val["loss"]):
            raise TrainingError(
                f"the loss on val is NaN or infinite after epoch {self.current_epoch + 1}; lower "
                "optimizer.rate; the checkpoints of the epochs before are kept"
            )
        # For early stopping and checkpoints; what loggers get is the row of the history.
        self.log("val_miou", self.val["miou"], logger=False)

    def _say_where(self, batch: dict[str, Any], logits: Tensor) -> str:
        """Name the chips with values that are no numbers, else those whose own loss is none."""
        pairs = list(zip(batch["where"], batch["image"], logits, batch["label"], strict=True))
        # Looked for first: batch norms spread a single bad value over the whole batch.
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

    def configure_optimizers(self) -> Any:
        """Return the optimiser and its schedule, stepped with every batch."""
        o, t = self.optimizer, self.transfer
        groups = parameter_groups(
            self.network, o.rate, encoder_rate=t.encoder_rate, layer_decay=t.layer_decay,
            weight_decay=o.weight_decay,
        )  # fmt: skip
        # One kernel does all that a weight needs; on a CPU torch's other ways read it once per operation.
        # GPUs choose for themselves, and in mixed precision Lightning cannot clip gradients for a fused one.
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


def schedule(
    optimizer: torch.optim.Optimizer, entry: Optimizer, steps: int
) -> torch.optim.lr_scheduler.LRScheduler:
    """Return the schedule of the learning rates over so many steps."""
    if entry.schedule == "one-cycle":
        # Smith and Topin 2018: up to the rate and down to nearly nothing.
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
