"""Boundary F1: how well the outlines of a map match those of the reference.

Csurka, Larlus, Perronnin 2013, What is a good evaluation measure for semantic segmentation?, BMVC. The paper
scores each image and averages; here the boundary pixels of the whole map are counted and scored once, so that
the figure does not depend on the windows in which the map is read.
"""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geoseg.core.legend import IGNORE
from geoseg.evaluation.metrics import plain

_CLASSES_PER_PASS = 32
"""Classes that are dilated at a time, as the bits of one integer."""


def halo(tolerance: float) -> int:
    """Return the margin in pixels that `count_boundaries` needs around a window."""
    return math.floor(tolerance) + 1


@dataclass(frozen=True)
class BoundaryCounts:
    """Boundary pixels of each class, and those with a match within the tolerance, shape (C,) each."""

    reference: NDArray[np.int64]
    found: NDArray[np.int64]
    """Boundary pixels of the reference that match one of the map."""
    mapped: NDArray[np.int64]
    right: NDArray[np.int64]
    """Boundary pixels of the map that match one of the reference."""

    def __add__(self, other: "BoundaryCounts") -> "BoundaryCounts":
        return BoundaryCounts(
            self.reference + other.reference,
            self.found + other.found,
            self.mapped + other.mapped,
            self.right + other.right,
        )

    @classmethod
    def nothing(cls, classes: int) -> "BoundaryCounts":
        """Return the counts of an empty map."""
        return cls(*(np.zeros(classes, dtype=np.int64) for _ in range(4)))

    @property
    def f1(self) -> NDArray[np.float64]:
        """Boundary F1 of each class, shape (C,); NaN where neither side has a boundary."""
        with np.errstate(invalid="ignore", divide="ignore"):
            precision = np.nan_to_num(self.right / self.mapped)
            recall = np.nan_to_num(self.found / self.reference)
            f1 = np.nan_to_num(2 * precision * recall / (precision + recall))
        return np.where(self.reference + self.mapped > 0, f1, np.nan)

    def to_dict(self, slugs: list[str]) -> dict[str, Any]:
        """Return the mean over classes with a boundary, and F1 by slug."""
        f1 = self.f1
        mean = f1[~np.isnan(f1)].mean() if (~np.isnan(f1)).any() else np.nan
        return {"mean_f1": plain(mean), "classes": {s: plain(v) for s, v in zip(slugs, f1, strict=True)}}


def count_boundaries(
    reference: NDArray[np.uint8],
    prediction: NDArray[np.uint8],
    classes: int,
    tolerance: float,
    core: tuple[slice, slice] = (slice(None), slice(None)),
) -> BoundaryCounts:
    """Count boundary pixels inside the core of a window.

    A pixel is a boundary pixel when a neighbour above, below, left or right has another class. Pixels that
    are 255 in the map or in the reference count in neither and make no boundary.

    Parameters
    ----------
    reference, prediction
        Channel numbers of a window with `halo(tolerance)` pixels around its core, 255 beyond the map.
    classes
        Number of classes.
    tolerance
        Largest Euclidean distance of a match in pixels.
    core
        Rows and columns of the window that count.
    """
    known = (reference != IGNORE) & (prediction != IGNORE)
    sides = [np.where(known, side, IGNORE) for side in (reference, prediction)]
    edges = [_edges(side) for side in sides]
    totals = [
        np.bincount(s[core][e[core]], minlength=classes)[:classes] for s, e in zip(sides, edges, strict=True)
    ]
    hits = [np.zeros(classes, dtype=np.int64) for _ in sides]
    for first in range(0, classes, _CLASSES_PER_PASS):
        for mine, other in ((0, 1), (1, 0)):
            near = _dilate(_bits(sides[other], edges[other], first), tolerance)
            met = edges[mine] & ((near & _bits(sides[mine], edges[mine], first)) != 0)
            hits[mine] += np.bincount(sides[mine][core][met[core]], minlength=classes)[:classes]
    return BoundaryCounts(totals[0], hits[0], totals[1], hits[1])


def _edges(side: NDArray[np.uint8]) -> NDArray[np.bool_]:
    edges = np.zeros(side.shape, dtype=np.bool_)
    for one, other in (
        (np.s_[:-1, :], np.s_[1:, :]),
        (np.s_[:, :-1], np.s_[:, 1:]),
    ):
        differ = (side[one] != side[other]) & (side[one] != IGNORE) & (side[other] != IGNORE)
        edges[one] |= differ
        edges[other] |= differ
    return edges


def _bits(side: NDArray[np.uint8], edges: NDArray[np.bool_], first: int) -> NDArray[np.uint32]:
    """Return the class of each boundary pixel as a bit, so that many classes are dilated at once."""
    mine = edges & (side >= first) & (side < min(first + _CLASSES_PER_PASS, IGNORE))
    place = np.where(mine, side - np.uint8(first), 0).astype(np.uint32)
    return np.where(mine, np.uint32(1) << place, np.uint32(0))


def _dilate(bits: NDArray[np.uint32], tolerance: float) -> NDArray[np.uint32]:
    """Dilate each bit by a disc with the tolerance as radius."""
    reach, (height, width) = math.floor(tolerance), bits.shape
    spread = bits.copy()
    for dy in range(-reach, reach + 1):
        for dx in range(-reach, reach + 1):
            if not 0 < dy * dy + dx * dx <= tolerance * tolerance:
                continue
            to = np.s_[max(0, dy) : height + min(0, dy), max(0, dx) : width + min(0, dx)]
            come = np.s_[max(0, -dy) : height + min(0, -dy), max(0, -dx) : width + min(0, -dx)]
            spread[to] |= bits[come]
    return spread
