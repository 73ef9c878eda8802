"""What happens beside the training loop: events, the history, whole files, a moving average."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.plugins.io import TorchCheckpointIO

from geoseg.training.chips import Draws


@dataclass(frozen=True)
class EpochDone:
    """Event: an epoch has ended."""

    epoch: int
    """From 1."""
    epochs: int
    row: dict[str, Any]
    """What the history keeps of it."""


@dataclass(frozen=True)
class BatchDone:
    """Event: a batch has ended."""

    batch: int
    """From 1."""
    batches: int
    loss: float


@dataclass(frozen=True)
class Noticed:
    """Event: something that people should know at once."""

    message: str


Event = EpochDone | BatchDone | Noticed

Tensors = tuple[torch.Tensor, ...] | list[torch.Tensor]


class History(Callback):
    """Keep a row for each epoch, in checkpoints too, and tell of progress."""

    def __init__(self, epochs: int, on_event: Callable[[Event], None]) -> None:
        self.rows: list[dict[str, Any]] = []
        self.epochs, self.on_event = epochs, on_event
        self.started = time.perf_counter()

    def state_dict(self) -> dict[str, Any]:
        """Return what a checkpoint keeps."""
        return {"rows": self.rows}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on from what a checkpoint kept."""
        self.rows = state_dict["rows"]

    def on_train_epoch_start(self, *_: Any) -> None:
        """Start the clock."""
        self.started = time.perf_counter()

    def on_train_batch_end(self, trainer: Any, _task: Any, outputs: Any, _batch: Any, batch_idx: int) -> None:
        """Tell of the batch."""
        if trainer.is_global_zero:
            loss = float(outputs["loss"]) * trainer.accumulate_grad_batches
            self.on_event(BatchDone(batch_idx + 1, int(trainer.num_training_batches), loss))

    def on_train_epoch_end(self, trainer: Any, task: Any) -> None:
        """Keep the row, give it to the loggers, tell of the epoch."""
        row = {
            "epoch": trainer.current_epoch + 1,
            "rate": max(g["lr"] for g in trainer.optimizers[0].param_groups),
            "seconds": round(time.perf_counter() - self.started, 2),
            **{f"train_{k}": v for k, v in task.results("train_").items()},
            **{f"val_{k}": v for k, v in task.val.items()},
        }
        self.rows.append(row)
        for logger in trainer.loggers:
            scalars = {k: v for k, v in row.items() if isinstance(v, int | float)}
            logger.log_metrics(scalars, step=row["epoch"])
        if trainer.is_global_zero:
            self.on_event(EpochDone(row["epoch"], self.epochs, row))


class NextDraws(Callback):
    """Tell the sampler which epoch comes; Lightning does so only for samplers that it made."""

    def __init__(self, draws: Draws) -> None:
        self.draws = draws

    def on_train_epoch_start(self, trainer: Any, _: Any) -> None:
        """Tell the number."""
        self.draws.set_epoch(trainer.current_epoch)


class WholeFiles(TorchCheckpointIO):
    """Write a checkpoint beside its place and rename it; Lightning's way goes through another disk."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None) -> None:
        """Write a checkpoint, whole or not at all."""
        draft = Path(path).with_suffix(".part")
        super().save_checkpoint(checkpoint, draft, storage_options)
        draft.replace(path)


def moving_average(decay: float) -> Callable[[Tensors, Tensors, Any], None]:
    """Return the rule of a moving average that forgets the random start quickly, for many weights at once."""

    @torch.no_grad()
    def average(old: Tensors, new: Tensors, updates: Any) -> None:
        if old[0].is_floating_point():
            n = float(updates)
            torch._foreach_lerp_(old, new, 1 - min(decay, (1 + n) / (10 + n)))
        else:
            for mine, given in zip(old, new, strict=True):
                mine.copy_(given)

    return average
