"""The EXIF tag of PNG and WebP pictures that says how the camera was held; GDAL reads that of JPEG alone.

Pillow decodes a whole PNG to find its tags, and refuses a large one: here only heads of chunks are read.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

_ORIENTATION = 0x0112
_MOST_CHUNKS = 100_000
_MOST_BYTES = 1_000_000
"""Largest EXIF chunk that is read; a JPEG holds at most 64 kB of it."""


def orientation(path: Path) -> int:
    """Return the orientation of a PNG or WebP file, 1 to 8; 1 where it says none, or in no known way.

    Raises
    ------
    OSError
        When the file cannot be read.
    """
    with path.open("rb") as file:
        tag = next(_exif_chunks(file), None)
    if tag is None:
        return 1
    from PIL import Image  # noqa: PLC0415

    found = Image.Exif()
    try:
        found.load(tag)
        number = found.get(_ORIENTATION)
    except Exception:  # noqa: BLE001 (Pillow fails in many ways on a damaged tag; then nothing is turned)
        return 1
    return number if isinstance(number, int) and 1 <= number <= 8 else 1


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
