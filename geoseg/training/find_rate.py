"""A learning rate to begin with: one training of a few steps, whose rate rises until the loss does.

The range test of Smith (2017, Cyclical learning rates for training neural networks, WACV, 464-472), by
Lightning's tuner. Nothing of the training itself is touched: its folder and checkpoints stay as they are.
"""

import contextlib
import csv
import io
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from lightning.pytorch.tuner import Tuner
from scipy.ndimage import gaussian_filter1d

from geoseg.core.errors import GeosegError, TrainingError
from geoseg.core.files import as_output_error, write_atomic
from geoseg.report.rate_page import RatePage, write_rate_page
from geoseg.training.build import build_task, training_chips
from geoseg.training.fit import Step, first_step, make_loaders, make_trainer, with_smaller_passes
from geoseg.training.prepare import PreparedTraining
from geoseg.training.task import Task

LOW, HIGH, STEPS = 1e-6, 1.0, 100
_DIVERGED = 4.0
"""Times the best loss, from which on a rate is too high."""
_SKIPPED = 3
"""First steps, whose smoothed loss is that of few batches."""
_BETA = 0.98
"""What the tuner forgets of its running mean at each step."""
_WIDTH = 3.0
"""Steps over which losses are smoothed: the standard deviation of the weights."""


@dataclass(frozen=True)
class FoundRate:
    """The curve of a range test and what it suggests."""

    rates: tuple[float, ...]
    losses: tuple[float, ...]
    """Smoothed loss of train at each rate; NaN where it was no number."""
    start: str
    """Where the weights start, in words."""

    @property
    def best(self) -> float:
        """The rate at which the loss falls most steeply, with two digits.

        Raises
        ------
        TrainingError
            When the loss falls nowhere.
        """
        return suggest(self.rates, self.losses)


def find_rate(prepared: PreparedTraining, steps: int = STEPS) -> FoundRate:
    """Train some steps with a rate that rises from `LOW` to `HIGH`.

    Rates of the encoder keep their ratio to that of the decoder. The same training gives the same curve.

    Parameters
    ----------
    prepared
        The training; on several devices one of them is used.
    steps
        Steps from the lowest to the highest rate.

    Raises
    ------
    GeosegError
        When the training cannot work.
    """
    document = prepared.document
    fit, clip = document.fit, document.optimizer.clip
    # As many chips as are needed, each drawn once.
    more = document.chips.model_copy(update={"per_epoch": (steps + 1) * fit.batch})
    drawn = replace(prepared, document=document.model_copy(update={"chips": more}))
    asked = first_step(fit)

    def take(step: Step) -> FoundRate:
        task, start = build_task(prepared)
        _keep_ratios(task, document.optimizer.rate)
        _forgive(task)
        chips = training_chips(drawn)
        (loader, _), _ = make_loaders(chips, chips, fit, step)
        # The tuner shows a bar of its own.
        with TemporaryDirectory() as folder, contextlib.redirect_stderr(io.StringIO()):
            trainer = make_trainer(
                step, fit, clip, max_epochs=1, logger=False, enable_checkpointing=False,
                default_root_dir=folder,
            )  # fmt: skip
            found: Any = Tuner(trainer).lr_find(
                task, loader, min_lr=LOW, max_lr=HIGH, num_training=steps, update_attr=False,
                early_stop_threshold=_DIVERGED,
            )  # fmt: skip
        curve = found.results
        return FoundRate(tuple(map(float, curve["lr"])), smoothed(of_batches(curve["loss"])), start)

    return with_smaller_passes(take, Step(asked.accelerator, 1, asked.chips, asked.passes), lambda _: None)


def _keep_ratios(task: Task, rate: float) -> None:
    """Let each group of parameters keep its share of the rate; the tuner gives all groups the same."""
    configure = task.configure_optimizers

    def configured() -> Any:
        made = configure()
        optimizer = made["optimizer"]
        shares = [group["lr"] / rate for group in optimizer.param_groups]
        kept: list[float] = []

        def before(*_: Any) -> None:
            kept[:] = [group["lr"] for group in optimizer.param_groups]
            for group, share in zip(optimizer.param_groups, shares, strict=True):
                group["lr"] *= share

        def after(*_: Any) -> None:
            for group, own in zip(optimizer.param_groups, kept, strict=True):
                group["lr"] = own

        optimizer.register_step_pre_hook(before)
        optimizer.register_step_post_hook(after)
        return made

    task.configure_optimizers = configured  # type: ignore[method-assign]


