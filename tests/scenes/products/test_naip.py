import numpy as np
import pytest
import rasterio.shutil

from geoseg.core.geometry import Window
from geoseg.scenes.products.entry import read_product
from geoseg.scenes.products.naip import is_tile
from tests.conftest import write_raster
from tests.scenes.products.makers import ORIGIN, UTM, numbers, opened, physical, write_tif, zipped

NAME = "m_3707501_ne_18_060_20230601.tif"


@pytest.fixture
def tile(tmp_path):
    values = numbers(3, 30, bands=4, high=255, dtype="uint8")
    return write_tif(tmp_path / "naip" / NAME, values, 30), values


def test_a_tile_is_read_by_its_path(tile, tmp_path):
    path, values = tile
    entry = read_product(str(path))
    assert (entry.product, entry.sensor, entry.platform, entry.level) == ("naip", "naip", "aircraft", None)
    assert entry.datetime.isoformat() == "2023-06-01T00:00:00+00:00"
    for place in (path, path.parent, zipped(path.parent, tmp_path / "x.zip")):
        found, valid = physical(place, "red", "green", "blue", "nir")
        assert valid.all()
        np.testing.assert_array_equal(found, values.astype(np.float32))
    assert not opened(path, "nir").bands[0].declared


def test_a_folder_of_tiles_is_their_mosaic(tmp_path):
    values = numbers(3, 30, bands=4, high=255, dtype="uint8")
    for corner, columns in (("nw", slice(0, 25)), ("ne", slice(20, 40))):
        origin = ORIGIN[0] + 30 * columns.start, ORIGIN[1]
        path = tmp_path / f"m_3707501_{corner}_18_060_20230601.tif"
        write_raster(path, values[:, :, columns], gsd=30, origin=origin, crs=UTM)
    scene = opened(tmp_path, "red", "nir")
    assert [len(scene.members), scene.entry.product] == [2, "naip"]
    found = scene.read(Window.of(0, 0, *scene.shape))
    assert found.valid.all()
    np.testing.assert_array_equal(found.values, values[[0, 3]])


@pytest.mark.parametrize(
    "name",
    [
        "m_3707501_ne_18_060_20230601_20231020.tif",
        "m_3707501_ne_18_1_20120601.tif",
        "M_3707501_NE_18_H_20160601.TIF",
        "m_3707501_ne_18_1_20120601_20121004.tiff",
        "m_3707501_sw_18_030_20211008_20220107.tif",
    ],
)
def test_names_of_tiles_vary(name):
    assert is_tile(name)


@pytest.mark.parametrize(
    "name", ["m_3707501.tif", "m_3707501_ne_18_060_20239999.tif", "x_m_3707501_ne_18_1_20120601.tif"]
)
def test_other_names_are_no_tiles(name):
    assert not is_tile(name)


def test_names_in_the_file_win(tmp_path):
    values = numbers(3, 30, bands=4, high=255, dtype="uint8")
    path = write_tif(tmp_path / NAME, values, 30, names=("nir", "red", "green", "blue"))
    np.testing.assert_array_equal(physical(path, "red")[0][0], values[1])


def test_the_fourth_band_is_data_whatever_gdal_calls_it(tmp_path):
    values = numbers(3, 30, bands=4, high=255, dtype="uint8")
    values[3, 0] = 0
    path = write_tif(tmp_path / NAME, values, 30, photometric="RGB", alpha="YES")
    found, valid = physical(path, "red", "nir")
    assert valid.all()
    np.testing.assert_array_equal(found[1], values[3])


def test_tiles_of_other_kinds_are_plain_files(tmp_path):
    for bands, dtype in ((3, "uint8"), (4, "uint16")):
        path = write_tif(tmp_path / NAME, numbers(3, 30, bands=bands, high=255, dtype=dtype), 30)
        assert read_product(str(path)) is None


@pytest.mark.parametrize(("name", "product"), [(NAME, "naip"), ("other.tif", None)])
def test_a_virtual_raster_of_tiles_knows_its_bands(tmp_path, name, product):
    values = numbers(3, 30, bands=4, high=255, dtype="uint8")
    rasterio.shutil.copy(write_tif(tmp_path / name, values, 30), tmp_path / "all.vrt", driver="VRT")
    entry = read_product(str(tmp_path / "all.vrt"))
    assert (entry and entry.product) == product
    if product:
        np.testing.assert_array_equal(physical(tmp_path / "all.vrt", "nir")[0][0], values[3])
