"""Calibration pixels of a bundle: a few real chips, on which changes of a network's classes are measured."""

import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

from geoseg.core.errors import BundleError, one_line
from geoseg.core.files import write_atomic

FILE = "calibration.npz"
MOST = 8
"""Chips that are kept."""


@dataclass(frozen=True)
class Chip:
    """A chip in the numbers that a segmenter takes."""

    values: NDArray[np.float32]
    """Physical values, shape (B, rows, cols)."""
    valid: NDArray[np.bool_]
    """Shape (rows, cols)."""


def write_calibration(folder: Path, chips: Sequence[Chip]) -> None:
    """Keep chips in a bundle, in half precision.

    Parameters
    ----------
    folder
        Folder of the bundle.
    chips
        At most `MOST` of one shape.
    """
    values = np.stack([np.where(c.valid, c.values, 0) for c in chips]).astype(np.float16)
    buffer = io.BytesIO()
    np.savez_compressed(buffer, values=values, valid=np.stack([c.valid for c in chips]))
    write_atomic(folder / FILE, buffer.getvalue())


def read_calibration(folder: Path) -> tuple[Chip, ...]:
    """Return the chips that a bundle keeps; none where it keeps none.

    Raises
    ------
    BundleError
        When the file is damaged.
    """
    try:
        with np.load(io.BytesIO((folder / FILE).read_bytes()), allow_pickle=False) as kept:
            values, valid = kept["values"].astype(np.float32), kept["valid"]
    except FileNotFoundError:
        return ()
    except (OSError, ValueError, KeyError, EOFError, BadZipFile) as error:
        raise BundleError(f"{folder / FILE}: cannot be read: {one_line(error)[:100]}; remove it") from error
    if values.ndim != 4 or valid.dtype != bool or valid.shape != (len(values), *values.shape[2:]):
        raise BundleError(f"{folder / FILE}: holds no chips (chips, bands, rows, cols); remove it")
    return tuple(Chip(v, m) for v, m in zip(values, valid, strict=True))
