"""Arrays where the network's probabilities are, and the loops over them: in this memory, or on a device."""

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from geoseg.core import buffers
from geoseg.tiling import kernels


class Arrays(Protocol):
    """One kind of arrays. Whatever the kind, the same probabilities give the same bytes."""

    def put(self, array: NDArray[Any]) -> Any:
        """Bring an array here from this process's memory."""
        ...

    def get(self, array: Any) -> NDArray[Any]:
        """Copy an array, or a part of one, into this process's memory."""
        ...

    def stack(self, parts: Sequence[Any], count: int) -> Any:
        """Return arrays of one shape as one array of `count`, filled up with zeros."""
        ...

    def zeros(self, shape: tuple[int, ...]) -> Any:
        """Return new sums (int32)."""
        ...

    def add(
        self,
        sums: Any,
        probabilities: Any,
        row_weights: NDArray[np.int32],
        col_weights: NDArray[np.int32],
    ) -> None:
        """Round the probabilities of a tile, weigh them and add them to `sums`, all (C, rows, cols)."""
        ...

    def weighed(
        self, probabilities: Any, row_weights: NDArray[np.int32], col_weights: NDArray[np.int32]
    ) -> Any:
        """Return new sums that hold one tile: what `add` makes of zeros."""
        ...

    def decide(self, sums: Any, ids: NDArray[np.uint8], *, every: bool) -> NDArray[np.uint8]:
        """Turn finished sums (C, rows, cols) into what is staged, in this process's memory.

        Parameters
        ----------
        sums
            Weighted sums of probabilities.
        ids
            Class id of each channel, shape (C,).
        every
            Whether the percent of every class is wanted, too.

        Returns
        -------
        planes
            Class id of the largest sum (the first of equals), that sum in whole percent, rounded half up, and
            on request the percent of each class; shape (2 or 2 + C, rows, cols).
        """
        ...


class HostArrays:
    """numpy's, in this process's memory; the loops are compiled."""

    def put(self, array: NDArray[Any]) -> NDArray[Any]:
        """Return the array as it is, see `Arrays.put`."""
        return array

    def get(self, array: NDArray[Any]) -> NDArray[Any]:
        """See `Arrays.get`."""
        return array.copy()

    def stack(self, parts: Sequence[NDArray[Any]], count: int) -> NDArray[Any]:
        """See `Arrays.stack`; a single array is not copied."""
        if count == 1:
            return parts[0][None]
        stacked = np.zeros((count, *parts[0].shape), dtype=parts[0].dtype)
        for k, part in enumerate(parts):
            stacked[k] = part
        return stacked

    def zeros(self, shape: tuple[int, ...]) -> NDArray[np.int32]:
        """See `Arrays.zeros`."""
        # Not np.zeros, whose memory the kernel hands out in small pages while it is added to.
        sums = buffers.empty(shape, np.int32)
        sums.fill(0)
        return sums

    def add(
        self,
        sums: NDArray[np.int32],
        probabilities: NDArray[np.float32],
        row_weights: NDArray[np.int32],
        col_weights: NDArray[np.int32],
    ) -> None:
        """See `Arrays.add`."""
        kernels.add(sums, probabilities, row_weights, col_weights)

    def weighed(
        self,
        probabilities: NDArray[np.float32],
        row_weights: NDArray[np.int32],
        col_weights: NDArray[np.int32],
    ) -> NDArray[np.int32]:
        """See `Arrays.weighed`."""
        sums = buffers.empty(probabilities.shape, np.int32)
        kernels.weigh(probabilities, row_weights, col_weights, sums)
        return sums

    def decide(self, sums: NDArray[np.int32], ids: NDArray[np.uint8], *, every: bool) -> NDArray[np.uint8]:
        """See `Arrays.decide`."""
        planes = np.empty((2 + every * len(sums), *sums.shape[1:]), dtype=np.uint8)
        kernels.decide(sums, ids, planes[0], planes[1])
        for channel, plane in zip(sums, planes[2:], strict=False):
            kernels.percent(channel, plane)
        return planes


HOST = HostArrays()
"""Arrays in this process's memory."""
