"""The reports of an evaluation, typed, and the JSON file that holds one.

The keys of the file are the names of the fields. Figures have six digits after the point; None stands for a
figure that would divide by nothing.
"""

import json
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, SerializerFunctionWrapHandler, model_serializer

from geoseg.core.files import as_output_error, write_atomic
from geoseg.core.secrets import redacted

Figure = float | None


class _Values(BaseModel):
    """Plain values for JSON."""

    model_config = ConfigDict(frozen=True, populate_by_name=True)


class ReliabilityBin(_Values):
    """One bin of confidence."""

    lower: Annotated[float, Field(alias="from")]
    upper: Annotated[float, Field(alias="to")]
    pixels: int
    confidence: Figure
    accuracy: Figure


class ClassScores(_Values):
    """Agreement for one class."""

    id: int
    slug: str
    title: str
    iou: Figure
    f1: Figure
    precision: Figure
    recall: Figure
    reference_pixels: int
    map_pixels: int
    reference_share: Figure
    map_share: Figure
    expected_calibration_error: Figure = None
    """Of the pixels where it is the most probable class."""
    reliability: tuple[ReliabilityBin, ...] | None = None
    """Confidence and accuracy of these pixels: the bins that have some."""

    @model_serializer(mode="wrap")
    def _without_nothing(self, serialize: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Leave out what needs probabilities where there were none."""
        plain: dict[str, Any] = serialize(self)
        if self.reliability is not None:
            plain["reliability"] = [b.model_dump(by_alias=True) for b in self.reliability]
        left_out = {k for k in ("expected_calibration_error", "reliability") if plain.get(k, self) is None}
        return {k: v for k, v in plain.items() if k not in left_out}


class ConfusionMatrix(_Values):
    """Pixels by class of the reference (rows) and class of the map (columns)."""

    rows: str
    columns: str
    slugs: list[str]
    pixels: list[list[int]]


class Agreement(_Values):
    """Scores of a comparison; see `geoseg.evaluation.metrics.Scores`."""

    pixels: int
    overall_accuracy: Figure
    miou: Figure
    macro_f1: Figure
    frequency_weighted_iou: Figure
    kappa: Figure
    absent: list[str]
    """Slugs of the classes that neither side has."""
    classes: list[ClassScores]
    confusion_matrix: ConfusionMatrix


class ChipScores(Agreement):
    """Scores of a network on chips."""

    brier: Figure
    expected_calibration_error: Figure

    def without_reliability(self) -> Self:
        """Return the scores without the bins of each class, which are long."""
        rows = [c.model_copy(update={"reliability": None}) for c in self.classes]
        return self.model_copy(update={"classes": rows})


class NumberScores(_Values):
    """Agreement of numbers, in their unit; see `geoseg.evaluation.numbers.NumberAgreement`."""

    pixels: int
    rmse: Figure
    """Root of the mean squared difference."""
    mae: Figure
    """Mean absolute difference."""
    bias: Figure
    """Mean difference, map minus reference."""
    r2: Figure
    """Coefficient of determination: 1 minus the squared differences over those from the reference's mean."""
    correlation: Figure
    """Pearson's."""
    reference_mean: Figure
    reference_std: Figure
    map_mean: Figure
    map_std: Figure


class FlagRow(_Values):
    """Agreement for one label."""

    id: int
    slug: str
    title: str
    iou: Figure
    f1: Figure
    precision: Figure
    recall: Figure
    average_precision: Figure = None
    """Area under precision over recall; None without probabilities."""
    reference_pixels: int
    map_pixels: int
    reference_share: Figure
    map_share: Figure


class FlagScores(_Values):
    """Agreement of labels, of which a pixel may have several."""

    pixels: int
    miou: Figure
    macro_f1: Figure
    """Mean F1 of the labels."""
    micro_f1: Figure
    """F1 over the pixels of all labels together."""
    mean_average_precision: Figure = None
    absent: list[str]
    """Slugs of the labels that neither side has."""
    classes: list[FlagRow]


class Unmapped(_Values):
    """Labelled pixels without a class on the map."""

    pixels: int
    classes: dict[str, int]
    """Pixels by slug of the reference."""


class BoundaryScores(_Values):
    """Boundary F1, by slug and as the mean over classes with a boundary."""

    tolerance_pixels: float
    mean_f1: Figure
    classes: dict[str, Figure]


class CalibrationScores(_Values):
    """Calibration error, Brier score and reliability table."""

    expected_calibration_error: Figure
    brier: Figure
    pixels: int
    reliability: list[ReliabilityBin]


class EvaluationReport(_Values):
    """A report of `geoseg evaluate` or `geoseg sample`."""

    optional: ClassVar[tuple[str, ...]] = ()
    """Fields that a report leaves out when they are None."""

    format: Literal["geoseg-evaluation/1"] = "geoseg-evaluation/1"

    def to_dict(self) -> dict[str, Any]:
        """Return the report as plain values."""
        unset = {name for name in self.optional if getattr(self, name) is None}
        return self.model_dump(mode="json", by_alias=True, exclude=unset)

    def to_json(self) -> str:
        """Return the report as JSON text."""
        return json.dumps(redacted(self.to_dict()), indent=2, ensure_ascii=False)


# Fields of the last base come first: what was compared, then the scores.
class _MapFiles(EvaluationReport):
    map: str
    reference: str
    crs: str | None
    command: str
    warnings: list[str]


class MapReport(Agreement, _MapFiles):
    """A class map against a reference."""

    optional = ("boundary", "calibration")

    unmapped: Unmapped
    unlabelled_pixels: int
    """Pixels of the map about which the reference says nothing."""
    boundary: BoundaryScores | None = None
    calibration: CalibrationScores | None = None


class NumberReport(NumberScores, _MapFiles):
    """A map of numbers against a reference."""

    unit: str
    unmapped_pixels: int
    """Pixels of the reference without a number on the map."""
    unlabelled_pixels: int
    """Pixels of the map about which the reference says nothing."""


class FlagReport(FlagScores, _MapFiles):
    """A map of labels against a reference."""


class _BundlePart(EvaluationReport):
    model: str
    part: str
    chips: int


class BundleReport(ChipScores, _BundlePart):
    """A bundle on a part of the data of a training."""

    optional = ("other_parts",)

    calibration: CalibrationScores
    warnings: list[str]
    other_parts: dict[str, ChipScores] | None = None
    """The same part with test-time augmentation, as `PART with AUGMENTATION`, where `measure` asks for it."""


class NumberBundleReport(NumberScores, _BundlePart):
    """A bundle of a regression on a part of the data of a training."""

    unit: str
    warnings: list[str]


class FlagBundleReport(FlagScores, _BundlePart):
    """A bundle of labels on a part of the data of a training."""

    warnings: list[str]


class Interval(_Values):
    """An estimate and its 95 % confidence interval, which is wider on the side where more may be hidden."""

    value: Figure
    ci95: tuple[Figure, Figure]


class ClassEstimates(_Values):
    """Estimates for one class of a sample."""

    id: int
    slug: str
    title: str
    points: int
    """Points in the class of the map."""
    found: int
    """Points of any class of the map that are of this class: what its area rests on."""
    users_accuracy: Interval
    producers_accuracy: Interval
    area_share: Interval
    area: Interval
    mapped_area: float


class ErrorMatrix(_Values):
    """Points by class of the map (rows) and class of the reference (columns)."""

    rows: str = "map"
    columns: str = "reference"
    slugs: list[str]
    points: list[list[int]]


class SampleReport(EvaluationReport):
    """Accuracies and areas estimated from a labelled sample."""

    sample: str
    command: str
    warnings: list[str]
    unit: Literal["m2", "pixels"]
    points: int
    unlabelled_points: int
    overall_accuracy: Interval
    classes: list[ClassEstimates]
    error_matrix: ErrorMatrix


class DrawnClass(_Values):
    """Points that were drawn in one class of the map."""

    id: int
    slug: str
    title: str
    points: int
    pixels: int
    expected_area_within: Figure
    """Half the width of the interval that is expected for its area, as a share of the area."""


class DrawnReport(EvaluationReport):
    """A sample that was drawn."""

    output: str
    points: int
    map: str
    allocation: str
    seed: int
    expected_from: str
    """What the expectation rests on."""
    classes: list[DrawnClass]


def write_report(path: Path, report: EvaluationReport) -> None:
    """Write a report as JSON, complete or not at all.

    Raises
    ------
    OutputError
        When the file cannot be written.
    """
    with as_output_error(path):
        path.parent.mkdir(parents=True, exist_ok=True)
    write_atomic(path, report.to_json().encode() + b"\n")
