"""How long a training takes and how much memory it needs, measured on a few of its own steps."""

import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from statistics import fmean
from tempfile import TemporaryDirectory
from typing import Any

import psutil
import torch
from lightning.pytorch.callbacks import Callback

from geoseg.training.build import build_task, evaluation_chips, training_chips
from geoseg.training.callbacks import SetEpoch
from geoseg.training.fit import Step, first_step, make_loaders, make_trainer, with_smaller_passes
from geoseg.training.prepare import PreparedTraining
from geoseg.training.task import Task

STEPS = 3
"""Steps that are taken."""

_LOOK = 0.02
"""Seconds between two looks at the memory of the processes."""


@dataclass(frozen=True)
class Estimate:
    """What a training needs."""

    start: str
    """Where the weights start, in words."""
    device: str
    """`cpu` or `cuda`."""
    passes: int
    """Forward passes of a step."""
    epoch_s: float
    """Seconds of an epoch with its check on val."""
    epochs: int
    """Most epochs."""
    memory: int
    """Bytes: on a CPU of the process and those that read chips, else of each GPU."""

    @property
    def seconds(self) -> float:
        """Seconds of all epochs; early stopping may end before."""
        return self.epoch_s * self.epochs

    def facts(self) -> dict[str, Any]:
        """Return it as plain values to show."""
        return {
            "weights": self.start,
            "estimate": {
                "device": self.device,
                "passes": self.passes,
                "seconds_per_epoch": float(f"{self.epoch_s:.2g}"),
                "minutes": float(f"{self.seconds / 60:.2g}"),
                "memory_gb": float(f"{self.memory / 1e9:.2g}"),
            },
        }


def estimate(prepared: PreparedTraining) -> Estimate:
    """Take a few real steps and a check on val, and tell from them what all of the training needs.

    Nothing is kept of the steps. On several devices they are taken on one, with its share of a batch.

    Raises
    ------
    GeosegError
        When the training cannot work: no such weights or device, or too little memory for a single chip.
    """
    document = prepared.document
    train, val = training_chips(prepared), _checked(prepared)
    asked = first_step(document.fit)

    def take(step: Step) -> Estimate:
        task, start = build_task(prepared)
        loaders, draws = make_loaders(train, val, document.fit, step)
        clock = _Clock(step.accelerator)
        with TemporaryDirectory() as folder, _memory(step.accelerator) as peak:
            make_trainer(
                step, document.fit, document.optimizer.clip, max_epochs=STEPS, max_steps=STEPS,
                limit_train_batches=STEPS * step.passes, limit_val_batches=1,
                callbacks=[SetEpoch(draws), clock], logger=False, enable_checkpointing=False,
                default_root_dir=folder,
            ).fit(task, *loaders)  # fmt: skip
        batches = [-(-len(loader) // asked.devices) for loader in loaders]
        epoch_s = batches[0] * clock.train_s + batches[1] * clock.val_s
        return Estimate(start, step.accelerator, step.passes, epoch_s, document.fit.epochs, peak())

    return with_smaller_passes(take, Step(asked.accelerator, 1, asked.chips, asked.passes), lambda _: None)


def _checked(prepared: PreparedTraining) -> Any:
    return evaluation_chips(prepared, "val" if prepared.parts["val"] else "train")


class _Clock(Callback):
    """Times the batches of train and val, with the reading of their chips."""

    def __init__(self, accelerator: str) -> None:
        self.cuda = accelerator == "cuda"
        self.last = time.perf_counter()
        self.trained: list[float] = []
        self.checked: list[float] = []

    @property
    def train_s(self) -> float:
        """Seconds of a pass: the first one also waits for kernels, caches and workers."""
        return fmean(self.trained[1:] or self.trained)

    @property
    def val_s(self) -> float:
        """Seconds of a pass over val."""
        return fmean(self.checked) if self.checked else 0.0

    def _lap(self, times: Sequence[float] | None = None) -> None:
        if self.cuda:
            torch.cuda.synchronize()
        now = time.perf_counter()
        if isinstance(times, list):
            times.append(now - self.last)
        self.last = now

    def on_train_epoch_start(self, *_: Any) -> None:
        """Start the clock."""
        self._lap()

    def on_validation_epoch_start(self, *_: Any) -> None:
        """Start the clock."""
        self._lap()

    def on_train_batch_end(self, _trainer: Any, _task: Task, *_: Any) -> None:
        """Time the batch."""
        self._lap(self.trained)

    def on_validation_batch_end(self, _trainer: Any, _task: Task, *_: Any) -> None:
        """Time the batch."""
        self._lap(self.checked)


@contextmanager
def _memory(accelerator: str) -> Iterator[Any]:
    """Yield a function that returns the most bytes that were in use within the block."""
    if accelerator == "cuda":
        torch.cuda.reset_peak_memory_stats()
        yield torch.cuda.max_memory_reserved
        return
    most, ended = [_resident()], threading.Event()

    def look() -> None:
        while not ended.wait(_LOOK):
            most.append(max(most.pop(), _resident()))

    thread = threading.Thread(target=look, daemon=True)
    thread.start()
    try:
        yield lambda: most[-1]
    finally:
        ended.set()
        thread.join()


def _resident() -> int:
    """Return the bytes of this process and its children that are in memory."""
    total = 0
    for process in (own := psutil.Process(), *own.children(recursive=True)):
        try:
            total += int(process.memory_info().rss)
        except psutil.Error:
            continue
    return total