def _forgive(task: Task) -> None:
    """End the test where the loss is no number, which a training would stop at with an error."""
    step: Callable[..., Any] = task.training_step

    def forgiving(*batch: Any) -> torch.Tensor | None:
        try:
            loss: torch.Tensor = step(*batch)
        except TrainingError:
            task.trainer.should_stop = True
            return None
        return loss

    task.training_step = forgiving


def of_batches(means: Sequence[float]) -> list[float]:
    """Return the losses of the batches from the running means of the tuner.

    A running mean lags behind by half of the test, and so a rate read from it is several times too high.
    """
    losses, before = [], 0.0
    for number, mean in enumerate(means):
        total = mean * (1 - _BETA ** (number + 2))  # the tuner counts the step that it has just made
        losses.append((total - _BETA * before) / (1 - _BETA))
        before = total if math.isfinite(total) else before
    return losses


def smoothed(losses: Sequence[float]) -> tuple[float, ...]:
    """Return losses smoothed over steps before and after alike; NaN stays where there is none."""
    known = np.isfinite(losses)
    found = np.full(len(losses), np.nan)
    if known.any():
        found[known] = gaussian_filter1d(np.asarray(losses, float)[known], _WIDTH, mode="nearest")
    return tuple(float(v) for v in found)


def suggest(rates: Sequence[float], losses: Sequence[float]) -> float:
    """Return the rate at which the loss falls most steeply, rounded to two digits.

    Over the logarithm of the rate: over the rate itself, as the tuner suggests one, noise between two of the
    lowest rates is steeper than anything else.

    Raises
    ------
    TrainingError
        When there are too few losses, or they fall nowhere.

    Examples
    --------
    >>> rates = [10 ** (-6 + i / 4) for i in range(25)]
    >>> suggest(rates, [1 / (1 + (r / 1e-2) ** 2) for r in rates])
    0.01
    """
    curve = [(math.log(r), y) for r, y in zip(rates, losses, strict=True) if math.isfinite(y)]
    x, y = np.array(curve[min(_SKIPPED, len(curve) // 4) :]).reshape(-1, 2).T
    if len(x) > 2:
        slopes = np.gradient(y, x)[:-1]
        if slopes.min() < 0:
            return float(f"{math.exp(x[slopes.argmin()]):.2g}")
    raise TrainingError(
        "the loss falls at no rate; check labels and bands, or start from other weights (transfer)"
    )


def write_rate(prepared: PreparedTraining, found: FoundRate) -> dict[str, Any]:
    """Write the curve into a folder beside that of the training, and return what it suggests.

    Raises
    ------
    GeosegError
        When the folder cannot be written, or the loss falls nowhere; the curve is written then, too.
    """
    folder = prepared.folder.parent / f"{prepared.folder.name}-rate"
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(["rate", "loss"])
    writer.writerows([f"{r:.6g}", f"{y:.6g}"] for r, y in zip(found.rates, found.losses, strict=True))
    table = folder / "rate.csv"
    with as_output_error(folder):
        folder.mkdir(parents=True, exist_ok=True)
    write_atomic(table, text.getvalue().encode())
    try:
        best: float | None = found.best
        problem: GeosegError | None = None
    except TrainingError as error:
        best, problem = None, error
    write_page(folder / "rate.html", prepared, found, best)
    if problem is not None:
        raise TrainingError(f"{problem}; the curve is in {table}")
    return {
        "rate": best,
        "write": f"optimizer: {{kind: {prepared.document.optimizer.kind}, rate: {best:g}}}",
        "now": prepared.document.optimizer.rate,
        "steps": len(found.rates),
        "weights": found.start,
        "curve": str(table),
        "page": str(folder / "rate.html"),
    }


def write_page(path: Path, prepared: PreparedTraining, found: FoundRate, best: float | None) -> None:
    """Write the curve as a page."""
    document = prepared.document
    points = tuple(zip(found.rates, found.losses, strict=True))
    write_rate_page(path, RatePage(document.title or document.name, points, best, document.optimizer.rate))
