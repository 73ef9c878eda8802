"""The sums of several networks that predict the same classes: their mean, and how far they disagree.

A block keeps the sums of each member by itself, one after the other, so all that holds for the sums of one
network holds for these. What a pixel becomes is decided from whole numbers.
"""

import math
from dataclasses import dataclass
from functools import cache, cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geoseg.core.legend import NODATA
from geoseg.tiling import _kernels
from geoseg.tiling.arrays import HOST, all_of
from geoseg.tiling.heads import ByRows, ClassHead
from geoseg.tiling.thresholds import Thresholds

_ROUNDED = 1 << _kernels.PROBABILITY_BITS
_WEIGHT_BITS = _kernels.TOTAL_BITS - _kernels.PROBABILITY_BITS
_BIT = 1 << 16
"""Entropy of one bit, in the whole numbers that entropies are added in."""


@dataclass(frozen=True)
class EnsembleHead(ByRows):
    """One class for each pixel, by the mean of what several networks give it."""

    ids: tuple[int, ...]
    """Class id of each channel of a member."""
    members: int
    every: bool = False
    """Whether the per cent of every class are kept, too."""
    thresholds: Thresholds | None = None
    """The rule by which a pixel gets its class; None: the most probable one."""
    disagreement: bool = False
    """Whether the disagreement of the members is kept, too, as the last plane."""
    dtype = np.dtype(np.uint8)
    nodata = NODATA
    staged_dtype = "uint8"

    @property
    def channels(self) -> int:
        """One for each class of each member: all of the first member, then all of the second."""
        return self.members * len(self.ids)

    @property
    def planes(self) -> int:  # type: ignore[override]
        """Class id, confidence in per cent and, on request, each class and the disagreement in per cent."""
        return 2 + self.every * len(self.ids) + self.disagreement

    @property
    def pixel_bytes(self) -> int:
        """See `Head`."""
        return self.planes

    @cached_property
    def _ids(self) -> NDArray[np.uint8]:
        return np.array(self.ids, np.uint8)

    def _read(self, sums: NDArray[np.int32]) -> NDArray[np.uint8]:
        each = sums.reshape(self.members, len(self.ids), *sums.shape[1:])
        totals = each.sum(axis=0, dtype=np.int64)
        mean = (totals // self.members).astype(np.int32)
        planes = np.empty((self.planes, *sums.shape[1:]), np.uint8)
        planes[: self.planes - self.disagreement] = HOST.decide(
            mean, all_of(mean), self._ids, every=self.every, thresholds=self.thresholds
        )
        if self.thresholds is None:
            # By the sum, of which the mean has lost the last bit.
            planes[0] = self._ids[totals.argmax(axis=0)]
        if self.disagreement:
            planes[-1] = disagreement(each)
            planes[-1][planes[0] == NODATA] = NODATA
        return planes

    def tally(self, planes: NDArray[np.uint8]) -> dict[str, Any]:
        """Return the pixels of each class, and of nodata."""
        return ClassHead(self.ids).tally(planes)

    def staged(self, planes: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Return the planes as they are."""
        return planes


def disagreement(sums: NDArray[np.int32]) -> NDArray[np.uint8]:
    """Return by how many per cent the members of an ensemble disagree.

    It is the mutual information of class and member: the entropy of the mean prediction less the mean entropy
    of the predictions (Houlsby et al. 2011, Bayesian Active Learning for Classification and Preference
    Learning, arXiv:1112.5745, equation 2). Where all members are unsure alike it is 0. Where each is sure of
    another class it is 100 %: the logarithm of the number of members, or of classes where those are fewer.

    Parameters
    ----------
    sums
        Finished sums of each member, 0 to 2^30, shape (members, classes, rows, cols).

    Returns
    -------
    percent
        Whole per cent, rounded half up, shape (rows, cols).

    Examples
    --------
    >>> sure = 2**30
    >>> one, other = [[[sure, sure]], [[0, 0]]], [[[0, sure]], [[sure, 0]]]
    >>> disagreement(np.array([one, other], np.int32)).tolist()
    [[100, 0]]
    """
    members, classes = sums.shape[:2]
    half = 1 << (_WEIGHT_BITS - 1)
    entropies, table = np.zeros(sums.shape[2:], np.int64), _entropies()
    for member in sums:
        for channel in member:
            entropies += table[(channel + half) >> _WEIGHT_BITS]
    mixed = np.zeros_like(entropies)
    for channel in sums.swapaxes(0, 1):
        total = channel.sum(axis=0, dtype=np.int64)
        mixed += table[(total + members * half) // (members << _WEIGHT_BITS)]
    # Rounding may leave a little less than nothing.
    shared = np.maximum(members * mixed - entropies, 0)
    most = members * round(math.log2(min(members, classes)) * _BIT)
    percent: NDArray[np.uint8] = np.minimum((200 * shared + most) // (2 * most), 100).astype(np.uint8)
    return percent


@cache
def _entropies() -> NDArray[np.int64]:
    """Return -p log2 p of each rounded probability p, in whole numbers: sums of them need no order."""
    p = np.arange(_ROUNDED + 1) / _ROUNDED
    p[0] = 1
    table: NDArray[np.int64] = np.rint(-p * np.log2(p) * _BIT).astype(np.int64)
    return table
