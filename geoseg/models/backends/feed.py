"""What a segmenter does with raw numbers before the network, as the card says."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from geoseg.models.card import Card
from geoseg.models.feeding import apply

Floats = NDArray[np.float32]


class Feed:
    """The way from the numbers of a scene to those that a network is fed.

    Most networks take standardised values: a factor and a shift for each band. The steps of a card come after
    the factor and the shift; invalid pixels become what the mean of their band becomes.
    """

    def __init__(self, card: Card) -> None:
        self.mean = np.array([b.mean for b in card.bands], dtype=np.float32)
        self.std = np.array([b.std for b in card.bands], dtype=np.float32)
        self.raw, self.scale, self.steps = card.numbers == "raw", card.input_scale, card.preprocess

    def linear(self, gain: Floats, bias: Floats) -> tuple[Floats, Floats, Floats]:
        """Return factor and shift of each band, and what its invalid pixels become, shape (B,).

        Parameters
        ----------
        gain, bias
            Physical value = number * gain + bias, shape (B,); unused where the card takes raw numbers.
        """
        if self.raw:
            gain, bias = np.ones_like(self.mean), np.zeros_like(self.mean)
        if self.steps is None:
            return gain / self.std, (bias - self.mean) / self.std, np.zeros_like(self.mean)
        fill: Floats = self.after(self.mean[:, None, None])[:, 0, 0]
        return gain, bias, fill

    def after(self, x: Any) -> Any:
        """Return numbers (..., B, rows, cols) after the steps of the card; numpy or torch."""
        return x if self.steps is None else apply(self.steps, x, self.scale)

    def tensors(self, values: Any, valid: Any, gain: Floats, bias: Floats) -> Any:
        """Return what the network is fed, in torch, on the device of the values.

        Parameters
        ----------
        values, valid
            Raw numbers (N, B, rows, cols), and which pixels are valid, (N, rows, cols).
        gain, bias
            As of `linear`.
        """
        import torch  # noqa: PLC0415 (the values are tensors, so it is loaded already)

        factor, shift, fill = (
            torch.from_numpy(a).to(values.device)[:, None, None] for a in self.linear(gain, bias)
        )
        # The copy to the device was of 16-bit numbers; they become floats there.
        x = values.to(torch.float32, copy=True).mul_(factor).add_(shift)
        if self.steps is None:
            return x.masked_fill_(~valid[:, None], 0.0)
        return torch.where(valid[:, None], self.after(x), fill)
