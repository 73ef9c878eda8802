"""The scores of a trained network, as card and record hold them."""

from pydantic import BaseModel, ConfigDict

from geoseg.evaluation.reports import ChipScores, FlagScores, NumberScores


class _Reference(BaseModel):
    model_config = ConfigDict(frozen=True)

    reference: str
    """What the scores were measured on, in words."""


# Fields of the last base come first.
class TrainingScores(ChipScores, _Reference):
    """Scores on the part that nothing was fitted to."""

    other_parts: dict[str, ChipScores]
    """Scores on other parts, or with test-time augmentation."""


class NumberTrainingScores(NumberScores, _Reference):
    """Scores of a regression on the part that nothing was fitted to."""

    other_parts: dict[str, NumberScores]


class FlagTrainingScores(FlagScores, _Reference):
    """Scores of labels on the part that nothing was fitted to."""

    other_parts: dict[str, FlagScores]
