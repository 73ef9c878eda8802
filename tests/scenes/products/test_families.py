import numpy as np
import pytest

from geoseg.core.errors import GeosegWarning
from geoseg.scenes.products.stac import entry_of
from tests.scenes.products.makers import (
    asset,
    item,
    numbers,
    of_numbers,
    physical,
    write_jp2,
    write_json,
    write_tif,
)


def read(assets, **properties):
    return entry_of(item(assets, **properties), "/data/item.json")


def test_earth_search_version_1():
    scaled = {"scale": 0.0001, "offset": -0.1, "nodata": 0}
    assets = {
        "red-jp2": asset("s3://sentinel-s2-l2a/R10m/B04.jp2", "red", "red", 0.665, gsd=10, **scaled),
        "red": asset("https://sentinel-cogs/B04.tif", "red", "red", 0.665, gsd=10, **scaled),
        "scl-jp2": asset("s3://sentinel-s2-l2a/R20m/SCL.jp2", roles=["data"]),
        "scl": asset("https://sentinel-cogs/SCL.tif", roles=["data"]),
        "visual": asset("https://sentinel-cogs/TCI.tif", "red", "red", roles=["visual"]),
        "visual-jp2": asset("s3://sentinel-s2-l2a/R10m/TCI.jp2", "red", "red", roles=["visual"]),
        "aot": asset("https://sentinel-cogs/AOT.tif", scale=0.001, roles=["data"]),
        "wvp": asset("https://sentinel-cogs/WVP.tif", scale=0.001, roles=["data"]),
        "rededge1": asset("https://sentinel-cogs/B05.tif", "rededge1", "rededge", 0.704, **scaled),
        "rededge2": asset("https://sentinel-cogs/B06.tif", "rededge2", "rededge", 0.740, **scaled),
        "granule_metadata": {
            "href": "https://x/metadata.xml",
            "type": "application/xml",
            "roles": ["metadata"],
        },
        "thumbnail": {"href": "https://x/preview.jpg", "type": "image/jpeg", "roles": ["thumbnail"]},
    }
    entry = read(assets, **{"earthsearch:boa_offset_applied": True, "s2:processing_baseline": "05.10"})
    uris = {b.common_name: b.uri for b in entry.bands.values()}
    assert uris == {
        "red": "https://sentinel-cogs/B04.tif", "rededge071": "https://sentinel-cogs/B05.tif",
        "rededge075": "https://sentinel-cogs/B06.tif",
    }  # fmt: skip
    assert entry.mask.uri == "https://sentinel-cogs/SCL.tif"
    assert {(b.scale, b.offset) for b in entry.bands.values()} == {(0.0001, 0)}


def test_resolutions_of_one_band():
    """The finest wins, in whatever order; where no field tells it, the key or the transform does."""

    def assets(*keys):
        found = {
            "blue": {"gsd": 10},
            "blue_20m": {"raster:bands": [{"spatial_resolution": 20, "scale": 1}]},
            "B02_60m": {},
            "other": {"proj:transform": [20.0, 0, 0, 0, -20.0, 0]},
        }
        return {k: asset(f"{k}.jp2", "B02", "blue") | found[k] for k in keys}

    keys = ["blue", "blue_20m", "B02_60m", "other"]
    properties = {"s2:processing_baseline": "05.10"}
    for order in (keys, keys[::-1], keys[2:] + keys[:2]):
        assert [b.uri for b in read(assets(*order), **properties).bands.values()] == ["/data/blue.jp2"]
    assert [b.uri for b in read(assets("B02_60m", "other"), **properties).bands.values()] == [
        "/data/other.jp2"
    ]


def test_a_geotiff_is_taken_before_jpeg_2000():
    assets = {"a": asset("a.jp2", "B02", "blue", gsd=10), "b": asset("b.tif", "B02", "blue", gsd=10)}
    found = read(assets, **{"s2:processing_baseline": "05.10"})
    assert [b.uri for b in found.bands.values()] == ["/data/b.tif"]


@pytest.mark.parametrize(
    ("collection", "level"),
    [
        ("sentinel-2-l2a", "surface"), ("sentinel-2-l1c", "toa"), ("landsat-c2l2-sr", "surface"),
        ("landsat-col2-l1", "toa"), ("x-level-2", "surface"), ("planet-sr", "surface"), ("drone", None),
    ],
)  # fmt: skip
def test_levels_of_collections(collection, level):
    found = item({"red": asset("a.tif", "red", "red", scale=1)}, collection=collection)
    assert entry_of(found, "/x/i.json").level == level


