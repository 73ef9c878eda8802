"""Average precision of boxes and masks, by torchmetrics."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geoseg.core.detections import SCORES, Detections
from geoseg.core.extras import require
from geoseg.core.notices import ignore_warnings

_MOST = 1_000_000
"""Detections of an image that count; torchmetrics stops at 100."""

_SIZES = ("small", "medium", "large")


@dataclass(frozen=True)
class AveragePrecision:
    """Average precision of boxes or masks; NaN where there is nothing to find."""

    ap: float
    """Mean over the IoU thresholds 0.5, 0.55, ... 0.95 and the classes."""
    ap50: float
    ap75: float
    sizes: dict[str, float]
    """Of objects of less than 32 x 32 px, of less than 96 x 96 px, and of larger ones."""
    classes: dict[int, float]
    """`ap` of each class that occurs, by its position in the legend."""


class Precision:
    """Gathers predicted and true objects, image by image.

    Raises
    ------
    ConfigError
        When faster-coco-eval is not installed.

    Examples
    --------
    >>> objects = Detections.of([(0, 0, np.ones((8, 8), dtype=bool), 0, 9_000)])
    >>> measure = Precision()
    >>> measure.add(objects, objects, (16, 16))
    >>> measure.compute()["masks"].ap
    1.0
    """

    def __init__(self) -> None:
        require("faster_coco_eval", "instances", "average precision")
        from torchmetrics.detection import MeanAveragePrecision  # noqa: PLC0415

        self._metric = MeanAveragePrecision(
            iou_type=("bbox", "segm"), backend="faster_coco_eval", class_metrics=True,
            max_detection_thresholds=[1, 100, _MOST],
        )  # fmt: skip
        self._metric.warn_on_many_detections = False

    def add(self, predicted: Detections, true: Detections, shape: tuple[int, int]) -> None:
        """Add the objects of an image of so many rows and columns; scores of true ones are not looked at."""
        import torch  # noqa: PLC0415

        metric = self._metric
        # The masks go in as run lengths: torchmetrics would take each in the size of the image.
        for found, name in ((predicted, "detection"), (true, "groundtruth")):
            boxes = found.boxes[:, [1, 0, 3, 2]].astype(np.float32)
            boxes[:, 2:] -= boxes[:, :2]
            getattr(metric, f"{name}_box").append(torch.from_numpy(boxes))
            getattr(metric, f"{name}_mask").append(_packed(found, shape))
            getattr(metric, f"{name}_labels").append(torch.from_numpy(found.classes.astype(np.int64)))
        metric.detection_scores.append(torch.from_numpy(predicted.scores.astype(np.float32) / SCORES))
        nothing = torch.zeros(len(true), dtype=torch.int64)
        metric.groundtruth_crowds.append(nothing)
        metric.groundtruth_area.append(nothing)

    def compute(self) -> dict[str, AveragePrecision]:
        """Return the figures of `boxes` and `masks`."""
        with ignore_warnings():  # compute before update: its states were filled directly
            result = self._metric.compute()
        return {"boxes": _figures(result, "bbox"), "masks": _figures(result, "segm")}


def _figures(result: Mapping[str, Any], kind: str) -> AveragePrecision:
    def figure(name: str) -> float:
        value = float(result[f"{kind}_{name}"])
        return value if value >= 0 else math.nan  # -1: nothing of that kind

    per_class = result[f"{kind}_map_per_class"].reshape(-1).tolist()
    names = result["classes"].reshape(-1).tolist()
    return AveragePrecision(
        figure("map"), figure("map_50"), figure("map_75"),
        {size: figure(f"map_{size}") for size in _SIZES},
        {int(c): v if v >= 0 else math.nan for c, v in zip(names, per_class, strict=True)},
    )  # fmt: skip


def _packed(found: Detections, shape: tuple[int, int]) -> tuple[tuple[tuple[int, int], bytes], ...]:
    """Return the masks of an image as run lengths."""
    from faster_coco_eval import mask as coco  # noqa: PLC0415

    packed = []
    for box, mask in zip(found.boxes.tolist(), found.masks, strict=True):
        counts = run_lengths(mask, box[0], box[1], shape).tolist()
        runs = coco.frPyObjects({"size": list(shape), "counts": counts}, *shape)
        packed.append((shape, runs["counts"]))
    return tuple(packed)


def run_lengths(mask: NDArray[np.bool_], row: int, col: int, shape: tuple[int, int]) -> NDArray[np.int64]:
    """Return the lengths of runs outside and inside, in turn, down the columns of an image.

    Parameters
    ----------
    mask
        Pixels of an object within its box.
    row, col
        Place of the box in the image.
    shape
        Rows and columns of the image.
    """
    edges = np.diff(np.pad(mask, ((1, 1), (0, 0))).astype(np.int8), axis=0)
    # Transposed, since runs go down the columns.
    (starts_col, starts_row), (stops_col, stops_row) = np.nonzero(edges.T == 1), np.nonzero(edges.T == -1)
    starts = (col + starts_col) * shape[0] + row + starts_row
    stops = (col + stops_col) * shape[0] + row + stops_row
    # Where one run ends at the foot of a column and the next begins at the head of the following one.
    joined = starts[1:] == stops[:-1]
    starts, stops = starts[np.append(True, ~joined)], stops[np.append(~joined, True)]
    edges_flat = np.stack([starts, stops], axis=1).ravel()
    return np.diff(np.concatenate([[0], edges_flat, [shape[0] * shape[1]]]))
