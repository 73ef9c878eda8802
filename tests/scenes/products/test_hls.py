import numpy as np
import pytest

from geoseg.core.errors import SceneError
from geoseg.scenes.products.entry import read_product
from tests.s3 import BUCKET
from tests.scenes.products.makers import of_numbers, opened, physical, write_hls, zipped

CLOUDS = 0b1111
"""Fmask's bits of cirrus, cloud, next to cloud and cloud shadow."""


@pytest.mark.parametrize(
    ("kind", "bands", "common"),
    [
        ("S30", ("B02", "B8A", "B11"), ("blue", "nir08", "swir16")),
        ("L30", ("B02", "B05", "B07"), ("blue", "nir08", "swir22")),
    ],
)
def test_a_granule_is_read_by_its_path(tmp_path, kind, bands, common):
    path, numbers = write_hls(tmp_path, kind, bands=bands)
    entry = read_product(str(path))
    assert list(entry.bands) == sorted(bands)
    assert (entry.product, entry.level, entry.baseline, entry.nodata) == (
        f"hls-{kind.lower()}",
        "surface",
        "2.0",
        -9999,
    )
    assert entry.datetime.isoformat() == "2024-06-01T15:59:01+00:00"
    assert entry.platform == ("Sentinel-2" if kind == "S30" else "Landsat 8 or 9")
    found, valid = physical(path, *common)
    fmask = numbers["Fmask"]
    expected = (fmask & CLOUDS == 0) & (fmask != 255) & np.all([numbers[b] != -9999 for b in bands], axis=0)
    np.testing.assert_array_equal(valid, expected)
    for i, band in enumerate(bands):
        np.testing.assert_array_equal(found[i][valid], of_numbers(numbers[band], 1e-4)[valid])


def test_brightness_temperature_is_in_degrees(tmp_path):
    path, numbers = write_hls(tmp_path, "L30", bands=("B10",))
    found, valid = physical(path, "lwir11")
    np.testing.assert_array_equal(found[0][valid], of_numbers(numbers["B10"], 0.01)[valid])


def test_names_may_lack_the_version(tmp_path):
    path, _ = write_hls(tmp_path, version="")
    assert (read_product(str(path)).baseline, read_product(str(path)).sensor) == (None, "hls-s30")


def test_forms_of_a_granule_are_the_same_scene(tmp_path, s3):
    path, _ = write_hls(tmp_path / "all")
    expected = physical(path, "blue")[0]
    uri = s3.upload(path.name, *path.iterdir())
    for place in (path.parent, zipped(path, tmp_path / "x.zip"), uri, f"{uri}/"):
        np.testing.assert_array_equal(physical(place, "blue")[0], expected)
    assert uri == f"s3://{BUCKET}/{path.name}"


def test_one_named_file_is_no_granule(tmp_path):
    path, _ = write_hls(tmp_path)
    assert read_product(str(next(path.glob("*.B02.tif")))) is None


def test_what_cannot_be_read_is_one_line(tmp_path):
    path, _ = write_hls(tmp_path)
    other, _ = write_hls(tmp_path, "L30")
    with pytest.raises(SceneError, match=r"holds 2 products, name one: \S+HLS.L30\S+, \S+HLS.S30"):
        read_product(str(tmp_path))
    for file in other.iterdir():
        file.rename(path / file.name)
    with pytest.raises(
        SceneError, match=r"holds 2 HLS granules, as HLS.L30.T18SVG.2024153T155901.v2.0; give each a"
    ):
        read_product(str(path))


def test_a_time_that_there_is_not_is_told(tmp_path):
    (tmp_path / "HLS.S30.T18SVG.2024999T155901.v2.0.B02.tif").touch()
    with pytest.raises(SceneError, match="named after the time 2024999T155901, which there is not"):
        read_product(str(tmp_path))


def test_a_folder_with_the_mask_alone_is_no_granule(tmp_path):
    path, _ = write_hls(tmp_path, bands=())
    assert read_product(str(path)) is None


def test_a_network_that_wants_nir_is_given_nir08(tmp_path):
    path, _ = write_hls(tmp_path)
    with pytest.warns(UserWarning, match=r"toy: nir: taking B8A \(nir08, 0.865 um\)"):
        opened(path, "nir")
