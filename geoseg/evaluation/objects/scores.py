"""The scores of found objects, as reports, cards and records hold them."""

import math
from collections.abc import Mapping
from typing import Annotated

from pydantic import BaseModel, BeforeValidator, ConfigDict

from geoseg.core.legend import Legend
from geoseg.evaluation.objects.matching import Counts, Tally
from geoseg.evaluation.objects.precision import AveragePrecision


def _plain(value: float | None) -> float | None:
    return None if value is None or not math.isfinite(value) else round(float(value), 4)


Figure = Annotated[float | None, BeforeValidator(_plain)]
"""A figure of four decimals; None where there is nothing to measure."""


class _Values(BaseModel):
    model_config = ConfigDict(frozen=True)


class CountScores(_Values):
    """Predicted and true objects at the score threshold and an IoU of 0.5."""

    objects: int
    """True ones."""
    detections: int
    precision: Figure
    recall: Figure
    f1: Figure
    count_error: Figure
    """Detections less true objects, as a share of the true ones."""
    duplicates: int
    """Detections of an object that a better one has found."""


class PrecisionScores(_Values):
    """Average precision of boxes or masks: mean over IoU 0.5 to 0.95, at 0.5, at 0.75, by size."""

    ap: Figure
    ap50: Figure
    ap75: Figure
    small: Figure
    """Of objects of less than 32 x 32 px."""
    medium: Figure
    """Of less than 96 x 96 px."""
    large: Figure


class ObjectClassScores(CountScores):
    """Scores of one class."""

    id: int
    slug: str
    title: str
    mask_ap: Figure
    box_ap: Figure


class ObjectScores(CountScores):
    """Scores of found objects."""

    score_threshold: float
    masks: PrecisionScores
    boxes: PrecisionScores
    classes: list[ObjectClassScores]


def count_scores(counts: Counts) -> CountScores:
    """Return counts with what follows from them."""
    return CountScores(
        objects=counts.true, detections=counts.predicted, precision=counts.precision, recall=counts.recall,
        f1=counts.f1, count_error=counts.count_error, duplicates=counts.duplicates,
    )  # fmt: skip


def object_scores(
    precision: Mapping[str, AveragePrecision], tally: Tally, threshold: float, legend: Legend
) -> ObjectScores:
    """Return the scores of objects that were compared.

    Parameters
    ----------
    precision
        Average precision of `boxes` and `masks`.
    tally
        The matches of all images.
    threshold
        Least score of a detection that counts.
    legend
        The classes.
    """
    boxes, masks = precision["boxes"], precision["masks"]
    classes = [
        ObjectClassScores(
            id=c.id, slug=c.slug, title=c.title, mask_ap=masks.classes.get(i), box_ap=boxes.classes.get(i),
            **dict(count_scores(tally.counts(threshold, i))),
        )
        for i, c in enumerate(legend.classes)
    ]  # fmt: skip
    return ObjectScores(
        **dict(count_scores(tally.counts(threshold))), score_threshold=threshold,
        masks=_precision(masks), boxes=_precision(boxes), classes=classes,
    )  # fmt: skip


def _precision(one: AveragePrecision) -> PrecisionScores:
    return PrecisionScores(ap=one.ap, ap50=one.ap50, ap75=one.ap75, **one.sizes)
