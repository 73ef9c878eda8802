"""Predictions of a network for the chips of a part, and its temperature."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812 (its usual name)
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar
from torch import nn
from torch.utils.data import DataLoader

from geoseg.core.legend import IGNORE
from geoseg.models.symmetries import SYMMETRIES, turn, turn_back
from geoseg.training.chips import GridChips

MOST_PIXELS = 1_000_000
"""Labelled pixels that the temperature is fitted on, at most."""


@dataclass(frozen=True)
class PredictedChip:
    """What the network says about a chip."""

    where: str
    image: NDArray[np.float32]
    """Normalised input, shape (B, rows, cols)."""
    probabilities: NDArray[np.float32]
    """Shape (C, rows, cols)."""
    label: NDArray[np.uint8]
    """Channels, 255 where nothing is labelled, shape (rows, cols)."""

    @property
    def agreement(self) -> float:
        """Share of the labelled pixels whose class is right."""
        labelled = self.label != IGNORE
        return float((self.probabilities.argmax(0) == self.label)[labelled].mean())


@torch.inference_mode()
def predict_chips(
    network: nn.Module, chips: GridChips, batch: int, *, temperature: float = 1.0, augment: str = "none"
) -> Iterator[PredictedChip]:
    """Predict every chip once.

    Parameters
    ----------
    network
        (N, B, H, W) to logits (N, C, H, W).
    chips
        The chips.
    batch
        Chips in a forward pass.
    temperature
        Logits are divided by it.
    augment
        Test-time augmentation: `none`, `flips` or `d4`, the mean over its symmetries.
    """
    network.eval()
    device = next(network.parameters()).device
    for samples in DataLoader(chips, batch_size=batch):
        x = samples["image"].to(device, memory_format=torch.channels_last)
        views = [
            turn_back((network(turn(x, *s)).float() / temperature).softmax(1), *s)
            for s in SYMMETRIES[augment]
        ]
        mean = torch.stack(views).mean(0)
        for i, where in enumerate(samples["where"]):
            yield PredictedChip(
                where,
                samples["image"][i].numpy(),
                mean[i].cpu().numpy(),
                samples["label"][i].to(torch.uint8).numpy(),
            )


def fit_temperature(chips: Iterable[PredictedChip], labelled_pixels: int) -> float:
    """Return the temperature that makes the predictions of these chips most likely (Guo et al. 2017).

    Parameters
    ----------
    chips
        Predicted with temperature 1; at most a million labelled pixels of them are used, evenly spread.
    labelled_pixels
        How many they have together, so that only what is used has to be kept.
    """
    step = -(-labelled_pixels // MOST_PIXELS)
    logits, truth, seen = [], [], 0
    for chip in chips:
        used = np.flatnonzero(chip.label != IGNORE)
        first, seen = -seen % step, seen + len(used)
        used = used[first::step]
        # Logits but for a constant, which no softmax sees.
        logits.append(
            np.log(np.maximum(chip.probabilities.reshape(len(chip.probabilities), -1)[:, used].T, 1e-12))
        )
        truth.append(chip.label.reshape(-1)[used])
    x, y = torch.from_numpy(np.concatenate(logits)), torch.from_numpy(np.concatenate(truth)).long()
    found = minimize_scalar(
        lambda log_t: float(F.cross_entropy(x / np.exp(log_t), y)), bounds=(-2.5, 2.5), method="bounded"
    )
    return float(np.exp(found.x))
