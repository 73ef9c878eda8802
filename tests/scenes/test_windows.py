import numpy as np
import rasterio

from geoseg.core.geometry import Window
from geoseg.scenes.windows import to_rasterio
from tests.conftest import write_raster


def test_rasterio_reads_the_pixels_of_a_window(tmp_path):
    values = np.arange(30, dtype=np.uint8).reshape(5, 6)
    window = Window.of(1, 2, 3, 4)
    with rasterio.open(write_raster(tmp_path / "map.tif", values)) as src:
        assert (src.read(1, window=to_rasterio(window)) == values[1:4, 2:6]).all()
