"""A segmenter for whole pictures of any size: they are resized for the network, and its answer back."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from geoseg.core.resize import resized, resized_where
from geoseg.models.backends.spec import Segmenter
from geoseg.tiling.arrays import HOST


class ResizingSegmenter:
    """A network that takes pictures of one size, for pictures of any."""

    def __init__(self, segmenter: Segmenter, shape: tuple[int, int]) -> None:
        self.segmenter, self.shape, self.arrays = segmenter, shape, segmenter.arrays

    def prepare(self, shape: tuple[int, int, int, int], dtype: np.dtype[Any]) -> None:  # noqa: ARG002
        """See `Segmenter`."""
        self.segmenter.prepare((*shape[:2], *self.shape), np.dtype(np.float32))

    def predict(self, values: Any, valid: Any, gain: NDArray[np.float32], bias: NDArray[np.float32]) -> Any:
        """Return class probabilities in the size of the pictures, see `Segmenter`."""
        numbers = values.astype(np.float32) if self.arrays is HOST else values.float()
        small, seen = resized_where(numbers, valid, self.shape)
        if self.arrays is HOST:
            small, seen = np.ascontiguousarray(small), np.ascontiguousarray(seen)
        return resized(self.segmenter.predict(small, seen, gain, bias), tuple(values.shape[-2:]))
