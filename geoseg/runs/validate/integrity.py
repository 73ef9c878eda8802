"""Whether the record agrees with itself, and the files with their sizes and checksums."""

import hashlib
import json
import math
from collections.abc import Iterator

from geoseg.core.files import sha256
from geoseg.core.run_files import RunFile
from geoseg.runs.folder import STAGING
from geoseg.runs.validate.findings import Failure
from geoseg.runs.validate.finished_folder import FinishedFolder

_REQUIRED = (
    RunFile.CLASSES,
    RunFile.CLASSES_METADATA,
    RunFile.CLASSES_QML,
    RunFile.CLASSES_SLD,
    RunFile.ITEM,
)
_REQUIRED_OF = {
    "regression": (RunFile.VALUES, RunFile.VALUES_QML, RunFile.ITEM),
    "multilabel": (RunFile.LABELS, RunFile.LABELS_QML, RunFile.ITEM),
}
"""The files of maps that are no class maps."""

_LEFTOVERS = (".*", "*.tmp*", "*-wal", "*-shm", "*-journal", "*.ovr", "*.msk", STAGING)
"""Unfinished files, databases with an open transaction, and overviews that override those inside a map."""


def check_record(run: FinishedFolder) -> Iterator[Failure]:
    """Check the fingerprint against the identity, the pixels against the size of the map, and the outputs."""
    identity = json.dumps(run.record.identity, sort_keys=True, separators=(",", ":"))
    fingerprint = hashlib.sha256(identity.encode()).hexdigest()
    if run.record.fingerprint != fingerprint:
        yield Failure(RunFile.RECORD, "fingerprint of identity", fingerprint, str(run.record.fingerprint))
    pixels, size = sum(run.record.pixels.values()), math.prod(run.geobox.shape)
    # Of labels a pixel may have several or none: they are counted against their raster.
    if pixels != size and run.record.task != "multilabel":
        yield Failure(RunFile.RECORD, "sum of pixels", str(size), str(pixels))
    for name in _REQUIRED_OF.get(run.record.task, _REQUIRED):
        if name not in run.outputs:
            yield Failure(RunFile.RECORD, "outputs", name, "not listed")


def check_files(run: FinishedFolder) -> Iterator[Failure]:
    """Check existence, size and checksum of every output; find unfinished files."""
    for name, facts in run.outputs.items():
        path = run.folder / name
        if not path.is_file():
            yield Failure(name, "file", "present", "missing")
        elif path.stat().st_size != facts.bytes:
            yield Failure(name, "size", f"{facts.bytes} bytes", f"{path.stat().st_size} bytes")
        elif (digest := sha256(path)) != facts.sha256:
            yield Failure(name, "sha256", facts.sha256, digest)
    leftovers = {path.name for pattern in _LEFTOVERS for path in run.folder.glob(pattern)}
    for name in sorted(leftovers - set(run.outputs)):
        yield Failure(name, "file beside the outputs", "none", "present")
