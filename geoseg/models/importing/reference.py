"""What a network answers where it comes from, computed apart from the segmenters, by numpy.

It is written once more on purpose. A mistake in the way that a segmenter feeds a network would otherwise be
made twice, and nobody would see it.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from geoseg.models.card import Card
from geoseg.models.feeding import Clip, Log, Standardise
from geoseg.models.importing.source import Floats, Original

Doubles = NDArray[np.float64]


def order_of(bands: Sequence[str], given: Sequence[str]) -> list[int]:
    """Return where each of a network's bands lies among those that are given."""
    return (
        [list(given).index(b) for b in bands] if sorted(bands) == sorted(given) else list(range(len(bands)))
    )


def reference(original: Original, card: Card, given: Sequence[str], values: Floats) -> Doubles:
    """Return the probabilities of the original.

    Parameters
    ----------
    original
        The network where it comes from.
    card
        How it was fed there, and what its channels meant.
    given
        Common names of the bands of `values`.
    values
        Numbers in the units of the card, shape (N, B, rows, cols).
    """
    order = order_of([b.common_name for b in card.bands], given)
    answer = original(np.ascontiguousarray(_fed(card, values[:, order].astype(np.float64)), dtype=np.float32))
    return _meaning(card, answer.astype(np.float64))


def _fed(card: Card, x: Doubles) -> Doubles:
    def column(values: Sequence[float]) -> Doubles:
        return np.array(values, np.float64)[None, :, None, None]

    if card.preprocess is None:
        return (x - column([b.mean for b in card.bands])) / column([b.std for b in card.bands])
    x = x * card.input_scale
    for step in card.preprocess:
        if isinstance(step, Standardise):
            x = (x - column(step.mean)) / column(step.std)
        elif isinstance(step, Log):
            x = np.log1p(np.maximum(x, 0) * step.factor)
        elif isinstance(step, Clip):
            x = np.minimum(np.maximum(x, step.min), step.max)
        else:
            grown = np.exp(np.minimum(step.slope * x + step.shift, 80))
            x = grown / (1 + grown)
    return x


def _meaning(card: Card, answer: Doubles) -> Doubles:
    taken = answer if card.channels is None else answer[:, list(card.channels)]
    if card.calibration is not None:
        pairs = zip(card.calibration.scale, card.calibration.shift, strict=True)
        taken = np.stack([taken[:, i] * factor + shift for i, (factor, shift) in enumerate(pairs)], axis=1)
    if card.output == "logits":
        grown = np.exp((taken - taken.max(axis=1, keepdims=True)) / card.temperature)
        return np.asarray(grown / grown.sum(axis=1, keepdims=True))
    if card.output == "sigmoid":
        taken = 1 / (1 + np.exp(-np.maximum(np.minimum(taken / card.temperature, 700), -700)))
    if taken.shape[1] == 1:
        return np.concatenate([1 - taken, taken], axis=1)
    return taken if card.channels is None else taken / taken.sum(axis=1, keepdims=True)
