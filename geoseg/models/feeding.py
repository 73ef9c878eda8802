"""How a network is fed and what its answer means: the steps before it, and the way from it to probabilities.

The functions take arrays of numpy and tensors of torch: both have the few operations that they need.
"""

from collections.abc import Sequence
from typing import Annotated, Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from geoseg.config.fields import Finite, Positive
from geoseg.config.loader import Document
from geoseg.models.scaling import Scaling
from geoseg.tiling.heads import REACH


class Standardise(Document):
    """`(x - mean) / std`, with a mean and a standard deviation of each band in the units of this step."""

    step: Literal["standardise"]
    mean: Annotated[tuple[Finite, ...], Field(min_length=1)]
    std: Annotated[tuple[Positive, ...], Field(min_length=1)]


class Log(Document):
    """`ln(1 + factor * x)`; numbers below zero count as zero."""

    step: Literal["log"]
    factor: Positive = 1.0


class Logistic(Document):
    """`1 / (1 + exp(-(slope * x + shift)))`, which brings any number between 0 and 1."""

    step: Literal["logistic"]
    slope: Finite = 1.0
    shift: Finite = 0.0


class Clip(Document):
    """Numbers beyond the limits become the limits."""

    step: Literal["clip"]
    min: Finite
    max: Finite


Step = Annotated[Standardise | Log | Logistic | Clip, Field(discriminator="step")]
"""A step before the network: a closed list, so that a card runs no code."""


def apply(steps: Sequence[Standardise | Log | Logistic | Clip], x: Any, scale: float = 1.0) -> Any:
    """Return what a network is fed: the numbers times `scale`, after the steps.

    Parameters
    ----------
    steps
        The steps, in order.
    x
        Numbers of shape (..., B, rows, cols), numpy or torch.
    scale
        Factor before the first step.

    Examples
    --------
    >>> numbers = np.array([0.0, 0.1], np.float32)[:, None, None]
    >>> apply([Log(step="log", factor=0.01)], numbers, 10_000).ravel().round(3).tolist()
    [0.0, 2.398]
    """
    if scale != 1:
        x = x * np.float32(scale).item()
    for step in steps:
        x = _one(step, x)
    return x


def _one(step: Standardise | Log | Logistic | Clip, x: Any) -> Any:
    xp = _library(x)
    if isinstance(step, Standardise):
        mean, std = (_per_band(v, x) for v in (step.mean, step.std))
        return (x - mean) / std
    if isinstance(step, Log):
        return xp.log1p(xp.clip(x, 0, None) * step.factor)
    if isinstance(step, Clip):
        return xp.clip(x, step.min, step.max)
    # Beyond 80 the answer is 0 or 1 in single precision, and exp would overflow.
    return 1 / (1 + xp.exp(xp.clip(-(x * step.slope + step.shift), -80, 80)))


def _library(x: Any) -> Any:
    if isinstance(x, np.ndarray):
        return np
    import torch  # noqa: PLC0415 (x is a tensor, so it is loaded already)

    return torch


def _per_band(values: Sequence[float], x: Any) -> Any:
    row = np.array(values, np.float32)[:, None, None]
    return row if isinstance(x, np.ndarray) else _library(x).from_numpy(row).to(x.device)


class Scaled(Protocol):
    """The target of a regression: its range, and how the network's answer is standardised."""

    @property
    def min(self) -> float:
        """Least value of a map."""

    @property
    def max(self) -> float:
        """Largest value of a map."""

    @property
    def mean(self) -> float:
        """Value at which the network answers 0."""

    @property
    def std(self) -> float:
        """Difference of the values at which it answers 1 and 0."""


class Answering(Protocol):
    """The facts of a card that tell what the channels of a network mean."""

    @property
    def task(self) -> str:
        """`classes`, `regression` or `multilabel`."""

    @property
    def target(self) -> "Scaled | None":
        """The range and the standardisation of a regression."""

    @property
    def output(self) -> str:
        """`logits`, `probabilities`, `sigmoid` or `values`."""

    @property
    def channels(self) -> tuple[int, ...] | None:
        """Channel of each class; None: the first of the first class, and so on."""

    @property
    def scaling(self) -> Scaling:
        """What is done to logits."""

    @property
    def answered(self) -> int:
        """Channels that the network gives at least."""


def fits(card: Answering, channels: int) -> bool:
    """Return whether a network with so many channels answers as a card says."""
    return channels == card.answered or (card.channels is not None and channels > card.answered)


def probabilities(card: Answering, answer: Any) -> Any:
    """Return the class probabilities that a network's answer means, or the places of values in their range.

    Parameters
    ----------
    card
        What its channels mean.
    answer
        Float32, shape (N, channels, rows, cols), numpy or torch.

    Returns
    -------
    probabilities
        Shape (N, C, rows, cols): those of the card's classes, which sum to 1; of labels each from 0 to 1; of
        a regression one channel, see `places`.
    """
    if card.channels is not None:
        answer = answer[:, list(card.channels)]
    if card.target is not None:
        return places(card.target, answer)
    if card.task == "multilabel":
        return logistic(card.scaling.apply(answer)) if card.output == "sigmoid" else answer
    if card.output == "logits":
        return softmax(card.scaling.apply(answer))
    if card.output == "sigmoid":
        answer = logistic(card.scaling.apply(answer))
    if answer.shape[1] == 1:
        both = answer.repeat(2, 1) if isinstance(answer, np.ndarray) else answer.repeat(1, 2, 1, 1)
        both[:, 0] = 1 - both[:, 0]
        return both
    return answer / answer.sum(1)[:, None] if card.channels is not None else answer


def logistic(logits: Any) -> Any:
    """Return the probability of each channel on its own."""
    return 1 / (1 + _library(logits).exp((-logits).clip(-80, 80)))


def places(target: Scaled, answer: Any) -> Any:
    """Return where standardised values lie in the range of a target: from -REACH, its min, to REACH, its max.

    Values beyond the range become its limits. NaN stays NaN, and infinity becomes it, so that neither is
    taken for a value.
    """
    factor, shift = line(target)
    place = answer * factor + shift
    return place.clip(-REACH, REACH) + (place - place)


def line(target: Scaled) -> tuple[float, float]:
    """Return factor and shift from a standardised value to its place in the range of a target."""
    half, middle = (target.max - target.min) / 2, (target.max + target.min) / 2
    return REACH * target.std / half, REACH * (target.mean - middle) / half


def softmax(logits: Any) -> Any:
    """Return the softmax over the channels of (N, C, rows, cols)."""
    if not isinstance(logits, np.ndarray):
        return _library(logits).softmax(logits, dim=1)
    shifted: NDArray[Any] = np.exp(logits - logits.max(axis=1, keepdims=True))
    return shifted / shifted.sum(axis=1, keepdims=True)
