"""The scores of a network that finds objects, as card and record hold them."""

from typing import Any

from pydantic import BaseModel, ConfigDict, SerializerFunctionWrapHandler, model_serializer

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
    datasets: dict[str, ObjectScores] = {}
    """Of each of several data sets, on the same part."""

    @model_serializer(mode="wrap")
    def _without_nothing(self, serialize: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Leave out what a training on a single data set has not."""
        plain: dict[str, Any] = serialize(self)
        return {k: v for k, v in plain.items() if k != "datasets" or v}
