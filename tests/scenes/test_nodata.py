"""Nodata that no pixel can have: refused where the user gives it, said where a file states it."""

import warnings

import numpy as np
import pytest

from geoseg.config.scene import BandEntry, MaskEntry, SceneEntry
from geoseg.core.errors import GeosegWarning, SceneError
from geoseg.scenes import sources
from geoseg.scenes.catalog import resolve_scene
from geoseg.scenes.nodata import can_hold
from tests.conftest import write_raster

GDAL_TYPES = {"uint8": "Byte", "int16": "Int16", "uint16": "UInt16", "float32": "Float32", "int64": "Int64"}


def stating(path, dtype, nodata, bands=1):
    """A virtual raster over a real one, which states any nodata: rasterio writes none that is impossible."""
    base = write_raster(path.with_suffix(".tif"), np.ones((bands, 8, 8), dtype))
    planes = "".join(
        f'<VRTRasterBand dataType="{GDAL_TYPES[dtype]}" band="{i}"><NoDataValue>{nodata}</NoDataValue>'
        f"<SimpleSource><SourceFilename>{base}</SourceFilename><SourceBand>{i}</SourceBand></SimpleSource>"
        "</VRTRasterBand>"
        for i in range(1, bands + 1)
    )
    path.write_text(
        '<VRTDataset rasterXSize="8" rasterYSize="8"><SRS>EPSG:32633</SRS>'
        f"<GeoTransform>500000, 10, 0, 4500000, 0, -10</GeoTransform>{planes}</VRTDataset>"
    )
    return path


@pytest.mark.parametrize(
    ("dtype", "nodata"),
    [("uint8", 300), ("uint8", "nan"), ("int16", 0.5), ("uint16", -9999), ("uint8", -1)],
)
def test_impossible_nodata_of_a_file_is_said_and_masks_nothing(tmp_path, dtype, nodata):
    path = stating(tmp_path / "a.vrt", dtype, nodata)
    with pytest.warns(GeosegWarning, match=rf"a\.vrt: states nodata \S+, which {dtype} cannot hold") as said:
        scene = resolve_scene(str(path), "s")
    assert len(said) == 1
    assert scene.bands[0].nodata is None
    assert scene.sample().valid.all()


@pytest.mark.parametrize(
    ("dtype", "nodata"),
    [("uint8", 0), ("int16", -9999), ("float32", "nan"), ("float32", 0.5), ("float32", "-3.4028235e38"),
     ("int64", -(2**63))],
)  # fmt: skip
def test_possible_nodata_is_no_reason_for_a_word(tmp_path, dtype, nodata):
    path = stating(tmp_path / "a.vrt", dtype, nodata)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        resolve_scene(str(path), "s")


def test_bands_of_one_kind_are_named_once_and_quality_bands_too(tmp_path):
    path = stating(tmp_path / "a.vrt", "uint8", 300, bands=4)
    quality = stating(tmp_path / "qa.vrt", "uint16", -1)
    entry = SceneEntry(uri=str(path), mask=MaskEntry(uri=str(quality), invalid_values=(7,)))
    with pytest.warns(GeosegWarning, match="cannot hold") as said:
        resolve_scene(entry, "s")
    first, second = (str(w.message) for w in said)
    assert f"{path} (and 3 more bands): states nodata 300, which uint8" in first
    assert f"{quality}: states nodata -1, which uint16" in second


def test_who_gives_the_right_nodata_hears_nothing_of_the_file(tmp_path):
    path = stating(tmp_path / "a.vrt", "uint8", 300)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        scene = resolve_scene(SceneEntry(uri=str(path), nodata=1), "s")
    assert not scene.sample().valid.any()


@pytest.mark.parametrize("nodata", [300, -1, 0.5])
def test_impossible_nodata_of_the_user_is_refused(tmp_path, nodata):
    path = write_raster(tmp_path / "a.tif", np.ones((1, 8, 8), np.uint8))
    for entry in (
        SceneEntry(uri=str(path), nodata=nodata),
        SceneEntry(uri=str(path), bands={"red": BandEntry(nodata=nodata)}),
    ):
        with pytest.raises(
            SceneError, match=rf"a\.tif: band 1 holds uint8, whole numbers from 0 to 255, .* nodata {nodata};"
        ):
            resolve_scene(entry, "s")


def test_nodata_of_a_scene_needs_to_fit_one_of_its_bands(tmp_path):
    files = {
        t: write_raster(tmp_path / f"{t}.tif", np.full((1, 8, 8), 7, t)) for t in ("uint8", "int16", "uint16")
    }
    bands = {t: BandEntry(uri=str(f)) for t, f in files.items()}
    scene = resolve_scene(SceneEntry(bands=bands, nodata=-9999), "s")
    assert scene.sample().valid.all()
    with pytest.raises(SceneError, match="no pixel is nodata -9999"):
        resolve_scene(SceneEntry(bands=bands, nodata=-9999), "s", ["uint8", "uint16"])


def test_what_a_type_can_hold():
    assert can_hold(np.dtype("uint64"), 2**64 - 1)
    assert not can_hold(np.dtype("uint64"), 2**64)
    assert can_hold(np.dtype("float32"), 0.1)
    assert not can_hold(np.dtype("float32"), 1e39)
    assert can_hold(np.dtype("float64"), float("nan"))


def test_the_header_tells_what_the_type_cannot_hold(tmp_path):
    source = sources.inspect(str(stating(tmp_path / "a.vrt", "uint8", 300, bands=2)))
    assert source.nodata == (None, None)
    assert source.idle_nodata == ((1, 300), (2, 300))
