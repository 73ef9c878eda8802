"""Gather the objects of a whole scene, window by window: the memory is that of their masks."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from geoseg.core.detections import SCORES, Detections
from geoseg.core.errors import SceneError, one_line
from geoseg.core.geometry import Window, windows_of
from geoseg.core.legend import IGNORE, NO_OBJECT, UNLABELLED
from geoseg.evaluation.class_map import ClassMap
from geoseg.evaluation.compare import ProbabilityRaster
from geoseg.scenes.coco import mask_of_runs
from geoseg.scenes.instances import LabelObject, ObjectLabels, cropped
from geoseg.scenes.labels import Labels

SIDE = 2048
"""Side of the windows that are read at a time."""

COCO_RESULTS = "objects.coco.json"
"""Objects of a run with their scores and whole masks, beside its `instances.tif`."""


@dataclass
class _Parts:
    """The parts of an object that were read so far."""

    channel: int
    masks: list[tuple[int, int, NDArray[np.bool_]]]

    def whole(self) -> tuple[int, int, NDArray[np.bool_]]:
        """Return the first row and column of the object, and its mask."""
        top, left = min(m[0] for m in self.masks), min(m[1] for m in self.masks)
        bottom = max(m[0] + m[2].shape[0] for m in self.masks)
        right = max(m[1] + m[2].shape[1] for m in self.masks)
        mask = np.zeros((bottom - top, right - left), dtype=np.bool_)
        for row, col, part in self.masks:
            mask[row - top : row - top + part.shape[0], col - left : col - left + part.shape[1]] |= part
        return top, left, mask


def true_objects(labels: ObjectLabels) -> Detections:
    """Return the labelled objects of a scene, in the order of their numbers."""
    shape = labels.geobox.shape.y, labels.geobox.shape.x
    return _gathered(labels.objects(w) for w in windows_of(shape, SIDE))


def mapped_objects(numbers: Labels, classes: ClassMap, scores: ProbabilityRaster | None) -> Detections:
    """Return the objects of a map: pixels of one number, the class of most of them, and their mean score.

    Parameters
    ----------
    numbers
        The raster of object numbers, 0 where there is none.
    classes
        The class map of the same run.
    scores
        Its confidence; None: all scores are 1.
    """
    shape = numbers.geobox.shape.y, numbers.geobox.shape.x
    votes: dict[tuple[int, int], int] = {}
    sums: dict[int, float] = {}
    parts: dict[int, _Parts] = {}
    for window in windows_of(shape, SIDE):
        ids, channels = numbers.read(window), classes.read(window)
        share = np.ones(window.shape)
        if scores is not None:
            share[ids > NO_OBJECT] = scores.read(window, ids > NO_OBJECT)[0]
        for number in np.unique(ids[ids > NO_OBJECT]).tolist():
            own = ids == number
            one = cropped(number, IGNORE, window, own, 0)
            assert one is not None  # noqa: S101 (the number is in the window)
            parts.setdefault(number, _Parts(IGNORE, [])).masks.append((one.row, one.col, one.mask))
            for channel, n in zip(*np.unique(channels[own], return_counts=True), strict=True):
                votes[number, int(channel)] = votes.get((number, int(channel)), 0) + int(n)
            sums[number] = sums.get(number, 0.0) + float(share[own].sum())
    best: dict[int, tuple[int, int]] = {}
    for (number, channel), n in sorted(votes.items()):
        if channel != IGNORE and n > best.get(number, (0, 0))[1]:
            best[number] = channel, n
    found = []
    for number in sorted(best):
        row, col, mask = parts[number].whole()
        score = min(SCORES, round(SCORES * sums[number] / int(mask.sum())))
        found.append((row, col, mask, best[number][0], score))
    return Detections.of(found)


def coco_objects(path: Path, shape: tuple[int, int], channel_of: Mapping[int, int]) -> Detections:
    """Return the objects of COCO results, whose category is a class id.

    Parameters
    ----------
    path
        A JSON list, each with `category_id`, `score` and `segmentation` in run lengths.
    shape
        Rows and columns of the map.
    channel_of
        Position in the legend of each class id.

    Raises
    ------
    SceneError
        When the file is damaged.
    """
    try:
        results = json.loads(path.read_text(encoding="utf-8"))
        found = []
        for one in results:
            col, row, width, height = (int(v) for v in one["bbox"])
            window = Window.of(row, col, height, width)
            mask = mask_of_runs(one["segmentation"], shape, str(path), window)
            score = round(float(one["score"]) * SCORES)
            found.append((row, col, mask, channel_of[int(one["category_id"])], score))
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise SceneError(f"{path}: cannot be read as COCO results: {one_line(error)[:100]}") from error
    return Detections.of(found)


def known_only(found: Detections, labels: ObjectLabels) -> Detections:
    """Return the objects of which at least half lies where the reference says what is there."""
    shape = labels.geobox.shape.y, labels.geobox.shape.x
    unknown = np.zeros(len(found), dtype=np.int64)
    for window in windows_of(shape, SIDE):
        dark = labels.read(window) == UNLABELLED
        if not dark.any():
            continue
        for i in _meeting(found, window):
            box, mask = Window.of(*_corner(found, i), *found.masks[i].shape), found.masks[i]
            part = box.intersect(window)
            unknown[i] += np.count_nonzero(dark[part.relative_to(window)] & mask[part.relative_to(box)])
    sizes = np.array([np.count_nonzero(m) for m in found.masks], dtype=np.int64)
    return found.chosen(np.flatnonzero(2 * unknown <= sizes))


def _corner(found: Detections, i: int) -> tuple[int, int]:
    return int(found.boxes[i, 0]), int(found.boxes[i, 1])


def _meeting(found: Detections, window: Window) -> list[int]:
    top, left, bottom, right = found.boxes.T
    meets = (top < window.rows.stop) & (bottom > window.rows.start)
    meets &= (left < window.cols.stop) & (right > window.cols.start)
    return np.flatnonzero(meets).tolist()


def _gathered(windows: Iterable[Iterable[LabelObject]]) -> Detections:
    parts: dict[int, _Parts] = {}
    for objects in windows:
        for one in objects:
            parts.setdefault(one.number, _Parts(one.channel, [])).masks.append((one.row, one.col, one.mask))
    return Detections.of([(*parts[n].whole(), parts[n].channel, SCORES) for n in sorted(parts)])