def test_copernicus_data_space():
    def one(file, bands, **fields):
        return {"href": f"s3://eodata/x/{file}.jp2", "type": "image/jp2", "bands": bands, **fields}

    scaled = {"raster:scale": 0.0001, "raster:offset": -0.1, "nodata": 0}
    blue, nir = (
        [{"name": n, "eo:common_name": c, "eo:center_wavelength": w}]
        for n, c, w in (("B02", "blue", 0.49), ("B8A", "nir08", 0.865))
    )
    assets = {
        "AOT_10m": one("AOT_10m", [{}], gsd=10),
        "B02_60m": one("B02_60m", blue, gsd=60, **scaled),
        "B02_10m": one("B02_10m", blue, gsd=10, **scaled),
        "B8A_20m": one("B8A_20m", nir, gsd=20, **scaled),
        "SCL_60m": one("SCL_60m", [], gsd=60),
        "SCL_20m": one("SCL_20m", [], gsd=20),
        "TCI_10m": one("TCI_10m", [{"name": "B04", "eo:common_name": "red"}], roles=["visual"]),
        "Product": {"href": "https://zipper/x.zip", "type": "application/zip"},
        "product_metadata": {"href": "s3://eodata/x/MTD_MSIL2A.xml", "type": "application/xml"},
    }
    entry = read(assets, **{"processing:version": "05.11", "processing:level": "L2"})
    assert {n: b.uri for n, b in entry.bands.items()} == {
        "B02": "s3://eodata/x/B02_10m.jp2", "B8A": "s3://eodata/x/B8A_20m.jp2",
    }  # fmt: skip
    assert (entry.mask.uri, entry.level, entry.baseline) == ("s3://eodata/x/SCL_20m.jp2", "surface", "05.11")


LANDSAT = {"platform": "landsat-8", "constellation": None, "landsat:correction": "L2SP"}


def test_landsat_of_the_planetary_computer():
    surface = {"scale": 2.75e-5, "offset": -0.2, "nodata": 0}
    assets = {
        "qa": asset("https://x/QA.TIF", scale=0.01),
        "atran": asset("https://x/ATRAN.TIF", scale=0.0001),
        "cdist": asset("https://x/CDIST.TIF", scale=0.01),
        "red": asset("https://x/SR_B4.TIF", "OLI_B4", "red", 0.65, **surface),
        "nir08": asset("https://x/SR_B5.TIF", "OLI_B5", "nir08", 0.87, **surface),
        "lwir11": asset(
            "https://x/ST_B10.TIF", "TIRS_B10", "lwir11", 10.9, scale=0.00341802, offset=149.0, nodata=0
        ),
        "qa_radsat": asset("https://x/QA_RADSAT.TIF", roles=["saturation"]),
        "qa_aerosol": asset("https://x/SR_QA_AEROSOL.TIF"),
        "qa_pixel": asset("https://x/QA_PIXEL.TIF", roles=["cloud", "cloud-shadow"]),
        "tilejson": {"href": "https://x/tilejson.json", "type": "application/json", "roles": ["tiles"]},
        "rendered_preview": {"href": "https://x/p.png", "type": "image/png", "roles": ["overview"]},
    }
    entry = entry_of(item(assets, collection="landsat-c2-l2", **LANDSAT), "https://x/items/a")
    assert [b.common_name for b in entry.bands.values()] == ["red", "nir08", "lwir11"]
    assert (entry.mask.uri, entry.mask.invalid_bits) == ("https://x/QA_PIXEL.TIF", (0, 1, 2, 3, 4))
    assert (entry.level, entry.bands["OLI_B4"].offset, entry.bands["TIRS_B10"].offset) == (
        "surface",
        -0.2,
        149,
    )


@pytest.mark.parametrize("platform", ["LANDSAT_8", "landsat-8", "Landsat 8"])
def test_landsat_of_the_usgs_tells_no_scale(platform):
    assets = {
        "red": asset(
            "https://x/SR_B4.TIF", "B4", "red", 0.65, alternate={"s3": {"href": "s3://usgs/SR_B4.TIF"}}
        ),
        "nir08": asset("https://x/SR_B5.TIF", "B5"),
        "lwir11": asset("https://x/ST_B10.TIF", "B10"),
        "qa_pixel": asset("https://x/QA_PIXEL.TIF", roles=["cloud"]),
    }
    found = item(assets, collection="landsat-c2l2-sr", **{**LANDSAT, "platform": platform})
    entry = entry_of(found, "/x/item.json")
    assert {b.common_name: (b.scale, b.offset, b.nodata) for b in entry.bands.values()} == {
        "red": (2.75e-5, -0.2, 0), "nir08": (2.75e-5, -0.2, 0), "lwir11": (0.00341802, 149, 0),
    }  # fmt: skip
    assert entry.mask is not None


def test_early_items_of_the_usgs_list_bands_once():
    assets = {
        "SR_B4.TIF": {"href": "https://x/SR_B4.TIF", "type": "image/vnd.stac.geotiff", "eo:bands": [1]},
        "SR_B5.TIF": {"href": "https://x/SR_B5.TIF", "type": "image/vnd.stac.geotiff", "eo:bands": [0]},
        "SR_QA_AEROSOL.TIF": {"href": "https://x/SR_QA_AEROSOL.TIF", "type": "image/vnd.stac.geotiff"},
        "QA_PIXEL.TIF": {"href": "https://x/QA_PIXEL.TIF", "type": "image/vnd.stac.geotiff"},
        "MTL.txt": {"href": "https://x/MTL.txt", "type": "text/plain"},
    }
    bands = [{"name": "SR_B5", "common_name": "nir08"}, {"name": "SR_B4", "common_name": "red"}]
    properties = {"platform": None, "constellation": None, "eo:platform": "LANDSAT_8", "eo:bands": bands}
    entry = entry_of(item(assets, collection="landsat-c2l2-sr", **properties), "/x/item.json")
    assert {b.common_name: b.uri for b in entry.bands.values()} == {
        "red": "https://x/SR_B4.TIF", "nir08": "https://x/SR_B5.TIF",
    }  # fmt: skip
    assert entry.mask.uri == "https://x/QA_PIXEL.TIF"


