"""`search.yaml`: which settings of a training are tried, and how often."""

from typing import Annotated, Any

from pydantic import Field, model_validator

from geoseg.config.fields import GATE, Count, Finite, Positive, Whole
from geoseg.config.loader import Document

SEARCHED = ("chips", "augmentation", "network", "transfer", "loss", "optimizer", "fit", "detection", "seed")
"""First parts of the keys that may be tried: all others change what val is, or what is learned."""


class Interval(Document):
    """Numbers from the first to the last, both included; exactly one key besides `step`."""

    log: tuple[Positive, Positive] | None = None
    """Numbers whose logarithms are drawn alike, as of a learning rate."""
    uniform: tuple[Finite, Finite] | None = None
    """Numbers that are drawn alike."""
    whole: tuple[Whole, Whole] | None = None
    """Whole numbers."""
    step: Count | None = None
    """Of whole numbers: the distance between them."""

    @model_validator(mode="after")
    def _one_kind(self) -> "Interval":
        given = [v for v in (self.log, self.uniform, self.whole) if v is not None]
        if len(given) != 1:
            raise ValueError("write one of log: [low, high], uniform: [low, high] or whole: [low, high]")
        if not given[0][0] < given[0][1]:
            raise ValueError("the smaller number comes first")
        if self.step is not None and self.whole is None:
            raise ValueError("step goes with whole")
        return self


Choices = Annotated[tuple[Any, ...], Field(min_length=1)]


class Search(Document):
    """A search for settings of a training."""

    space: Annotated[dict[str, Interval | Choices], Field(min_length=1)]
    """Dotted keys of the training file, as `--set` takes them: a list of values, or an interval."""
    trials: Annotated[int, Field(ge=1, le=10_000), GATE] = 20
    """Trainings in all; a search that is run again goes on until there are as many."""
    prune: bool = True
    """End a trial whose figure on val is worse than the median of the others after as many epochs."""
    seed: Whole = 0

    @model_validator(mode="after")
    def _keys_may_be_tried(self) -> "Search":
        for key in self.space:
            if key.split(".")[0] not in SEARCHED:
                raise ValueError(
                    f"space: {key} is not tried: figures on val would not compare; keys of "
                    f"{', '.join(SEARCHED)} are"
                )
        return self
