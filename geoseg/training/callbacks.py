"""Callbacks of the training loop: events, history, atomic checkpoints, moving average of the weights."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.plugins.io import TorchCheckpointIO

from geoseg.training.chips import DrawSampler
from geoseg.training.history import EpochRow


@dataclass(frozen=True)
class EpochDone:
    """Event: an epoch has ended."""

    epoch: int
    """From 1."""
    epochs: int
    row: EpochRow
    """Its row of the history."""
    member: str = ""
    """Of trainings side by side: which one, in words."""


@dataclass(frozen=True)
class BatchDone:
    """Event: a batch has ended."""

    batch: int
    """From 1."""
    batches: int
    epoch: int
    """From 1."""
    epochs: int
    loss: float | None = None
    """None of a batch that is only checked."""


@dataclass(frozen=True)
class Notice:
    """Event: a message for the user."""

    message: str


Event = EpochDone | BatchDone | Notice

Tensors = tuple[torch.Tensor, ...] | list[torch.Tensor]


class History(Callback):
    """Keeps a row for each epoch, in checkpoints too, and emits events of progress."""

    def __init__(self, epochs: int, on_event: Callable[[Event], None]) -> None:
        self.rows: list[EpochRow] = []
        self.epochs, self.on_event = epochs, on_event
        self.started = time.perf_counter()

    def state_dict(self) -> dict[str, Any]:
        """Return the rows as plain values for a checkpoint."""
        return {"rows": [row.model_dump() for row in self.rows]}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take over the rows of a checkpoint."""
        self.rows = [EpochRow.model_validate(row) for row in state_dict["rows"]]

    def on_train_epoch_start(self, *_: Any) -> None:
        """Start the clock."""
        self.started = time.perf_counter()

    def on_train_batch_end(self, trainer: Any, _task: Any, outputs: Any, _batch: Any, batch_idx: int) -> None:
        """Emit the event of the batch."""
        if trainer.is_global_zero:
            loss = float(outputs["loss"]) * trainer.accumulate_grad_batches
            batches = int(trainer.num_training_batches)
            self.on_event(BatchDone(batch_idx + 1, batches, trainer.current_epoch + 1, self.epochs, loss))

    def on_validation_batch_end(
        self, trainer: Any, _task: Any, _outputs: Any, _batch: Any, batch_idx: int, dataloader_idx: int = 0
    ) -> None:
        """Emit the event of the batch."""
        if trainer.is_global_zero:
            batches = int(trainer.num_val_batches[dataloader_idx])
            self.on_event(BatchDone(batch_idx + 1, batches, trainer.current_epoch + 1, self.epochs))

    def on_train_epoch_end(self, trainer: Any, task: Any) -> None:
        """Keep the row, log it, and emit the event of the epoch."""
        row = EpochRow(
            epoch=trainer.current_epoch + 1,
            rate=max(g["lr"] for g in trainer.optimizers[0].param_groups),
            seconds=round(time.perf_counter() - self.started, 2),
            **{f"train_{k}": v for k, v in task.results("train_").items()},
            **{f"val_{k}": v for k, v in task.val.items()},
        )
        self.rows.append(row)
        for logger in trainer.loggers:
            logger.log_metrics(row.numbers(), step=row.epoch)
        if trainer.is_global_zero:
            self.on_event(EpochDone(row.epoch, self.epochs, row))


class SetEpoch(Callback):
    """Sets the epoch of the sampler, which Lightning does only for its own samplers."""

    def __init__(self, draws: DrawSampler) -> None:
        self.draws = draws

    def on_train_epoch_start(self, trainer: Any, _: Any) -> None:
        """Set the epoch."""
        self.draws.set_epoch(trainer.current_epoch)


class AtomicCheckpoints(TorchCheckpointIO):
    """Writes a checkpoint beside its place and renames it; Lightning writes to another disk and copies."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None) -> None:
        """Write a checkpoint, complete or not at all."""
        draft = Path(path).with_suffix(".part")
        super().save_checkpoint(checkpoint, draft, storage_options)
        draft.replace(path)


def moving_average(decay: float) -> Callable[[Tensors, Tensors, Any], None]:
    """Return the update of a moving average of weights, which forgets the random start quickly."""

    @torch.no_grad()
    def average(old: Tensors, new: Tensors, updates: Any) -> None:
        if old[0].is_floating_point():
            n = float(updates)
            torch._foreach_lerp_(old, new, 1 - min(decay, (1 + n) / (10 + n)))
        else:
            for mine, given in zip(old, new, strict=True):
                mine.copy_(given)

    return average
