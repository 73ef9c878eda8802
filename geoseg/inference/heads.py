"""The head of a bundle: what its network predicts for each pixel."""

from typing import Any

from geoseg.config.pipeline import Pipeline
from geoseg.core.errors import ConfigError
from geoseg.models.card import Card
from geoseg.tiling.ensemble import EnsembleHead
from geoseg.tiling.heads import ClassHead, Head, LabelHead, ValueHead
from geoseg.tiling.thresholds import Thresholds

DOES = {
    "classes": "classifies pixels",
    "instances": "finds objects, each with a class and a score",
    "regression": "predicts a number for each pixel",
    "multilabel": "tells of each label which pixels have it, by the thresholds of its card",
}
"""What the networks of a task do, for messages."""

_NAMES = {"regression": "a regression", "multilabel": "a network of labels"}


def head_of(
    card: Card,
    *,
    every: bool,
    thresholds: Thresholds | None = None,
    members: int = 1,
    disagreement: bool = False,
) -> Head:
    """Return the head of a card.

    Parameters
    ----------
    card
        The card of a bundle.
    every
        Whether the probability of every class is kept, too.
    thresholds
        The rule by which a pixel gets its class, of `task: classes`.
    members
        Networks whose mean is taken, of `task: classes`.
    disagreement
        Whether by how much these disagree is kept, too.
    """
    if card.target is not None:
        return ValueHead(card.target.min, card.target.max)
    ids = tuple(c.id for c in card.classes)
    if card.task == "multilabel":
        return LabelHead(ids, card.limits, every)
    if members > 1:
        return EnsembleHead(ids, members, every, thresholds, disagreement)
    return ClassHead(ids, every, thresholds)


def fitting_outputs(pipeline: Pipeline, card: Card) -> Pipeline:
    """Return a pipeline that asks for no more than the network of a card can give.

    Defaults that are for class maps are dropped: polygons and confidence.

    Raises
    ------
    ConfigError
        When the document itself asks for what only a class map has.
    """
    if card.task not in _NAMES:
        return pipeline
    outputs, name = pipeline.outputs, _NAMES[card.task]
    refused: dict[str, Any] = {
        "polygons": (),
        "confidence": False,
        "instances": False,
        "mask": None,
        "overlay": None,
    }
    if card.task == "regression":
        refused["probabilities"] = False
    asked = outputs.model_fields_set
    for key, nothing in refused.items():
        if key in asked and getattr(outputs, key) != nothing:
            raise ConfigError(
                f"outputs.{key}: {card.name} is {name}, which gives {_given(card)}; only a map of one class "
                f"for each pixel has {key}; leave the key out"
            )
    if "vectorize" in pipeline.model_fields_set:
        raise ConfigError(
            f"vectorize: {card.name} is {name}, which gives {_given(card)} and no polygons; leave it out"
        )
    return pipeline.model_copy(update={"outputs": outputs.model_copy(update=refused)})


def _given(card: Card) -> str:
    return "values.tif" if card.task == "regression" else "labels.tif"
