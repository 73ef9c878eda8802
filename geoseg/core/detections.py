"""Objects that a network detects in a tile: boxes, classes, scores and masks."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

SCORES = 10_000
"""Scores are whole numbers of 1/10000, so that their order is the same on every machine."""


@dataclass(frozen=True)
class Detections:
    """The objects of one tile, in order of falling score.

    Each box is the tightest one around its mask, so the two never disagree.

    Examples
    --------
    >>> mask = np.ones((2, 3), dtype=bool)
    >>> found = Detections.of([(4, 5, mask, 1, 9_000)])
    >>> found.boxes.tolist(), found.scores.tolist()
    ([[4, 5, 6, 8]], [9000])
    """

    boxes: NDArray[np.int32]
    """Shape (n, 4): first row, first column, row and column behind the last, in pixels of the tile."""
    classes: NDArray[np.uint8]
    """Position of each object's class in the legend of the bundle, from 0, shape (n,)."""
    scores: NDArray[np.uint16]
    """Shape (n,), in 1/10000."""
    masks: tuple[NDArray[np.bool_], ...]
    """Mask of each object within its box, shape (rows, cols) of the box."""

    @classmethod
    def of(cls, objects: Sequence[tuple[int, int, NDArray[np.bool_], int, int]]) -> "Detections":
        """Return detections from masks; masks without a pixel are left out, the others are cropped.

        Parameters
        ----------
        objects
            First row and first column of the mask in the tile, the mask (rows, cols), class and score.
        """
        found = [
            (*place, kind, score)
            for row, col, mask, kind, score in objects
            if (place := _cropped(row, col, mask)) is not None
        ]
        found.sort(key=lambda f: -f[4])  # stable: objects of one score keep the order of the network
        boxes = [(r, c, r + m.shape[0], c + m.shape[1]) for r, c, m, _, _ in found]
        return cls(
            np.array(boxes, dtype=np.int32).reshape(-1, 4),
            np.array([f[3] for f in found], dtype=np.uint8),
            np.array([f[4] for f in found], dtype=np.uint16),
            tuple(f[2] for f in found),
        )

    def __len__(self) -> int:
        return len(self.masks)

    def chosen(self, places: Sequence[int] | NDArray[np.intp]) -> "Detections":
        """Return the objects at some places, in that order."""
        at = np.asarray(places, dtype=np.intp)
        masks = tuple(self.masks[i] for i in at.tolist())
        return Detections(self.boxes[at], self.classes[at], self.scores[at], masks)


def shared_pixels(one: Detections, i: int, other: Detections, j: int) -> int:
    """Return the number of pixels that object `i` of one set and object `j` of another share."""
    a, b = one.boxes[i].tolist(), other.boxes[j].tolist()
    row, col, bottom, right = max(a[0], b[0]), max(a[1], b[1]), min(a[2], b[2]), min(a[3], b[3])
    if row >= bottom or col >= right:
        return 0
    mine = one.masks[i][row - a[0] : bottom - a[0], col - a[1] : right - a[1]]
    its = other.masks[j][row - b[0] : bottom - b[0], col - b[1] : right - b[1]]
    return int(np.count_nonzero(mine & its))


def _cropped(row: int, col: int, mask: NDArray[np.bool_]) -> tuple[int, int, NDArray[np.bool_]] | None:
    """Return a mask without the empty lines around its pixels, and its first row and column."""
    rows, cols = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    if not len(rows):
        return None
    inside = mask[rows[0] : rows[-1] + 1, cols[0] : cols[-1] + 1]
    return row + int(rows[0]), col + int(cols[0]), np.ascontiguousarray(inside)
