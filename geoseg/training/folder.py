"""The folder of a training: new, unfinished or finished."""

import hashlib
import json
from pathlib import Path
from typing import Any

from geoseg.core.errors import OutputError, difference
from geoseg.core.files import delete_discarded, discard, read_json, write_atomic
from geoseg.core.secrets import redacted
from geoseg.training.prepare import PreparedTraining
from geoseg.training.record import RECORD, read_record

CHECKPOINTS, BUNDLE, MEMBERS = "checkpoints", "bundle", "members"
_BEGUN = "begun.json"
_REPLACED = (BUNDLE, CHECKPOINTS, MEMBERS, "tensorboard", "csv")
_CARD_ONLY = {
    "name", "version", "title", "description", "license", "limitations", "gsd", "tile", "measure", "output",
    "data", "cluster",
}  # fmt: skip
"""Keys of the document that do not change the weights."""


def open_folder(prepared: PreparedTraining, *, overwrite: bool) -> None:
    """Make the folder ready for a new or an unfinished training.

    Raises
    ------
    OutputError
        When the folder holds a finished training, another training, or other files.
    """
    folder, identity = prepared.folder, identity_of(prepared)
    begun = read_json(folder / _BEGUN)
    if isinstance(begun, dict):
        _leave_out_calibration(begun.get("training"))
    for name in _REPLACED:
        delete_discarded(folder / name)
    if overwrite:
        # The record first: while it is there, the training is finished and its bundle whole.
        (folder / RECORD).unlink(missing_ok=True)
        for name in _REPLACED:
            discard(folder / name)
    elif (folder / RECORD).exists():
        finished = read_record(folder / RECORD)
        raise OutputError(
            f"{folder}: holds a finished training ({finished.name}, {finished.finished}); choose another "
            "folder with --output, or replace it with --overwrite"
        )
    elif begun is not None and begun != identity and _has_weights(folder):
        raise OutputError(
            f"{folder}: holds an unfinished training of other settings or data "
            f"({difference(begun, identity)}); finish that one, choose another folder with --output, or "
            "discard it with --overwrite"
        )
    elif begun is None and any(not p.name.startswith(".") for p in folder.iterdir()):
        raise OutputError(
            f"{folder}: is not empty and holds no training; choose another folder with --output"
        )
    write_atomic(folder / _BEGUN, json.dumps(identity).encode())


def _leave_out_calibration(document: Any) -> None:
    """Leave out how networks are calibrated: trained ones are calibrated again from their bundles."""
    if isinstance(document, dict) and isinstance(document.get("measure"), dict):
        document["measure"].pop("calibrate", None)


def _has_weights(folder: Path) -> bool:
    return any((folder / name).exists() for name in (CHECKPOINTS, MEMBERS))


def identity_of(prepared: PreparedTraining) -> dict[str, Any]:
    """Return what determines the weights: document, legend and data."""
    # Kept in a file: a URL that is signed again is the same, and no credential is written.
    # What is measured of members is kept with them, so it belongs to what they are.
    left_out = _CARD_ONLY - {"measure", "tile", "gsd"} if prepared.folds else _CARD_ONLY
    document = redacted(prepared.document.model_dump(mode="json", exclude=left_out))
    document["fit"].pop("loggers", None)
    for one in document["datasets"]:
        del one["data"]
    # A training that an earlier version began, which did not know these keys, goes on.
    if not document["datasets"]:
        del document["datasets"]
    if not prepared.document.repeats:
        del document["seeds"], document["final"], document["split"]["folds"]
    if not document["split"]["overlap"]:
        del document["split"]["overlap"]
    _leave_out_calibration(document)
    data = [
        [p.scene.identity() | {"name": p.name}, p.labels.identity(), p.group, p.part, p.valid_range]
        for p in prepared.labelled
    ]
    digest = hashlib.sha256(json.dumps(data, default=str, sort_keys=True).encode()).hexdigest()
    legend = prepared.legend.model_dump(mode="json")
    return json.loads(json.dumps({"training": document, "legend": legend, "data": digest}))  # type: ignore[no-any-return]
