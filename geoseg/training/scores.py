"""The scores of a trained network, as card and record hold them."""

from typing import Any

from pydantic import BaseModel, ConfigDict, SerializerFunctionWrapHandler, model_serializer

from geoseg.evaluation.reports import ChipScores, Figure, FlagScores, NumberScores


class Spread(BaseModel):
    """A figure of several trainings."""

    model_config = ConfigDict(frozen=True)

    value: Figure
    """Of the pixels of all networks together."""
    ci95: tuple[float, float] | None
    """95 % interval over places; None with a single place."""
    seeds_mean: Figure
    seeds_sd: Figure
    """Standard deviation over seeds, each over all folds; None with one seed."""
    folds_mean: Figure
    folds_sd: Figure
    """Standard deviation over folds, each over all seeds: how much it depends on the places."""


class PlaceRow(BaseModel):
    """The figures of a place."""

    model_config = ConfigDict(frozen=True)

    place: str
    fold: int
    """The fold in which it is tested, from 1."""
    pixels: int
    """Labelled pixels."""
    figures: dict[str, Figure]
    """Of all seeds together."""


class Repeats(BaseModel):
    """What several trainings tell: figures of networks that did not see the place, and how they vary."""

    model_config = ConfigDict(frozen=True)

    about: str
    """What the figures are, in words."""
    bundle: str
    """What the weights of the bundle are, in words."""
    interval: str
    """How the interval was found."""
    unit: str
    """What was kept together and is drawn for the interval, in the plural: `places`."""
    folds: int
    seeds: int
    networks: int
    """Number of networks that were measured."""
    places: int
    figures: dict[str, Spread]
    """By name: `miou`, `iou/water`, `rmse`, ..."""
    by_fold: dict[str, dict[str, Figure]]
    by_seed: dict[str, dict[str, Figure]]
    by_place: tuple[PlaceRow, ...]


class _Reference(BaseModel):
    model_config = ConfigDict(frozen=True)

    reference: str
    """What the scores were measured on, in words."""
    repeats: Repeats | None = None
    """Of several trainings."""

    @model_serializer(mode="wrap")
    def _without_nothing(self, serialize: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Leave out what a single training, or one on a single data set, has not."""
        plain: dict[str, Any] = serialize(self)
        return {k: v for k, v in plain.items() if k not in {"repeats", "datasets"} or v}


# Fields of the last base come first.
class TrainingScores(ChipScores, _Reference):
    """Scores on the part that nothing was fitted to."""

    other_parts: dict[str, ChipScores]
    """Scores on other parts, or with test-time augmentation."""
    datasets: dict[str, ChipScores] = {}
    """Of each of several data sets, on the same part."""


class NumberTrainingScores(NumberScores, _Reference):
    """Scores of a regression on the part that nothing was fitted to."""

    other_parts: dict[str, NumberScores]
    datasets: dict[str, NumberScores] = {}


class FlagTrainingScores(FlagScores, _Reference):
    """Scores of labels on the part that nothing was fitted to."""

    other_parts: dict[str, FlagScores]
    datasets: dict[str, FlagScores] = {}
