"""How logits are scaled before the softmax or the sigmoid, so that probabilities are calibrated.

A temperature divides all logits by one number; vector scaling multiplies those of each class by a factor and
adds a shift (Guo et al. 2017, On calibration of modern neural networks, section 4.2). A temperature is the
case of equal factors without shifts, and keeps the order of the classes; vector scaling may change it.
"""

from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from geoseg.config.fields import GATE
from geoseg.config.loader import Document

Factor = Annotated[float, Field(ge=1e-3, le=1e3, allow_inf_nan=False), GATE]
"""What logits of a class are multiplied by: never negative, which would turn the class around."""
Shift = Annotated[float, Field(ge=-1e3, le=1e3, allow_inf_nan=False), GATE]
"""What is added to logits of a class."""


class VectorScaling(Document):
    """A factor and a shift for the logits of each class, in the order of the classes.

    Examples
    --------
    >>> VectorScaling(scale=(0.8, 1.1), shift=(0, -0.5)).shift
    (0.0, -0.5)
    """

    scale: Annotated[tuple[Factor, ...], Field(min_length=1)]
    """What the logits of each class are multiplied by."""
    shift: Annotated[tuple[Shift, ...], Field(min_length=1)]
    """What is added to them then."""

    @model_validator(mode="after")
    def _alike(self) -> "VectorScaling":
        if len(self.scale) != len(self.shift):
            raise ValueError(f"scale has {len(self.scale)} numbers, and shift has {len(self.shift)}")
        return self

    def columns(self) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Return factors and shifts for logits (N, C, rows, cols), each of shape (1, C, 1, 1)."""
        scale, shift = (np.array(v, np.float32)[None, :, None, None] for v in (self.scale, self.shift))
        return scale, shift


@dataclass(frozen=True)
class Scaling:
    """What is done to logits: divided by a temperature, or scaled class by class."""

    temperature: float = 1.0
    calibration: VectorScaling | None = None
    """Instead of the temperature."""

    def apply(self, logits: Any, *, in_place: bool = False) -> Any:
        """Return scaled logits.

        Parameters
        ----------
        logits
            Float32, shape (N, C, rows, cols), numpy or torch.
        in_place
            Whether they may be overwritten.

        Examples
        --------
        >>> Scaling(2.0).apply(np.ones((1, 2, 1, 1), np.float32)).ravel().tolist()
        [0.5, 0.5]
        """
        if self.calibration is None:
            if in_place:
                logits /= self.temperature
                return logits
            return logits / self.temperature
        scale, shift = (_beside(c, logits) for c in self.calibration.columns())
        if in_place:
            logits *= scale
        else:
            logits = logits * scale
        logits += shift
        return logits


def _beside(column: NDArray[np.float32], logits: Any) -> Any:
    """Return numbers where the logits are: in numpy, or on their device."""
    if isinstance(logits, np.ndarray):
        return column
    import torch  # noqa: PLC0415 (the logits are a tensor, so it is loaded already)

    return torch.from_numpy(column).to(logits.device)


UNSCALED = Scaling()
"""Logits as they are."""
