"""Arrays like those of libraries, made by hand of the numbers of a scene."""

import numpy as np
import xarray
from affine import Affine
from odc.geo.geobox import GeoBox
from odc.geo.xr import xr_coords

from tests.conftest import BAND_NAMES, UTM

ORIGIN = (500_000.0, 4_500_000.0)


def dataset(numbers, *, gsd=10.0, crs=UTM, attrs=None):
    """Return (bands, rows, cols) as odc-stac does: a variable for each band, attributes lost but nodata."""
    height, width = numbers.shape[-2:]
    grid = GeoBox((height, width), Affine(gsd, 0, ORIGIN[0], 0, -gsd, ORIGIN[1]), crs)
    coords = dict(xr_coords(grid))
    return xarray.Dataset(
        {
            n: (("y", "x"), v, {"nodata": 0} if attrs is None else attrs)
            for n, v in zip(BAND_NAMES, numbers, strict=True)
        },
        coords,
    )


def stacked(numbers, **options):
    """Return (bands, rows, cols) as rioxarray does: bands are numbered, their names are in an attribute."""
    made = dataset(numbers, **options)
    array = made.to_dataarray("band").assign_coords(band=np.arange(1, 1 + len(numbers)))
    return array.drop_attrs(deep=False).assign_attrs(
        long_name=BAND_NAMES, scale_factor=1e-4, add_offset=0.0, _FillValue=0
    )
