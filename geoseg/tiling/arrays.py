"""Arrays of the network's probabilities and the loops over them, in this process's memory or on a device."""

from collections.abc import Sequence
from typing import Any, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from geoseg.core import buffers
from geoseg.tiling import _kernels
from geoseg.tiling.thresholds import LIKELIEST, Thresholds

Slices: TypeAlias = tuple[slice, slice]
"""Rows and columns of an array, with both ends given."""

Weights: TypeAlias = tuple[NDArray[np.int32], NDArray[np.int32]]
"""Weights of the rows and of the columns of a tile."""


def all_of(sums: Any) -> Slices:
    """Return the slices of all sums (C, rows, cols)."""
    _, rows, cols = sums.shape
    return slice(0, rows), slice(0, cols)


class Arrays(Protocol):
    """One kind of arrays. The same probabilities give the same bytes for every kind."""

    def put(self, array: NDArray[Any]) -> Any:
        """Return an array of this process's memory as one of this kind."""
        ...

    def get(self, array: Any) -> NDArray[Any]:
        """Copy an array, or a part of one, into this process's memory."""
        ...

    def stack(self, parts: Sequence[Any], count: int) -> Any:
        """Stack arrays of one shape into one array of `count`, padded with zeros."""
        ...

    def zeros(self, shape: tuple[int, ...]) -> Any:
        """Return new sums (int32)."""
        ...

    def add(self, sums: Any, here: Slices, probabilities: Any, weights: Weights, part: Slices) -> None:
        """Add a part of a tile's probabilities (C, rows, cols), rounded and weighted, to the sums `here`."""
        ...

    def decide(
        self,
        sums: Any,
        here: Slices,
        ids: NDArray[np.uint8],
        *,
        every: bool,
        thresholds: Thresholds | None = None,
    ) -> NDArray[np.uint8]:
        """Turn a part of finished sums into the planes of a staged block, in this process's memory.

        Parameters
        ----------
        sums, here
            Weighted sums of probabilities, shape (C, rows, cols), and the part to take.
        ids
            Class id of each channel, shape (C,).
        every
            Whether to return the per cent of every class, too.
        thresholds
            The rule by which a pixel gets its class, instead of the largest sum.

        Returns
        -------
        planes
            Class id of the largest sum (of equal ones the first), that sum in whole per cent, rounded half
            up, and, with `every`, the per cent of each class; shape (2 or 2 + C, rows, cols). With
            thresholds, those of the class that they choose, and nodata in all planes where they choose none.
        """
        ...


class HostArrays:
    """Arrays of numpy in this process's memory, with compiled loops."""

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
        # Not np.zeros: the system would hand out its memory in small pages during the first additions.
        sums = buffers.empty(shape, np.int32)
        sums.fill(0)
        return sums

    def add(
        self,
        sums: NDArray[np.int32],
        here: Slices,
        probabilities: NDArray[np.float32],
        weights: Weights,
        part: Slices,
    ) -> None:
        """See `Arrays.add`."""
        _kernels.add(sums, *_start(here), probabilities, *weights, *_start(part), *_shape(part))

    def weighed(
        self, probabilities: NDArray[np.float32], weights: Weights, part: Slices
    ) -> NDArray[np.int32]:
        """Return the sums that `add` would make of zeros."""
        sums = buffers.lasting((len(probabilities), *_shape(part)), np.int32)
        _kernels.weigh(probabilities, *weights, *_start(part), sums)
        return sums

    def decide(
        self,
        sums: NDArray[np.int32],
        here: Slices,
        ids: NDArray[np.uint8],
        *,
        every: bool,
        thresholds: Thresholds | None = None,
    ) -> NDArray[np.uint8]:
        """See `Arrays.decide`."""
        planes = np.empty((2 + every * len(sums), *_shape(here)), dtype=np.uint8)
        _kernels.decide(sums, *_start(here), ids, planes, *_rule(thresholds))
        return planes

    def decide_weighed(
        self,
        probabilities: NDArray[np.float32],
        weights: Weights,
        part: Slices,
        ids: NDArray[np.uint8],
        *,
        every: bool,
        thresholds: Thresholds | None = None,
    ) -> NDArray[np.uint8]:
        """Return the result of `decide` for the sums of `weighed`, without storing them."""
        planes = np.empty((2 + every * len(probabilities), *_shape(part)), dtype=np.uint8)
        rule = _rule(thresholds)
        _kernels.decide_weighed(probabilities, *weights, *_start(part), ids, planes, *rule)
        return planes


_NONE = np.empty(0, np.int64)


def _rule(thresholds: Thresholds | None) -> tuple[NDArray[np.int64], int]:
    return (_NONE, LIKELIEST) if thresholds is None else (thresholds.sums, thresholds.otherwise)


def _start(part: Slices) -> tuple[int, int]:
    rows, cols = part
    return rows.start, cols.start


def _shape(part: Slices) -> tuple[int, int]:
    rows, cols = part
    return rows.stop - rows.start, cols.stop - cols.start


HOST = HostArrays()
"""Arrays in this process's memory."""
