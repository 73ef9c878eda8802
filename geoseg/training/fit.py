"""The training loop, run by Lightning: checkpoints, history, resuming, smaller passes to save memory."""

import gc
import logging
import warnings
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

import lightning.pytorch as pl
import torch
from lightning.pytorch.callbacks import Callback, EarlyStopping, ModelCheckpoint, WeightAveraging
from torch import nn
from torch.utils.data import DataLoader, Dataset

from geoseg.config.training import Fit, Stop
from geoseg.core.errors import ConfigError, GeosegWarning, TrainingError, one_line
from geoseg.training.callbacks import AtomicCheckpoints, Event, History, Notice, SetEpoch, moving_average
from geoseg.training.chips import DrawSampler, UnrepeatedSampler
from geoseg.training.history import EpochRow
from geoseg.training.loggers import make_loggers
from geoseg.training.task import Task

T = TypeVar("T")

LAST, BEST = "last.ckpt", "best.ckpt"


@dataclass(frozen=True)
class Step:
    """The division of an optimiser step into forward passes."""

    accelerator: str
    devices: int
    chips: int
    """Chips in a pass of one device."""
    passes: int
    """Passes of a step on each device."""

    @property
    def batch(self) -> int:
        """Chips in a step."""
        return self.chips * self.passes * self.devices

    def halved(self) -> "Step":
        """Return the same step in passes of half the size."""
        return replace(self, chips=self.chips // 2, passes=self.passes * 2)


@dataclass(frozen=True)
class Fitted:
    """The result of the training loop."""

    history: tuple[EpochRow, ...]
    """A row for each epoch."""
    best_epoch: int
    """Epoch whose weights the network has, from 1."""
    batch: int
    """Chips in an optimiser step."""
    accumulate: int
    """Passes of a step as used: a batch that did not fit in memory is divided into more passes."""
    chips: int
    """Chips in a pass of one device, which fit in its memory."""
    resumed: bool
    main: bool
    """Whether this is the main process, which writes the files, and not a helper process."""


def fit(
    make_task: Callable[[], Task],
    train: Dataset[Any],
    val: Dataset[Any],
    entry: Fit,
    folder: Path,
    *,
    clip: float = 0.0,
    on_event: Callable[[Event], None] = lambda _: None,
) -> tuple[Task, Fitted]:
    """Train, and return the task with the weights of its best epoch on val.

    Parameters
    ----------
    make_task
        Returns the task with its starting weights; called again when a batch did not fit in memory.
    train, val
        The chips.
    entry
        Epochs, batch, precision, devices.
    folder
        Folder of the checkpoints. The training is resumed from a `last.ckpt` there, and ends with the same
        weights as an undisturbed one.
    clip
        Largest norm of the gradient; 0: no limit.
    on_event
        Called with the events of the loop.

    Raises
    ------
    TrainingError
        When the loss is NaN or infinite, a checkpoint is damaged, or a single chip does not fit in memory.
    """
    step = first_step(entry)
    if len(val) < step.devices:  # type: ignore[arg-type]
        raise ConfigError(f"fit.devices: {step.devices}, but there are only {len(val)} chips to check on")  # type: ignore[arg-type]

    def say(message: str) -> None:
        resumed = (folder / LAST).exists()
        text = f"{message}{' from the last checkpoint' if resumed else ''}"
        on_event(Notice(text))
        warnings.warn(text, GeosegWarning, stacklevel=3)

    return with_smaller_passes(
        lambda step: _fit_once(make_task(), train, val, entry, folder, step, clip, on_event), step, say
    )


def first_step(entry: Fit, devices: int | None = None) -> Step:
    """Return the division of a step that the training file asks for.

    Raises
    ------
    ConfigError
        When there is no such device.
    """
    accelerator = resolve_accelerator(entry.device)
    count = _devices(entry, accelerator) if devices is None else devices
    chips = max(1, entry.batch // (entry.accumulate * count))
    return Step(accelerator, count, chips, entry.accumulate)


def with_smaller_passes(attempt: Callable[[Step], T], step: Step, say: Callable[[str], None]) -> T:
    """Return what an attempt returns; when memory runs out it is made again with passes of half the size.

    Raises
    ------
    TrainingError
        When a single chip does not fit in memory, or batch norm has a single value.
    """
    while True:
        try:
            return attempt(step)
        except ValueError as error:
            if "more than 1 value per channel" not in str(error):
                raise
            raise TrainingError(
                "batch norm needs more than one chip in a pass; use a larger fit.batch or less accumulation"
            ) from error
        except RuntimeError as error:
            # torch.OutOfMemoryError and the error of the CPU allocator are RuntimeErrors.
            if "memory" not in str(error).lower():
                raise
            if step.chips == 1:
                raise TrainingError(
                    "out of memory with a single chip; use smaller chips.size or a smaller network"
                ) from error
        # Outside the handler, where the traceback would keep the tensors of the failed pass.
        step = step.halved()
        gc.collect()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        say(f"out of memory: goes on with {step.passes} passes of {step.chips} chips for a step")


def _fit_once(
    task: Task,
    train: Dataset[Any],
    val: Dataset[Any],
    entry: Fit,
    folder: Path,
    step: Step,
    clip: float,
    on_event: Callable[[Event], None],
) -> tuple[Task, Fitted]:
    history = History(entry.epochs, on_event)
    # Two callbacks, since save_last writes only when the best checkpoint is written.
    best, latest = (
        ModelCheckpoint(
            folder, name.removesuffix(".ckpt"), monitor=monitor, mode=mode, save_on_train_epoch_end=True,
            enable_version_counter=False,
        )
        for name, monitor, mode in ((BEST, task.monitor.key, task.monitor.mode), (LAST, None, "max"))
    )  # fmt: skip
    loaders, draws = make_loaders(train, val, entry, step)
    callbacks: list[Callback] = [SetEpoch(draws), history, best, latest]
    if entry.average:
        callbacks.append(WeightAveraging(multi_avg_fn=moving_average(entry.average)))
    stop = entry.stopping
    if stop is not None:
        key, mode = _watched(stop, task)
        callbacks.append(
            EarlyStopping(
                key, mode=mode, min_delta=stop.min_delta, patience=stop.patience,
                check_on_train_epoch_end=True,
            )
        )  # fmt: skip
    trainer = make_trainer(
        step, entry, clip, plugins=[AtomicCheckpoints()], max_epochs=entry.epochs, callbacks=callbacks,
        logger=make_loggers(entry.loggers, folder.parent), default_root_dir=folder,
    )  # fmt: skip
    last = folder / LAST
    resumed = last.exists()
    content = _read_checkpoint(last) if resumed else {}
    if _stopped_early(content, stop):
        states = content["callbacks"]
        history.load_state_dict(next(s for k, s in states.items() if k.startswith("History")))
    else:
        try:
            trainer.fit(
                task,
                *loaders,
                ckpt_path=last if resumed else None,
                weights_only=True,
            )
        except SystemExit as error:
            # Lightning exits so after Ctrl-C and SIGTERM.
            raise KeyboardInterrupt from error
    best_epoch = _load_best(task.network, folder / BEST) if history.rows else 0
    rows = tuple(history.rows)
    main = trainer.is_global_zero
    return task, Fitted(rows, best_epoch, step.batch, step.passes, step.chips, resumed, main)


def make_trainer(step: Step, entry: Fit, clip: float, **options: Any) -> pl.Trainer:
    """Return Lightning's trainer for steps that are divided so; `options` are its own.

    Parameters
    ----------
    step
        The division of a step.
    entry
        Precision.
    clip
        Largest norm of the gradient; 0: no limit.
    """
    _silence_lightning()
    return pl.Trainer(
        accelerator=step.accelerator,
        devices=step.devices,
        # Plain DDP fails on parameters without gradient: a frozen encoder, stages that a decoder leaves out.
        strategy="auto" if step.devices == 1 else "ddp_find_unused_parameters_true",
        precision=_precision(entry.precision, step.accelerator),
        accumulate_grad_batches=step.passes,
        gradient_clip_val=clip or None,
        num_sanity_val_steps=0,
        enable_progress_bar=False,
        enable_model_summary=False,
        # The samplers divide the chips among the devices themselves, without repeating any.
        use_distributed_sampler=False,
        deterministic="warn" if step.accelerator == "cuda" else False,
        **options,
    )


def make_loaders(
    train: Dataset[Any], val: Dataset[Any], entry: Fit, step: Step
) -> tuple[tuple[DataLoader[Any], DataLoader[Any]], DrawSampler]:
    """Return the loaders of train and val, and the sampler of train, which must be told the epoch."""
    draws = DrawSampler(len(train), step.devices)  # type: ignore[arg-type]
    checked = UnrepeatedSampler(len(val), step.devices)  # type: ignore[arg-type]
    return (_loader(train, step.chips, entry, draws), _loader(val, step.chips, entry, checked)), draws


def _watched(stop: Stop, task: Task) -> tuple[str, str]:
    """Return the figure that early stopping watches, and whether `min` or `max` of it is better."""
    if stop.monitor == "miou":
        return task.monitor.key, task.monitor.mode
    return f"val_{stop.monitor}", "min" if stop.monitor == "loss" else "max"


def _stopped_early(content: dict[str, Any], stop: Stop | None) -> bool:
    """Return whether early stopping had ended the training at a checkpoint; Lightning would train on."""
    if stop is None:
        return False
    states = [s for k, s in content.get("callbacks", {}).items() if k.startswith("EarlyStopping")]
    return any(s["wait_count"] >= stop.patience for s in states)


def _read_checkpoint(path: Path) -> dict[str, Any]:
    """Read a checkpoint of `fit`."""
    if not path.exists():
        raise TrainingError(f"{path}: no such checkpoint; start again with --overwrite")
    try:
        # It holds tensors and plain values only, so no pickle has to be trusted.
        content: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        raise TrainingError(
            f"{path}: is damaged: {one_line(error)[:120]}; "
            + (f"copy {BEST} over it to go on from the best epoch, or " if path.name == LAST else "")
            + "start again with --overwrite"
        ) from error
    return content


def _load_best(network: nn.Module, path: Path) -> int:
    """Load the weights of the best epoch into the network; return the epoch, from 1."""
    content = _read_checkpoint(path)
    prefix = "network."
    weights = {k.removeprefix(prefix): v for k, v in content["state_dict"].items() if k.startswith(prefix)}
    network.load_state_dict(weights)
    return int(content["epoch"]) + 1


def _loader(
    chips: Dataset[Any], batch: int, entry: Fit, sampler: DrawSampler | UnrepeatedSampler
) -> DataLoader[Any]:
    return DataLoader(
        chips,
        batch_size=batch,
        sampler=sampler,
        num_workers=entry.workers,
        persistent_workers=entry.workers > 0,
        pin_memory=torch.cuda.is_available() and entry.device != "cpu",
        # Batch norm fails on a last batch of one chip.
        drop_last=isinstance(sampler, DrawSampler) and len(sampler) > batch,
        collate_fn=getattr(chips, "collate", None),
    )


def resolve_accelerator(device: str) -> str:
    """Return `cpu` or `cuda`.

    Raises
    ------
    ConfigError
        When there is no such device.
    """
    found = "cuda" if torch.cuda.is_available() else "cpu"
    if device == "cuda" and found == "cpu":
        raise ConfigError("fit.device: cuda is not available here; use device: cpu")
    return found if device == "auto" else device


def _devices(entry: Fit, device: str) -> int:
    if entry.devices != "auto":
        return entry.devices
    return torch.cuda.device_count() if device == "cuda" else 1


def _precision(precision: str, device: str) -> Any:
    if precision == "auto":
        precision = "bf16" if device == "cuda" and torch.cuda.is_bf16_supported() else "fp32"
    if precision == "fp16" and device == "cpu":
        raise ConfigError("fit.precision: fp16 needs a GPU; use fp32 or bf16 on a CPU")
    return {"fp32": "32-true", "bf16": "bf16-mixed", "fp16": "16-mixed"}[precision]


def _silence_lightning() -> None:
    """Suppress the tips and notices of Lightning."""
    for name in ("lightning.pytorch", "lightning.fabric"):
        logging.getLogger(name).setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", module="lightning")
