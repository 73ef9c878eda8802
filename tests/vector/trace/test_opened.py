"""What a process keeps open of the files of a map."""

import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier

import numpy as np
import pytest
from rasterio.errors import RasterioError

from geoseg.vector.trace import opened
from geoseg.vector.trace.opened import OpenRasters
from tests.conftest import write_raster


def handles(path):
    links = Path("/proc/self/fd").iterdir()
    return sum(os.path.realpath(link) == str(path.resolve()) for link in links)


@pytest.fixture
def rasters():
    made = OpenRasters()
    yield made
    made.close()


@pytest.fixture
def path(tmp_path):
    return write_raster(tmp_path / "map.tif", np.zeros((20, 20), np.uint8), nodata=255)


def test_threads_that_take_turns_share_a_handle_and_others_have_their_own(rasters, path):
    both = Barrier(2)

    def together():
        with rasters.borrow(path):
            both.wait(10)

    def alone():
        with rasters.borrow(path):
            return handles(path)

    with ThreadPoolExecutor(1) as pool:
        assert [alone(), *(pool.submit(alone).result() for _ in range(2))] == [1, 1, 1]
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(lambda _: together(), range(2)))
    assert handles(path) == 2
    with rasters.borrow(path) as one, rasters.borrow(path) as two:
        assert one is not two
        assert handles(path) == 2
    rasters.close()
    assert handles(path) == 0


def test_a_file_that_is_written_again_is_opened_again(rasters, path):
    with rasters.borrow(path) as src:
        assert src.read().max() == 0
    path.unlink()
    write_raster(path, np.ones((20, 20), np.uint8), nodata=255)
    with rasters.borrow(path) as src:
        assert src.read().max() == 1


def test_handles_of_files_that_are_gone_are_closed_when_another_is_opened(rasters, tmp_path, path):
    with rasters.borrow(path):
        pass
    gone = path.rename(tmp_path / "published.tif")
    assert handles(gone) == 1
    other = write_raster(tmp_path / "other.tif", np.zeros((20, 20), np.uint8))
    with rasters.borrow(other):
        assert handles(gone) == 0


def test_few_handles_are_kept(rasters, tmp_path, monkeypatch):
    monkeypatch.setattr(opened, "_IDLE", 2)
    paths = [write_raster(tmp_path / f"{i}.tif", np.zeros((20, 20), np.uint8)) for i in range(4)]
    for p in paths:
        with rasters.borrow(p):
            pass
    assert [handles(p) for p in paths] == [0, 0, 1, 1]


def test_a_handle_is_closed_after_an_error_and_a_missing_file_is_told(rasters, tmp_path, path):
    with pytest.raises(ZeroDivisionError), rasters.borrow(path):
        raise ZeroDivisionError
    assert handles(path) == 0
    with pytest.raises(RasterioError, match=r"gone\.tif"), rasters.borrow(tmp_path / "gone.tif"):
        pass
