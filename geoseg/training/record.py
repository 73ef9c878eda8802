"""`training.json`, the record of a finished training: its fields, and writing and reading it."""

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from geoseg.config.training import Training
from geoseg.config.wording import first_of
from geoseg.core import provenance
from geoseg.core.errors import OutputError, one_line
from geoseg.core.files import write_atomic
from geoseg.core.parsing import parse_json, read_bytes
from geoseg.core.secrets import redacted
from geoseg.models.card import Card
from geoseg.models.scaling import VectorScaling
from geoseg.training.history import EpochRow
from geoseg.training.instances.scores import InstanceScores
from geoseg.training.scores import FlagTrainingScores, NumberTrainingScores, TrainingScores

if TYPE_CHECKING:
    from geoseg.models.bundle import Bundle
    from geoseg.training.aim import Measured
    from geoseg.training.fit import Fitted

RECORD = "training.json"
FORMAT: Final = "geoseg-training/1"
_VERSIONED = ("torch", "torchvision", "segmentation-models-pytorch", "timm", "lightning", "numpy", "rasterio")


class _Values(BaseModel):
    # Keys of a later geoseg are kept, see docs/policy.md.
    model_config = ConfigDict(frozen=True, extra="allow")


class Seconds(_Values):
    """Duration of the epochs and of the whole training, in seconds."""

    epochs: float
    total: float


class BundleEntry(_Values):
    """The bundle of a training."""

    folder: str
    """Relative to the folder of the training."""
    sha256: str
    """Of the weights."""


class TrainingRecord(_Values):
    """The record of a finished training; the keys of `training.json` are the names of the fields."""

    format: Literal["geoseg-training/1"] = FORMAT
    name: str
    finished: str
    """Time of the end in UTC, ISO 8601."""
    command: str
    document: dict[str, Any]
    """The training document with all defaults, without credentials."""
    measured_on: str
    """Part of the data whose scores are to be quoted."""
    resumed: bool
    batch: int
    """Chips of an optimiser step."""
    accumulate: int
    """Forward passes of an optimiser step."""
    seconds: Seconds
    history: tuple[EpochRow, ...]
    machine: dict[str, str]
    versions: dict[str, str]
    warnings: tuple[str, ...]
    training: dict[str, Any]
    """How the network was trained, as its card says: an excerpt of the document, epochs, data."""
    metrics: TrainingScores | InstanceScores | NumberTrainingScores | FlagTrainingScores
    temperature: float
    calibration: VectorScaling | None = None
    """Factor and shift of the logits of each class, instead of the temperature."""
    bundle: BundleEntry

    def to_json(self) -> str:
        """Return the record as JSON text."""
        return json.dumps(self.model_dump(mode="json"), indent=2, ensure_ascii=False)


def make_record(
    document: Training,
    fitted: "Fitted",
    measured: "Measured",
    bundle: "Bundle",
    warnings: Sequence[str],
    seconds: float,
) -> TrainingRecord:
    """Return the record of a training that has written its bundle."""
    card: Card = bundle.card
    return TrainingRecord(
        name=document.name,
        finished=datetime.now(UTC).isoformat(timespec="seconds"),
        command=provenance.command(),
        document=redacted(document.model_dump(mode="json")),
        measured_on=measured.measured_on,
        resumed=fitted.resumed,
        batch=fitted.batch,
        accumulate=fitted.accumulate,
        seconds=Seconds(epochs=round(sum(r.seconds for r in fitted.history), 1), total=round(seconds, 1)),
        history=fitted.history,
        machine=provenance.machine(),
        versions=provenance.versions(_VERSIONED),
        warnings=tuple(redacted(list(warnings))),
        training=card.training,
        metrics=measured.scores(),
        temperature=card.temperature,
        calibration=card.calibration,
        bundle=BundleEntry(folder=bundle.folder.name, sha256=bundle.sha256),
    )


def write_record(path: Path, record: TrainingRecord) -> None:
    """Write a record, complete or not at all.

    Raises
    ------
    OutputError
        When the file cannot be written.
    """
    write_atomic(path, (record.to_json() + "\n").encode())


def read_record(path: Path) -> TrainingRecord:
    """Read a record; one without `format` is of format 1.

    Raises
    ------
    OutputError
        When the file is missing, damaged or of another format.
    """
    try:
        content = parse_json(read_bytes(path))
    except (OSError, ValueError) as error:
        raise OutputError(_unusable(path, f"cannot be read: {one_line(error)}")) from error
    if not isinstance(content, dict):
        raise OutputError(_unusable(path, "is damaged: an object is expected"))
    known = content.setdefault("format", FORMAT)
    if known != FORMAT:
        raise OutputError(
            f"{path}: has the format {known!r}, but this geoseg reads {FORMAT}; use the version of geoseg "
            "that wrote it, or train again with --overwrite"
        )
    try:
        return TrainingRecord.model_validate(content)
    except ValidationError as error:
        where, text = first_of(error, content)
        raise OutputError(_unusable(path, f"is damaged at {where}: {text}")) from error


def _unusable(path: Path, why: str) -> str:
    return (
        f"{path}: {why}; remove it and run the same training to write it again from the checkpoints, or "
        "start again with --overwrite"
    )
