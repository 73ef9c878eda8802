import numpy as np
import pytest
import rasterio
import rasterio.shutil
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from geoseg.raster.overviews import overview_shapes, source_ranges, write_overviews
from tests.conftest import write_raster


def of_gdal(path, target, blocksize):
    """Return the overviews that GDAL's COG driver makes."""
    rasterio.shutil.copy(path, target, driver="COG", blocksize=blocksize, overview_resampling="MODE")
    with rasterio.open(target) as src:
        count = len(src.overviews(1))
    found = []
    for level in range(count):
        with rasterio.open(target, overview_level=level) as src:
            found.append(src.read(1))
    return found


def read(path):
    with rasterio.open(path) as src:
        return src.read(1)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    # GDAL makes an overview of one column after another of one column from the whole map.
    shape=st.tuples(st.integers(8, 700), st.integers(8, 700)),
    grain=st.sampled_from((1, 3)),
    classes=st.integers(1, 255),
    seed=st.integers(0, 99),
)
def test_pixels_are_those_of_gdal(tmp_path, shape, grain, classes, seed):
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, classes, (-(-shape[0] // grain), -(-shape[1] // grain))).astype(np.uint8)
    coarse[rng.random(coarse.shape) < 0.3] = 255
    values = coarse.repeat(grain, axis=0).repeat(grain, axis=1)[: shape[0], : shape[1]]
    path = write_raster(tmp_path / "map.tif", values, nodata=255)
    expected = of_gdal(path, tmp_path / "gdal.tif", 128)
    found = [read(p) for p in write_overviews(path, 128)]
    assert [f.shape for f in found] == [e.shape for e in expected] == overview_shapes(shape, 128)
    for one, other in zip(found, expected, strict=True):
        assert (one == other).all()


@pytest.mark.parametrize(
    ("length", "reduced", "spans"),
    [(4, 2, [(0, 2), (2, 4)]), (5, 2, [(0, 3), (2, 5)]), (1, 1, [(0, 1)]), (3, 1, [(0, 3)])],
)
def test_neighbours_share_a_pixel_where_the_length_is_odd(length, reduced, spans):
    assert source_ranges(length, reduced).tolist() == [list(s) for s in spans]
