"""What the labels of a training say, by its task."""

from geoseg.config.legend import LegendDocument
from geoseg.config.training import Training
from geoseg.scenes.truth import ClassTruth, FlagTruth, NumberTruth, Truth


def truth_of(document: Training, legend: LegendDocument) -> Truth:
    """Return what the labels of a training say."""
    if document.task == "regression":
        return NumberTruth()
    if document.task == "multilabel":
        return FlagTruth(tuple(c.slug for c in legend.classes))
    return ClassTruth(legend)


def counted(document: Training, legend: LegendDocument) -> int:
    """Return the number of counts of a census cell: one of each class, one of numbers."""
    return 1 if document.task == "regression" else len(legend.classes)
