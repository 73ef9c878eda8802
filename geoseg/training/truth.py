"""What the labels of a training say, by its task."""

from geoseg.config.legend import LegendDocument
from geoseg.config.training import Training
from geoseg.scenes.truth import ClassTruth, FlagTruth, NumberTruth, ObjectTruth, Truth


def truth_of(document: Training, legend: LegendDocument) -> Truth:
    """Return what the labels of a training say."""
    if document.task == "regression":
        return NumberTruth()
    if document.task == "multilabel":
        return FlagTruth(tuple(c.slug for c in legend.classes))
    return ObjectTruth(legend) if document.task == "instances" else ClassTruth(legend)


def counted(document: Training, legend: LegendDocument) -> list[str]:
    """Return what is counted in cells: the numbers, or the classes, of objects also the background."""
    if document.target is not None:
        return [document.target.name]
    return [*(c.slug for c in legend.classes), *["background"] * (document.task == "instances")]
