"""The reports of an evaluation of objects."""

from geoseg.evaluation.objects.scores import CountScores, ObjectScores
from geoseg.evaluation.reports import EvaluationReport


class _BundlePart(EvaluationReport):
    model: str
    part: str
    chips: int


class ObjectBundleReport(ObjectScores, _BundlePart):
    """A bundle that finds objects, on a part of the data of a training."""

    warnings: list[str]


class _Files(EvaluationReport):
    map: str
    reference: str
    crs: str | None
    command: str
    warnings: list[str]


class SeamScores(CountScores):
    """Counts of the objects that lie on lines where tiles meet, and of all others."""

    interior: CountScores


class ObjectMapReport(ObjectScores, _Files):
    """The objects of a map against a reference."""

    optional = ("seams",)

    left_out: int
    """Objects of the map of which most lies where the reference says nothing."""
    seams: SeamScores | None = None
    """Of a run whose tiles are known."""
