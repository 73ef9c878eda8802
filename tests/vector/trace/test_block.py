"""What a thread keeps of the files of a map."""

import os
import pickle
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from geoseg.core.geometry import Window
from geoseg.vector.trace.block import MapFiles
from geoseg.vector.trace.components import NONE, OUTSIDE
from tests.conftest import write_raster


def is_open(path):
    links = Path("/proc/self/fd").iterdir()
    return sum(os.path.realpath(link) == str(path.resolve()) for link in links)


def test_a_map_is_open_once_in_each_thread_until_its_files_are_given_up(tmp_path):
    path = write_raster(tmp_path / "map.tif", np.zeros((20, 20), np.uint8), nodata=255)
    files = MapFiles(path)
    window = Window.of(0, 0, 10, 10)
    with ThreadPoolExecutor(1) as executor:
        for _ in range(3):
            files.values(window)
            executor.submit(files.values, window).result()
        assert is_open(path) == 2
    assert is_open(path) == 1
    copy = pickle.loads(pickle.dumps(files))  # noqa: S301
    del files
    assert is_open(path) == 0
    assert (copy.values(window) == 0).all()


def test_a_halo_ends_outside_the_map(tmp_path):
    classes = np.arange(30, dtype=np.uint8).reshape(5, 6)
    classes[2, 3] = 255
    path = write_raster(tmp_path / "map.tif", classes, nodata=255)
    objects = write_raster(tmp_path / "objects.tif", np.zeros((5, 6), np.uint32))
    expected = np.pad(np.where(classes == 255, NONE, classes.astype(int)), 1, constant_values=OUTSIDE)
    for files in (MapFiles(path), MapFiles(path, None, objects, np.zeros(1, np.uint8))):
        assert (files.values(Window.of(0, 0, 5, 6), halo=1) == expected).all()
        assert (files.values(Window.of(1, 2, 2, 3), halo=1) == expected[1:5, 2:7]).all()
        assert (files.values(Window.of(3, 3, 2, 3), halo=1) == expected[3:, 3:]).all()
        assert (files.values(Window.of(3, 3, 2, 3)) == expected[4:-1, 4:-1]).all()
