"""Which true objects were found: one to one at an IoU of 0.5, best scores first."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from geoseg.core.detections import SCORES, Detections, shared_pixels
from geoseg.evaluation.objects.overlap import touching

IOU = 0.5
"""Least intersection over union of the masks of a predicted object and the true one that it has found."""

CURVE = 200
"""Most points of a curve of precision over recall."""


@dataclass(frozen=True)
class Match:
    """Predicted objects of an image, best first, and the true ones that they have found."""

    scores: NDArray[np.uint16]
    """Shape (n,), falling, in 1/10000."""
    classes: NDArray[np.uint8]
    found: NDArray[np.intp]
    """Place of the true object that each has found, -1: none; shape (n,)."""
    twice: NDArray[np.bool_]
    """Whether more than half of it lies in a true object that a better one has found, shape (n,)."""
    true_classes: NDArray[np.uint8]
    """Class of each true object, shape (m,)."""

    @property
    def seen(self) -> NDArray[np.bool_]:
        """Whether each true object was found, shape (m,)."""
        seen = np.zeros(len(self.true_classes), dtype=np.bool_)
        seen[self.found[self.found >= 0]] = True
        return seen


def match(predicted: Detections, true: Detections, iou: float = IOU) -> Match:
    """Give each predicted object, best score first, the free true one of its class with the largest IoU.

    What is found by the best k does not depend on those after them.

    Parameters
    ----------
    predicted, true
        Objects of an image; scores of true ones are not looked at.
    iou
        Least IoU of the masks.
    """
    best = predicted.chosen(np.argsort(-predicted.scores.astype(int), kind="stable"))
    areas, true_areas = ([int(np.count_nonzero(m)) for m in d.masks] for d in (best, true))
    found = np.full(len(best), -1, dtype=np.intp)
    twice = np.zeros(len(best), dtype=np.bool_)
    free = np.ones(len(true), dtype=np.bool_)
    first, second = touching(best, true)
    starts = np.searchsorted(first, np.arange(len(best) + 1))
    for i in range(len(best)):
        rivals: list[tuple[float, int]] = []
        for j in second[starts[i] : starts[i + 1]].tolist():
            if best.classes[i] == true.classes[j] and (both := shared_pixels(best, i, true, j)):
                twice[i] |= not free[j] and 2 * both > areas[i]
                if free[j] and both >= iou * (areas[i] + true_areas[j] - both):
                    rivals.append((both / (areas[i] + true_areas[j] - both), -j))
        if rivals:
            found[i] = -max(rivals)[1]
            free[found[i]], twice[i] = False, False
    return Match(best.scores, best.classes, found, twice, true.classes)


@dataclass(frozen=True)
class Counts:
    """Predicted and true objects, and how many of both agree."""

    true: int
    predicted: int
    right: int
    duplicates: int = 0
    """Predicted ones of an object that a better one has found."""

    @property
    def precision(self) -> float:
        """Share of the predicted objects that are right; NaN where there is none."""
        return self.right / self.predicted if self.predicted else np.nan

    @property
    def recall(self) -> float:
        """Share of the true objects that were found; NaN where there is none."""
        return self.right / self.true if self.true else np.nan

    @property
    def f1(self) -> float:
        """Harmonic mean of precision and recall; NaN where there is nothing."""
        return 2 * self.right / (self.predicted + self.true) if self.predicted + self.true else np.nan

    @property
    def count_error(self) -> float:
        """Predicted less true objects, as a share of the true ones; NaN where there is none."""
        return (self.predicted - self.true) / self.true if self.true else np.nan


class Tally:
    """Gathers matches, image by image."""

    def __init__(self) -> None:
        self._matches: list[Match] = []

    def add(self, one: Match) -> None:
        """Add an image."""
        self._matches.append(one)

    def counts(self, threshold: float, channel: int | None = None) -> Counts:
        """Return the counts of predictions that reach a score, of one class or of all."""
        least = round(threshold * SCORES)
        true = predicted = right = duplicates = 0
        for one in self._matches:
            kept = one.scores >= least
            here = (
                one.true_classes == channel if channel is not None else np.ones(len(one.true_classes), bool)
            )
            if channel is not None:
                kept &= one.classes == channel
            true += int(here.sum())
            predicted += int(kept.sum())
            right += int((one.found[kept] >= 0).sum())
            duplicates += int(one.twice[kept].sum())
        return Counts(true, predicted, right, duplicates)

    def best_threshold(self, otherwise: float = 0.5) -> float:
        """Return the score threshold with the highest F1, in 1/10000; of equal ones the highest.

        It lies half-way between the last score that is kept and the next one. `otherwise` is returned when no
        object was found.
        """
        scores, kept, right, true = self._ranked()
        if not right.any():
            return otherwise
        k = int(np.argmax(2 * right / (kept + true)))
        below = scores[k + 1] if k + 1 < len(scores) else 0
        return float((scores[k] + below + 1) // 2) / SCORES

    def curve(self) -> tuple[tuple[float, float, float], ...]:
        """Return score, recall and precision when all of that score and above are kept, by falling score.

        Of all classes together; at most `CURVE` points, none without a true object.
        """
        scores, kept, right, true = self._ranked()
        if not true or not len(scores):
            return ()
        shown = np.unique(np.linspace(0, len(scores) - 1, CURVE).round().astype(int))
        return tuple(
            (int(scores[i]) / SCORES, int(right[i]) / true, int(right[i]) / int(kept[i]))
            for i in shown.tolist()
        )

    def _ranked(self) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64], int]:
        """Return each score, falling, the objects kept from it on, the right ones, and how many are true."""
        scores = np.concatenate([np.empty(0, np.uint16), *(m.scores for m in self._matches)]).astype(np.int64)
        right = np.concatenate([np.empty(0, bool), *(m.found >= 0 for m in self._matches)])
        order = np.argsort(-scores, kind="stable")
        scores, found = scores[order], np.cumsum(right[order])
        # Objects of one score are kept or dropped together.
        last = np.flatnonzero(np.append(scores[1:] != scores[:-1], True)[: len(scores)]).astype(np.int64)
        return scores[last], last + 1, found[last], sum(len(m.true_classes) for m in self._matches)
