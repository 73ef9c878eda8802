"""What a network predicts for each pixel, and the planes of a staged block that its sums become.

The sums are the same for every kind of network: integers, weighted and added tile by tile. What differs is
how finished sums are read: as the class with the largest probability, as labels that each pass a threshold,
or as a value on a scale.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from geoseg.core.legend import NODATA
from geoseg.tiling import _kernels
from geoseg.tiling.arrays import HOST, Arrays, Slices, Weights
from geoseg.tiling.thresholds import Thresholds

STEPS = 65_534
"""Steps between the least and the largest value of a regression; the level after the last one is nodata."""

NO_LEVEL = STEPS + 1
"""Level of pixels without a value."""

BINS = 255
"""Bins of the histogram of a regression, of 257 levels each."""

_HALF = STEPS // 2
_ROUNDED = 1 << _kernels.PROBABILITY_BITS

REACH = _HALF / _ROUNDED
"""Distance from the middle to either end of the range of a regression: sums fit into 32 bits, and the
rounding of probabilities is that to whole levels."""

_WEIGHT_BITS = _kernels.TOTAL_BITS - _kernels.PROBABILITY_BITS
_ROWS = 64
"""Rows that are decided at once, which bounds the memory."""


class Head(Protocol):
    """What the channels of a network mean."""

    @property
    def channels(self) -> int:
        """Channels whose sums are kept."""
        ...

    @property
    def planes(self) -> int:
        """Planes that are decided for each pixel."""
        ...

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of these planes."""
        ...

    @property
    def nodata(self) -> int:
        """Number in every plane of pixels without data."""
        ...

    @property
    def staged_dtype(self) -> str:
        """Type of the planes of a staged block."""
        ...

    @property
    def pixel_bytes(self) -> int:
        """Most bytes of a pixel's planes, as they are decided or staged."""
        ...

    def decide(self, arrays: Arrays, sums: Any, here: Slices) -> NDArray[Any]:
        """Turn a part of finished sums (C, rows, cols) into planes, in this process's memory."""
        ...

    def decide_weighed(
        self, probabilities: NDArray[np.float32], weights: Weights, part: Slices
    ) -> NDArray[Any]:
        """Return the planes of a part of a block's only tile, without keeping its sums."""
        ...

    def tally(self, planes: NDArray[Any]) -> dict[str, Any]:
        """Return the counts of a settled block for the record of a run, plain values."""
        ...

    def staged(self, planes: NDArray[Any]) -> NDArray[Any]:
        """Return the planes as blocks are staged."""
        ...


