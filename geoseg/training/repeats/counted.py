"""`places.npz`: what was counted of one of several networks, by place, and some of its logits."""

import io
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from zipfile import BadZipFile

import numpy as np

from geoseg.core.errors import OutputError
from geoseg.core.files import write_atomic
from geoseg.training.calibrate import LogitRows
from geoseg.training.repeats.tally import Sums

_ROWS = ("logits", "labels", "units")


@dataclass(frozen=True)
class Counted:
    """What was counted of a network on its test part."""

    places: Mapping[str, Sums]
    """Sums of each place."""
    rows: LogitRows | None
    """Some of its pixels, where they decide about the calibration; units are numbers of places."""


def write_counted(path: Path, found: Counted) -> None:
    """Write the file, complete or not at all."""
    buffer = io.BytesIO()
    names = np.frombuffer(json.dumps(list(found.places)).encode(), np.uint8)
    rows = {} if found.rows is None else {name: getattr(found.rows, name) for name in _ROWS}
    np.savez_compressed(buffer, names=names, sums=np.array(list(found.places.values())), **rows)
    write_atomic(path, buffer.getvalue())


def read_counted(path: Path) -> Counted:
    """Read the file; one of an older geoseg has no rows.

    Raises
    ------
    OutputError
        When the file is missing or damaged.
    """
    try:
        with np.load(io.BytesIO(path.read_bytes()), allow_pickle=False) as kept:
            names = json.loads(kept["names"].tobytes())
            rows = LogitRows(*(kept[name] for name in _ROWS)) if _ROWS[0] in kept else None
            return Counted(dict(zip(names, kept["sums"], strict=True)), rows)
    except (OSError, ValueError, KeyError, EOFError, BadZipFile) as error:
        raise OutputError(
            f"{path}: is missing or damaged; workers on other machines must write into a folder that this "
            "one sees. Remove the file and run the same training to measure this member again"
        ) from error
