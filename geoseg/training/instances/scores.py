"""The scores of a network that finds objects, as card and record hold them."""

from pydantic import BaseModel, ConfigDict

from geoseg.evaluation.objects.scores import ObjectScores


class _Reference(BaseModel):
    model_config = ConfigDict(frozen=True)

    reference: str
    """What the scores were measured on, in words."""


# Fields of the last base come first.
class InstanceScores(ObjectScores, _Reference):
    """Scores on the part that nothing was fitted to."""

    other_parts: dict[str, ObjectScores]
    """Scores on other parts."""