@dataclass(frozen=True)
class ClassHead:
    """One class for each pixel: that with the largest probability, or that which thresholds choose."""

    ids: tuple[int, ...]
    """Class id of each channel."""
    every: bool = False
    """Whether the per cent of every class are kept, too."""
    thresholds: Thresholds | None = None
    """The rule by which a pixel gets its class; None: the most probable one."""
    dtype = np.dtype(np.uint8)
    nodata = NODATA
    staged_dtype = "uint8"

    @property
    def channels(self) -> int:
        """One for each class."""
        return len(self.ids)

    @property
    def planes(self) -> int:
        """Class id, confidence in per cent and, on request, the per cent of each class."""
        return 2 + self.every * len(self.ids)

    @property
    def pixel_bytes(self) -> int:
        """See `Head`."""
        return self.planes

    @cached_property
    def _ids(self) -> NDArray[np.uint8]:
        return np.array(self.ids, np.uint8)

    def decide(self, arrays: Arrays, sums: Any, here: Slices) -> NDArray[np.uint8]:
        """See `Head`."""
        return arrays.decide(sums, here, self._ids, every=self.every, thresholds=self.thresholds)

    def decide_weighed(
        self, probabilities: NDArray[np.float32], weights: Weights, part: Slices
    ) -> NDArray[np.uint8]:
        """See `Head`."""
        return HOST.decide_weighed(
            probabilities, weights, part, self._ids, every=self.every, thresholds=self.thresholds
        )

    def tally(self, planes: NDArray[np.uint8]) -> dict[str, Any]:
        """Return the pixels of each class, and of nodata."""
        numbers = _kernels.count(planes[0])
        pixels = {int(i): int(numbers[i]) for i in np.flatnonzero(numbers)}
        return {"nodata": pixels.pop(NODATA, 0), "classes": {str(i): n for i, n in pixels.items()}}

    def staged(self, planes: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Return the planes as they are."""
        return planes


class ByRows:
    """A head that decides some rows of sums at a time in this process's memory."""

    planes: int
    dtype: np.dtype[Any]

    def decide(self, arrays: Arrays, sums: Any, here: Slices) -> NDArray[Any]:
        """See `Head`."""
        return self._decided(here, lambda rows: arrays.get(sums[:, rows, here[1]]))

    def decide_weighed(
        self, probabilities: NDArray[np.float32], weights: Weights, part: Slices
    ) -> NDArray[Any]:
        """See `Head`."""
        return self._decided(part, lambda rows: HOST.weighed(probabilities, weights, (rows, part[1])))

    def _decided(self, here: Slices, sums: Callable[[slice], NDArray[np.int32]]) -> NDArray[Any]:
        rows, cols = here
        planes = np.empty((self.planes, rows.stop - rows.start, cols.stop - cols.start), self.dtype)
        for strip in _strips(rows):
            planes[:, strip.start - rows.start : strip.stop - rows.start] = self._read(sums(strip))
        return planes

    def _read(self, sums: NDArray[np.int32]) -> NDArray[Any]:
        """Return the planes of finished sums."""
        raise NotImplementedError


def _strips(rows: slice) -> Iterator[slice]:
    for start in range(rows.start, rows.stop, _ROWS):
        yield slice(start, min(start + _ROWS, rows.stop))


@dataclass(frozen=True)
class LabelHead(ByRows):
    """Each class on its own: a pixel has it when its probability reaches the threshold."""

    ids: tuple[int, ...]
    """Id of each channel, for counts."""
    thresholds: tuple[float, ...]
    """Probability of each channel from which on a pixel has its label, above 0."""
    every: bool = False
    """Whether the per cent of every class are kept, too."""
    dtype = np.dtype(np.uint8)
    nodata = NODATA
    staged_dtype = "uint8"

    @property
    def channels(self) -> int:
        """One for each class."""
        return len(self.ids)

    @property
    def planes(self) -> int:  # type: ignore[override]
        """0 or 1 of each class and, on request, the per cent of each."""
        return (1 + self.every) * len(self.ids)

    @property
    def pixel_bytes(self) -> int:
        """See `Head`."""
        return self.planes

    @cached_property
    def _least(self) -> NDArray[np.int32]:
        """Least sum of each channel that reaches its threshold, shape (C, 1, 1)."""
        whole = 1 << _kernels.TOTAL_BITS
        return np.array([max(1, round(t * whole)) for t in self.thresholds], np.int32)[:, None, None]

    def _read(self, sums: NDArray[np.int32]) -> NDArray[np.uint8]:
        planes = np.empty((self.planes, *sums.shape[1:]), np.uint8)
        np.greater_equal(sums, self._least, out=planes[: len(sums)], casting="unsafe")
        if self.every:
            planes[len(sums) :] = _kernels.percents(sums)
        return planes

    def tally(self, planes: NDArray[np.uint8]) -> dict[str, Any]:
        """Return the pixels that have each label, those with data, and those of nodata."""
        pixels = {str(i): int((p == 1).sum()) for i, p in zip(self.ids, planes, strict=False)}
        nodata = int((planes[0] == NODATA).sum())
        return {"nodata": nodata, "valid": planes[0].size - nodata, "classes": pixels}

    def staged(self, planes: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Return the planes as they are."""
        return planes


@dataclass(frozen=True)
class ValueHead(ByRows):
    """A number for each pixel, on a scale of `STEPS` steps from the least to the largest value.

    Examples
    --------
    >>> head = ValueHead(0.0, 65.534)
    >>> head.values(np.array([0, 1, 65_534], np.uint16)).round(4).tolist()
    [0.0, 0.001, 65.534]
    """

    low: float
    high: float
    channels = 1
    planes = 1
    dtype = np.dtype(np.uint16)
    nodata = NO_LEVEL
    staged_dtype = "float32"
    pixel_bytes = 6

    @property
    def step(self) -> float:
        """Difference of two levels, in the unit of the values."""
        return (self.high - self.low) / STEPS

    @cached_property
    def _table(self) -> NDArray[np.float32]:
        table = np.append(np.linspace(self.low, self.high, STEPS + 1), np.nan)
        return table.astype(np.float32)

    def values(self, levels: NDArray[np.uint16]) -> NDArray[np.float32]:
        """Return levels in the unit of the values, NaN where there is none."""
        values: NDArray[np.float32] = self._table[levels]
        return values

    def _read(self, sums: NDArray[np.int32]) -> NDArray[np.uint16]:
        # The largest sum is 2^31 - 2^16, so that half a level more still fits.
        return (((sums + (1 << (_WEIGHT_BITS - 1))) >> _WEIGHT_BITS) + _HALF).astype(np.uint16)

    def tally(self, planes: NDArray[np.uint16]) -> dict[str, Any]:
        """Return sums over the levels as whole numbers, so that those of blocks add up exactly."""
        counts = np.zeros(NO_LEVEL + 1, np.int64)
        for strip in _strips(slice(0, planes.shape[1])):
            counts += np.bincount(planes[0, strip].ravel(), minlength=len(counts))
        return {"nodata": int(counts[NO_LEVEL]), "valid": int(counts[:NO_LEVEL].sum()), "classes": {}} | {
            "levels": level_sums(counts[:NO_LEVEL])
        }

    def staged(self, planes: NDArray[np.uint16]) -> NDArray[np.float32]:
        """Return the values as float32, NaN without data."""
        return self.values(planes)


def add_levels(sums: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """Return the sums of all blocks, see `level_sums`; empty without blocks."""
    blocks = list(sums)
    if not blocks:
        return {}
    return {
        "sum": sum(b["sum"] for b in blocks),
        "squares": sum(b["squares"] for b in blocks),
        "least": min((b["least"] for b in blocks if b["least"] is not None), default=None),
        "most": max((b["most"] for b in blocks if b["most"] is not None), default=None),
        "bins": np.sum([b["bins"] for b in blocks], axis=0, dtype=np.int64).tolist(),
    }


def level_sums(counts: NDArray[np.int64]) -> dict[str, Any]:
    """Return the sums over pixels counted by level, shape (STEPS + 1,), as whole numbers."""
    seen = np.flatnonzero(counts)
    # In whole numbers of Python: squares of levels of many pixels exceed 64 bits.
    pairs = [(int(i), int(counts[i])) for i in seen]
    return {
        "sum": sum(i * n for i, n in pairs),
        "squares": sum(i * i * n for i, n in pairs),
        "least": pairs[0][0] if pairs else None,
        "most": pairs[-1][0] if pairs else None,
        "bins": counts.reshape(BINS, -1).sum(axis=1).tolist(),
    }
