"""The protocol of all backends, and the specification from which a process loads one."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from geoseg.core.extras import installed_version
from geoseg.tiling.arrays import Arrays


class Segmenter(Protocol):
    """A network on a backend, which predicts the class probabilities of batches of tiles."""

    @property
    def arrays(self) -> Arrays:
        """The arrays in which it takes pixels and returns probabilities: the host's or the device's."""
        ...

    def prepare(self, shape: tuple[int, int, int, int], dtype: np.dtype[Any]) -> None:
        """Prepare for batches (N, B, rows, cols) of raw numbers; other threads may predict meanwhile."""
        ...

    def predict(self, values: Any, valid: Any, gain: NDArray[np.float32], bias: NDArray[np.float32]) -> Any:
        """Return class probabilities.

        Parameters
        ----------
        values
            Raw numbers of the scene, shape (N, B, rows, cols), bands in network order, in `arrays`.
        valid
            Shape (N, rows, cols), in `arrays`; invalid pixels enter the network as the band mean.
        gain, bias
            Physical value = number * gain + bias, shape (B,).

        Returns
        -------
        probabilities
            Shape (N, C, rows, cols), 0 to 1, float32, in `arrays`. The next call of the same thread may
            overwrite them.
        """
        ...


LIBRARIES = {"torch": "torch", "inductor": "torch", "openvino": "openvino", "onnxruntime": "onnxruntime"}
"""The package of each backend."""


def library_version(backend: str) -> str:
    """Return the version of the package of a backend."""
    return installed_version(LIBRARIES[backend])


@dataclass(frozen=True)
class SegmenterSpec:
    """The specification of a segmenter: a bundle, and how its network runs."""

    folder: Path | str
    """The bundle: a folder that all workers share, or a URI."""
    sha256: str
    """Hash of the bundle; a bundle that changed during a run is refused."""
    device: str
    backend: str
    """One of `LIBRARIES`."""
    precision: str
    """`fp32`, `bf16`, `fp16`, or `mixed:N`; see `mixed_level`."""
    augment: str
    passes: int
    """Forward passes that a process runs at once: one on a GPU, one for each core on a CPU."""
    others: int = field(default=0, compare=False)
    """Other networks that stay loaded beside it, the last used ones: as many as work on a scene in turn."""
    trust: bool = False
    """Whether the network may be code that is not geoseg's."""


def mixed_level(precision: str) -> int | None:
    """Return N of the precision `mixed:N`, else None.

    Layers before the resolution is halved for the N + 1st time compute in float32, those after in bfloat16.

    Examples
    --------
    >>> mixed_level("mixed:3"), mixed_level("bf16")
    (3, None)
    """
    kind, _, level = precision.partition(":")
    return int(level) if kind == "mixed" and level else None


def needs_bfloat16(precision: str) -> bool:
    """Return whether a processor must have bfloat16 for a precision."""
    return precision == "bf16" or mixed_level(precision) is not None
