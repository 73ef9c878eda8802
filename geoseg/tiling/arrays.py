"""Arrays where the network's probabilities are, and the loops over them: in this memory, or on a device."""

from collections.abc import Sequence
from typing import Any, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from geoseg.core import buffers
from geoseg.tiling import _kernels

Place: TypeAlias = tuple[slice, slice]
"""Rows and columns, both ends given."""

Weights: TypeAlias = tuple[NDArray[np.int32], NDArray[np.int32]]
"""Of the rows and the columns of a tile."""


def all_of(sums: Any) -> Place:
    """Return the place of all sums (C, rows, cols)."""
    _, rows, cols = sums.shape
    return slice(0, rows), slice(0, cols)


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

    def add(self, sums: Any, here: Place, probabilities: Any, weights: Weights, part: Place) -> None:
        """Round a part of a tile's probabilities (C, rows, cols), weigh it and add it to `sums` `here`."""
        ...

    def decide(self, sums: Any, here: Place, ids: NDArray[np.uint8], *, every: bool) -> NDArray[np.uint8]:
        """Turn a part of finished sums into what is staged, in this process's memory.

        Parameters
        ----------
        sums, here
            Weighted sums of probabilities, shape (C, rows, cols), and which of them.
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
        copied = buffers.lasting(array.shape, array.dtype)
        copied[:] = array
        return copied

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
        here: Place,
        probabilities: NDArray[np.float32],
        weights: Weights,
        part: Place,
    ) -> None:
        """See `Arrays.add`."""
        _kernels.add(sums, *_start(here), probabilities, *weights, *_start(part), *_shape(part))

    def weighed(self, probabilities: NDArray[np.float32], weights: Weights, part: Place) -> NDArray[np.int32]:
        """Return what `add` makes of zeros."""
        sums = buffers.lasting((len(probabilities), *_shape(part)), np.int32)
        _kernels.weigh(probabilities, *weights, *_start(part), sums)
        return sums

    def decide(
        self, sums: NDArray[np.int32], here: Place, ids: NDArray[np.uint8], *, every: bool
    ) -> NDArray[np.uint8]:
        """See `Arrays.decide`."""
        planes = np.empty((2 + every * len(sums), *_shape(here)), dtype=np.uint8)
        _kernels.decide(sums, *_start(here), ids, planes)
        return planes

    def decide_weighed(
        self,
        probabilities: NDArray[np.float32],
        weights: Weights,
        part: Place,
        ids: NDArray[np.uint8],
        *,
        every: bool,
    ) -> NDArray[np.uint8]:
        """Return what `decide` says of `weighed`, which is not kept."""
        planes = np.empty((2 + every * len(probabilities), *_shape(part)), dtype=np.uint8)
        _kernels.decide_weighed(probabilities, *weights, *_start(part), ids, planes)
        return planes


def _start(place: Place) -> tuple[int, int]:
    rows, cols = place
    return rows.start, cols.start


def _shape(place: Place) -> tuple[int, int]:
    rows, cols = place
    return rows.stop - rows.start, cols.stop - cols.start


HOST = HostArrays()
"""Arrays in this process's memory."""
