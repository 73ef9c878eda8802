"""Thresholds of classes: which class a pixel gets when the most probable one is not always wanted."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from geoseg.tiling._kernels import LIKELIEST, NOTHING, PROBABILITY_BITS, TOTAL_BITS

__all__ = ["LIKELIEST", "NOTHING", "Thresholds"]


@dataclass(frozen=True)
class Thresholds:
    """The rule for one network, in its channels.

    A class is taken where its probability is at least its threshold; of several, the one whose probability is
    the largest multiple of its threshold, of equal ones the first. Where no threshold is reached, `otherwise`
    says what a pixel becomes. All of it is compared in whole numbers.
    """

    least: tuple[int, ...]
    """Sum of weighted probabilities that each channel needs; 0 for a channel without a threshold."""
    otherwise: int = LIKELIEST
    """Channel of a class; or `LIKELIEST`: the most probable class without a threshold, or of all classes when
    each has one; or `NOTHING`: nodata."""

    @classmethod
    def of(
        cls, slugs: Sequence[str], shares: Mapping[str, float], otherwise: int = LIKELIEST
    ) -> "Thresholds":
        """Return the rule for classes in channel order, from thresholds (above 0, to 1) by slug.

        Thresholds are rounded as probabilities are, to multiples of 2^-14.

        Examples
        --------
        >>> Thresholds.of(["clear", "cloud"], {"cloud": 0.5}).least == (0, 2**29)
        True
        """
        shift = TOTAL_BITS - PROBABILITY_BITS
        steps = {slug: max(1, round(share * (1 << PROBABILITY_BITS))) for slug, share in shares.items()}
        return cls(tuple(steps.get(slug, 0) << shift for slug in slugs), otherwise)

    @property
    def sums(self) -> NDArray[np.int64]:
        """Sum that each channel needs, shape (C,)."""
        return np.array(self.least, np.int64)
