"""A finished block of objects as bytes: what its tiles report, and which pixels of its core are valid."""

import io
import zipfile
from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from geoseg.vector.objects.reported import Reported


@dataclass(frozen=True)
class BlockObjects:
    """The result of a block."""

    reported: Reported
    """The detections of its tiles."""
    valid: NDArray[np.bool_]
    """Which pixels of its core are valid, shape (rows, cols)."""

    def encode(self) -> bytes:
        """Return a compressed numpy archive; equal content gives equal bytes."""
        arrays = {f.name: getattr(self.reported, f.name) for f in fields(Reported)}
        # Most blocks have no nodata: an empty array says so.
        valid = np.empty(0, np.uint8) if self.valid.all() else np.packbits(self.valid)
        file = io.BytesIO()
        np.savez_compressed(file, **arrays, valid=valid)
        return file.getvalue()


def decode(data: bytes) -> Reported:
    """Return the detections in the bytes of a block."""
    with np.load(io.BytesIO(data), allow_pickle=False) as arrays:
        return Reported(*(arrays[f.name] for f in fields(Reported)))


def decode_valid(data: bytes, shape: tuple[int, int]) -> NDArray[np.bool_] | None:
    """Return which pixels of a core of a shape (rows, cols) are valid; None when all are.

    Raises
    ------
    ValueError
        When the bytes are of another shape.
    """
    with np.load(io.BytesIO(data), allow_pickle=False) as arrays:
        bits = arrays["valid"]
    if not len(bits):
        return None
    if len(bits) != (shape[0] * shape[1] + 7) // 8:
        raise ValueError(f"{len(bits)} bytes are no mask of {shape[0]} x {shape[1]} pixels")
    valid: NDArray[np.bool_] = np.unpackbits(bits, count=shape[0] * shape[1]).reshape(shape).view(np.bool_)
    return valid


DAMAGED = (ValueError, KeyError, EOFError, OSError, zipfile.BadZipFile)
"""Errors of bytes that are no block."""
