import numpy as np

from geoseg.core.geometry import Window
from geoseg.vector.trace.block import MapFiles
from geoseg.vector.trace.components import NONE, OUTSIDE
from tests.conftest import write_raster


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
