"""The tag of PNG, WebP and TIFF pictures that says how the camera was held; GDAL tells that of JPEG alone.

Pillow decodes a whole PNG to find its tags, and refuses a large one: here only heads of chunks are read.
"""

import tempfile
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

import rasterio.shutil

from geoseg.core.errors import GeosegWarning
from geoseg.core.secrets import redact
from geoseg.scenes.gdal import RASTER_ERRORS
from geoseg.scenes.remote import is_remote

_DRIVERS = {"PNG", "WEBP", "GTiff", "COG"}
_ORIENTATION = 0x0112
_MOST_CHUNKS = 100_000
_MOST_BYTES = 1_000_000
"""Largest EXIF chunk that is read; a JPEG holds at most 64 kB of it."""


_MOST_COPIED = 256_000_000
"""Bytes of pixels of a picture in an archive or on a server that is copied to look for its tag."""
_TIFF = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")


def orientation_of(path: str, dataset: Any) -> int:
    """Return the orientation of an open picture without georeference, 1 to 8.

    Warns where it cannot be known.
    """
    tag = dataset.tags().get("EXIF_Orientation")
    if tag is not None:
        return int(tag) if str(tag).isdigit() else 1
    if dataset.driver not in _DRIVERS:
        return 1
    if Path(path).is_file():
        return orientation(Path(path))
    if not is_remote(path):
        return 1  # a picture inside a TIFF
    size = dataset.width * dataset.height * sum(_BYTES.get(t, 8) for t in dataset.dtypes)
    found = _orientation_of_copy(path) if size <= _MOST_COPIED else None
    if found is None:
        warnings.warn(
            f"{redact(path)}: whether its camera was turned cannot be read in an archive or from a server, "
            "so it is taken as it is stored; if it lies on its side, copy it to a folder",
            GeosegWarning,
            stacklevel=2,
        )
    return found or 1


_BYTES = {"uint8": 1, "int8": 1, "uint16": 2, "int16": 2, "uint32": 4, "int32": 4, "float32": 4}


def _orientation_of_copy(path: str) -> int | None:
    with tempfile.TemporaryDirectory(prefix="geoseg-") as folder:
        copy = Path(folder) / "picture"
        try:
            rasterio.shutil.copyfiles(path, str(copy))
            return orientation(copy)
        except (*RASTER_ERRORS, OSError):
            return None


def orientation(path: Path) -> int:
    """Return the orientation of a PNG, WebP or TIFF file, 1 to 8; 1 where it says none, or in no known way.

    Raises
    ------
    OSError
        When the file cannot be read.
    """
    with path.open("rb") as file:
        head = file.read(4)
        file.seek(0)
        tag = None if head in _TIFF else next(_exif_chunks(file), None)
        if tag is None and head not in _TIFF:
            return 1
        try:
            number = _in_tiff(file) if tag is None else _in_exif(tag)
        except Exception:  # noqa: BLE001 (Pillow fails in many ways on a damaged tag; then nothing is turned)
            return 1
    return number if isinstance(number, int) and 1 <= number <= 8 else 1


def _in_exif(tag: bytes) -> Any:
    from PIL import Image  # noqa: PLC0415

    found = Image.Exif()
    found.load(tag)
    return found.get(_ORIENTATION)


def _in_tiff(file: BinaryIO) -> Any:
    """Return the tag of the first image in a TIFF; its pixels are not looked at."""
    from PIL.TiffImagePlugin import ImageFileDirectory_v2  # noqa: PLC0415

    head = file.read(8)
    found = ImageFileDirectory_v2(head + (file.read(8) if 43 in head[2:4] else b""))
    file.seek(found.next)
    found.load(file)
    return found.get(_ORIENTATION)


def _exif_chunks(file: BinaryIO) -> Iterator[bytes]:
    start = file.read(12)
    png = start.startswith(b"\x89PNG\r\n\x1a\n")
    if not png and not (start[:4] == b"RIFF" and start[8:] == b"WEBP"):
        return
    file.seek(8 if png else 12)
    for _ in range(_MOST_CHUNKS):
        head = file.read(8)
        if len(head) < 8:
            return
        kind = head[4:] if png else head[:4]
        length = int.from_bytes(head[:4], "big") if png else int.from_bytes(head[4:], "little")
        if kind == (b"eXIf" if png else b"EXIF"):
            yield file.read(min(length, _MOST_BYTES))
            return
        # After a chunk of PNG stands its checksum; those of WebP have an even length.
        file.seek(length + (4 if png else length % 2), 1)
