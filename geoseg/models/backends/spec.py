"""What a backend is: the protocol that each one follows, and what a process needs to load one."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from geoseg.tiling.arrays import Arrays


class Segmenter(Protocol):
    """What a backend offers: probabilities of a batch of tiles."""

    @property
    def arrays(self) -> Arrays:
        """Where it takes pixels from and leaves probabilities."""
        ...

    def prepare(self, shape: tuple[int, int, int, int], dtype: np.dtype[Any]) -> None:
        """Do what batches of raw numbers (N, B, rows, cols) need once; others may predict meanwhile."""
        ...

    def predict(self, values: Any, valid: Any, gain: NDArray[np.float32], bias: NDArray[np.float32]) -> Any:
        """Return class probabilities.

        Parameters
        ----------
        values
            Raw numbers of the scene, shape (N, B, rows, cols), bands in network order, in its `arrays`.
        valid
            Shape (N, rows, cols); invalid pixels enter the network as the band mean. In its `arrays`, too.
        gain, bias
            Physical value = number * gain + bias, shape (B,).

        Returns
        -------
        probabilities
            Shape (N, C, rows, cols), 0 to 1, float32, in its `arrays`. The next call of the same thread may
            write over them.
        """
        ...


LIBRARIES = {"torch": "torch", "inductor": "torch", "openvino": "openvino"}
"""The package of each backend."""


@dataclass(frozen=True)
class SegmenterSpec:
    """All that a process needs to load a segmenter."""

    folder: Path | str
    """The bundle: a folder that every worker sees, or a URI."""
    sha256: str
    """Hash of the bundle; a bundle that changed during a run is refused."""
    device: str
    backend: str
    """One of `LIBRARIES`."""
    precision: str
    augment: str
    passes: int
    """Forward passes that a process runs at once: one on a GPU, one for each core on a CPU."""
