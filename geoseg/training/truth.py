"""What the labels of a training say, by its task."""

from geoseg.config.legend import LegendDocument
from geoseg.config.training import Training
from geoseg.scenes.truth import ClassTruth, FlagTruth, NumberTruth, ObjectTruth, Truth
from geoseg.training.mapping import LabelMapping


def truth_of(document: Training, legend: LegendDocument, mapping: LabelMapping | None = None) -> Truth:
    """Return what the labels of a training say; `mapping` is of those whose classes are others."""
    if document.task == "regression":
        return NumberTruth()
    if document.task == "multilabel":
        return FlagTruth(tuple(c.slug for c in legend.classes))
    truth = ObjectTruth if document.task == "instances" else ClassTruth
    return truth(legend) if mapping is None else truth(mapping.legend, mapping.remap, mapping.names)


def counted(document: Training, legend: LegendDocument) -> list[str]:
    """Return what is counted in cells: the numbers, or the classes, of objects also the background."""
    if document.target is not None:
        return [document.target.name]
    return [*(c.slug for c in legend.classes), *["background"] * (document.task == "instances")]
