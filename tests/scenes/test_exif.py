import struct
import warnings
import zipfile

import pytest
from PIL import Image

from geoseg.core.errors import GeosegWarning
from geoseg.scenes import exif, sources
from geoseg.scenes.exif import orientation


def picture(path, tag=None, **options):
    if tag is not None and path.suffix == ".tif":
        options["tiffinfo"] = {0x0112: tag}
    elif tag is not None:
        held = Image.Exif()
        held[0x0112] = tag
        options["exif"] = held
    Image.new("RGB", (5, 3)).save(path, **options)
    return path


@pytest.mark.parametrize("name", ["a.png", "a.webp", "a.tif"])
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


@pytest.mark.parametrize("name", ["a.png", "a.tif"])
@pytest.mark.parametrize("stop", [0, 2, 4, 8, 15, 40])
def test_a_damaged_picture_is_not_turned(tmp_path, name, stop):
    path = picture(tmp_path / name, 6)
    path.write_bytes(path.read_bytes()[:stop])
    assert orientation(path) == 1


@pytest.mark.parametrize("big", [False, True])
def test_the_tag_of_a_tiff_is_read_without_its_pixels(tmp_path, big):
    path = tmp_path / "a.tif"
    picture(path, 6, big_tiff=big)
    assert (b"+" in path.read_bytes()[:4]) == big
    assert orientation(path) == 6


@pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
@pytest.mark.parametrize("name", ["a.jpg", "a.png", "a.webp", "a.tif"])
def test_a_picture_in_an_archive_is_turned_too_or_that_is_said(tmp_path, monkeypatch, name):
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as file:
        for one in (name, f"too-large-{name}"):
            file.write(picture(tmp_path / one, 6), one)
    inside = f"/vsizip/{tmp_path}/a.zip"
    with warnings.catch_warnings():
        warnings.simplefilter("error", GeosegWarning)
        assert sources.inspect(f"{inside}/{name}").geobox.shape == (5, 3)
    if name != "a.jpg":
        monkeypatch.setattr(exif, "_MOST_COPIED", 10)
        with pytest.warns(
            GeosegWarning, match=r"too-large-\S+: whether its camera was turned cannot be read"
        ):
            assert sources.inspect(f"{inside}/too-large-{name}").geobox.shape == (3, 5)
