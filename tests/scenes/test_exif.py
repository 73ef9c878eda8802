import struct

import pytest
from PIL import Image

from geoseg.scenes.exif import orientation


def picture(path, tag=None, **options):
    exif = Image.Exif()
    if tag is not None:
        exif[0x0112] = tag
        options["exif"] = exif
    Image.new("RGB", (5, 3)).save(path, **options)
    return path


@pytest.mark.parametrize("name", ["a.png", "a.webp"])
@pytest.mark.parametrize(("tag", "expected"), [(None, 1), (1, 1), (6, 6), (8, 8), (0, 1), (9, 1)])
def test_the_tag_is_read_from_the_chunks(tmp_path, name, tag, expected):
    assert orientation(picture(tmp_path / name, tag)) == expected


def test_pixels_are_not_read(tmp_path):
    """Pillow refuses a picture of so many pixels, and decodes others to look behind their pixels."""
    data = picture(tmp_path / "small.png", 6).read_bytes()
    at = data.index(b"IHDR") + 4
    huge = tmp_path / "huge.png"
    huge.write_bytes(data[:at] + struct.pack(">2I", 100_000, 100_000) + data[at + 8 :])
    assert orientation(huge) == 6


@pytest.mark.parametrize("stop", [0, 8, 15, 40, 60])
def test_a_damaged_picture_is_not_turned(tmp_path, stop):
    path = picture(tmp_path / "a.png", 6)
    path.write_bytes(path.read_bytes()[:stop])
    assert orientation(path) == 1
