"""Numbers of a window of a scene, and where they are valid."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Pixels:
    """Numbers of a window and their validity."""

    values: NDArray[Any]
    """Shape (bands, rows, cols), in the scene's data type, before scale and offset."""
    valid: NDArray[np.bool_]
    """Shape (rows, cols)."""
    observations: NDArray[np.uint8] | None = None
    """How often each pixel was seen, shape (rows, cols), of a scene that counts it."""

    @classmethod
    def of(cls, values: NDArray[Any], seen: NDArray[Any]) -> "Pixels":
        """Return pixels from where they are valid (bool), or from how often they were seen (uint8)."""
        return cls(values, seen) if seen.dtype == np.bool_ else cls(values, seen > 0, seen)

    @classmethod
    def pooled(cls, parts: "Sequence[Pixels]") -> "Pixels":
        """Return the pixels of several windows in one row, shape (bands, 1, pixels)."""
        return cls(
            np.concatenate([p.values.reshape(len(p.values), 1, -1) for p in parts], axis=2),
            np.concatenate([p.valid.reshape(1, -1) for p in parts], axis=1),
        )

    def at(self, rows: NDArray[np.intp], cols: NDArray[np.intp]) -> "Pixels":
        """Return the pixels at these rows and columns, in any order and any number of times."""
        seen = self.valid if self.observations is None else self.observations
        return Pixels.of(self.values[:, rows[:, None], cols], seen[rows[:, None], cols])