def test_keys_alone_name_bands_where_the_sensor_is_known():
    assets = {"B4": asset("B4.TIF"), "B5_30m": asset("B5.TIF"), "vaa": asset("VAA.TIF")}
    for platform, names in (("landsat-8", ["red", "nir08"]), ("landsat-5", ["nir", "swir16"])):
        found = item(assets, collection="landsat-c2-l2", **{**LANDSAT, "platform": platform})
        entry = entry_of(found, "/x/item.json")
        assert [b.common_name for b in entry.bands.values()] == names


def test_level_1_of_landsat_has_no_fixed_scale():
    assets = {"red": asset("B4.TIF", "B4", "red")}
    found = item(assets, collection="landsat-c2-l1", **{**LANDSAT, "landsat:correction": "L1TP"})
    with pytest.warns(GeosegWarning, match="tells no scale of B4"):
        assert entry_of(found, "/x/item.json").level == "toa"


@pytest.mark.parametrize(
    ("collection", "bands"),
    [
        ("HLSS30_2.0", {"B02": "blue", "B8A": "nir08", "B11": "swir16"}),
        ("hls2-l30", {"B02": "blue", "B05": "nir08", "B10": "lwir11"}),
    ],
)
def test_hls_tells_no_scale_and_not_all_names(collection, bands):
    assets = {b: asset(f"https://x/{b}.tif", b) for b in bands}
    assets |= {"Fmask": asset("https://x/Fmask.tif"), "SZA": asset("https://x/SZA.tif")}
    found = item(assets, collection=collection, platform=None, constellation=None)
    entry = entry_of(found, "/x/item.json")
    assert {n: b.common_name for n, b in entry.bands.items()} == bands
    assert {(b.scale, b.offset, b.nodata) for b in entry.bands.values()} - {(0.01, 0, -9999)} == {
        (0.0001, 0, -9999)
    }
    assert entry.bands.get("B10") is None or entry.bands["B10"].scale == 0.01
    assert (entry.mask.invalid_bits, entry.mask.invalid_values, entry.level) == (
        (0, 1, 2, 3),
        (255,),
        "surface",
    )


def test_naip_has_one_asset_with_four_bands(tmp_path):
    names = ("Red", "Green", "Blue", "NIR")
    bands = [{"name": n, "common_name": n.lower()} for n in names]
    values = numbers(1, 30, bands=4, high=255, dtype="uint8")
    write_tif(tmp_path / "image.tif", values, 30)
    assets = {"image": {**asset("image.tif"), "eo:bands": bands, "roles": ["data"]}}
    path = write_json(tmp_path / "i.json", item(assets, collection="naip", platform=None, constellation=None))
    with pytest.warns(GeosegWarning, match="tells no scale of Red, Green, Blue"):
        found, _ = physical(path, "nir", "red")
    np.testing.assert_array_equal(found, values[[3, 0]].astype(np.float32))


def test_a_band_of_its_own_is_taken_before_one_of_many():
    bands = [{"name": n, "common_name": n} for n in ("red", "green", "blue")]
    assets = {
        "rgb": {**asset("rgb.tif", gsd=1), "eo:bands": bands, "raster:scale": 1},
        "red": asset("red.tif", "red", "red", scale=1, gsd=10),
    }
    entry = entry_of(item(assets), "/x/item.json")
    assert {n: (b.uri, b.band) for n, b in entry.bands.items()} == {
        "red": ("/x/red.tif", 1), "green": ("/x/rgb.tif", 2), "blue": ("/x/rgb.tif", 3),
    }  # fmt: skip


def test_two_bands_of_one_name_keep_their_common_names():
    assets = {"a": asset("a.tif", "band", "red", scale=1), "b": asset("b.tif", "band", "nir", scale=1)}
    assert set(entry_of(item(assets), "/x/item.json").bands) == {"red", "nir"}


def test_jpeg_2000_is_taken_where_there_is_nothing_else(tmp_path):
    values = numbers(4, 10)
    write_jp2(tmp_path / "B04.jp2", values, 10)
    path = write_json(
        tmp_path / "i.json", item({"red-jp2": asset("B04.jp2", "red", "red", scale=0.0001, offset=-0.1)})
    )
    found, valid = physical(path, "red")
    np.testing.assert_array_equal(found[0][valid], of_numbers(values, 1e-4, -0.1)[valid])
