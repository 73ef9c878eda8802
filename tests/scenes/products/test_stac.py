import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from geoseg.config.scene import SceneEntry
from geoseg.core.errors import GeosegWarning, SceneError
from geoseg.scenes.products.entry import _checked, read_product
from geoseg.scenes.products.stac import entry_of
from tests.scenes.products.makers import (
    asset,
    item,
    item_10,
    item_11,
    item_pc,
    of_numbers,
    opened,
    physical,
    write_json,
)

CLOUDY = (0, 1, 3, 8, 9, 10)


@pytest.mark.parametrize("make", [item_10, item_11, item_pc])
def test_every_version_of_an_item_is_the_same_scene(files, make):
    folder, found = files
    path = write_json(folder / f"{make.__name__}.json", make())
    values, valid = physical(path, "swir16")
    expected = (found["B11"] != 0) & (found["B11"] != 65535) & ~np.isin(found["SCL"], CLOUDY)
    np.testing.assert_array_equal(valid, expected)
    np.testing.assert_array_equal(values[0][valid], of_numbers(found["B11"], 1e-4, -0.1)[valid])
    entry = read_product(str(path))
    assert [b.common_name for b in entry.bands.values()] == ["red", "swir16"]
    assert (entry.product, entry.level, entry.baseline) == ("sentinel-2-l2a", "surface", "05.10")
    assert (entry.platform, entry.cloud_cover, entry.item) == ("sentinel-2a", 12.5, "S2A_18SVG")
    assert entry.datetime.isoformat() == "2024-06-01T15:59:01.024000+00:00"


def test_an_offset_that_is_applied_is_not_taken_again(files):
    folder, found = files
    path = write_json(folder / "applied.json", item_10(**{"earthsearch:boa_offset_applied": True}))
    values, valid = physical(path, "red", mask=None)
    np.testing.assert_array_equal(values[0][valid], of_numbers(found["B04"], 1e-4)[valid])
    assert opened(path, "red", offset=-0.1).bands[0].offset == -0.1  # who says otherwise is believed


def test_the_flag_of_an_applied_offset_is_of_the_geotiffs(files):
    assets = {"red-jp2": asset("B04.jp2", "red", "red", scale=0.0001, offset=-0.1)}
    entry = entry_of(item(assets, **{"earthsearch:boa_offset_applied": True}), "/x/item.json")
    assert [b.offset for b in entry.bands.values()] == [-0.1]


@pytest.mark.parametrize(
    ("baseline", "offset"), [("05.10", -0.1), ("04.00", -0.1), ("03.01", 0), ("02.14", 0), ("99.99", -0.1)]
)
def test_the_baseline_decides_where_nothing_else_does(baseline, offset):
    bands = entry_of(item_pc(baseline), "/x/item.json").bands
    assert {(b.scale, b.offset, b.nodata) for b in bands.values()} == {(0.0001, offset, 0)}


def test_an_item_that_tells_no_scale_is_noted():
    found = item_pc()
    del found["properties"]["s2:processing_baseline"]
    with pytest.warns(
        GeosegWarning, match="item S2A_18SVG: tells no scale of B04, B11; what the files say counts, e"
    ):
        entry = entry_of(found, "/x/item.json")
    assert {b.scale for b in entry.bands.values()} == {None}


def test_a_missing_asset_is_named(files):
    folder, _ = files
    path = write_json(folder / "i.json", item_10())
    with pytest.raises(SceneError, match=r"toy: item S2A_18SVG has no asset for nir; it has red, swir16$"):
        opened(path, "nir")


# What is wrong


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"href": None}, "item S2A_18SVG has no asset with a band of a raster"),
        ({"href": 3}, "has no asset with a band"),
        ({"type": [], "href": "x.bin"}, "has no asset with a band"),
        ({"raster:bands": [{"scale": 0}]}, "scale in its metadata: "),
        ({"raster:bands": [{"scale": -1}]}, "scale in its metadata: "),
        ({"raster:bands": [{"scale": True}]}, "scale in its metadata: "),
        ({"raster:bands": [{"scale": "a"}]}, "scale in its metadata: "),
        ({"raster:bands": [{"scale": 1, "offset": float("inf")}]}, "offset in its metadata: "),
        ({"raster:bands": [{"scale": float("nan")}]}, "scale in its metadata: "),
        ({"raster:bands": [{"scale": 1, "nodata": []}]}, "nodata in its metadata: "),
        ({"href": "http://[/x.tif"}, r"i.json: links to http://\[/x.tif, which is no URL"),
    ],
)
def test_wrong_fields_are_one_line(tmp_path, fields, message):
    found = item({"red": {**asset("red.tif", "red", "red", scale=1), **fields}})
    path = write_json(tmp_path / "i.json", found)
    place = str(path)
    if "[" in str(fields.get("href")):
        with pytest.raises(SceneError, match=message):
            entry_of(found, "https://host/i.json")
        return
    with pytest.raises(SceneError, match=message):
        read_product(place)


@pytest.mark.parametrize("nodata", ["nan", "NaN", float("nan")])
def test_nan_is_nodata_in_any_case(nodata):
    found = item({"red": asset("red.tif", "red", "red", scale=1, nodata=nodata)})
    assert entry_of(found, "/x/i.json").bands["red"].nodata is None


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5)
    | st.sampled_from(["B02", "red", "rededge", "https://h/x.tif", "a.tif", "05.10", 1e400, 10**400]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=6,
)  # fmt: skip
PLACES = (
    "collection",
    "id",
    "properties",
    "properties/platform",
    "properties/datetime",
    "properties/eo:cloud_cover",
    "properties/eo:bands",
    "properties/s2:processing_baseline",
    "properties/processing:level",
    "properties/landsat:correction",
    "assets/red",
    "assets/scl",
    "assets/red/href",
    "assets/scl/href",
    "assets/red/type",
    "assets/red/roles",
    "assets/red/gsd",
    "assets/red/proj:transform",
    "assets/red/eo:bands",
    "assets/red/bands",
    "assets/red/raster:bands",
    "assets/red/eo:bands/0",
    "assets/red/eo:bands/0/name",
    "assets/red/eo:bands/0/common_name",
    "assets/red/eo:bands/0/center_wavelength",
    "assets/red/eo:bands/0/full_width_half_max",
    "assets/red/raster:bands/0",
    "assets/red/raster:bands/0/scale",
    "assets/red/raster:bands/0/offset",
    "assets/red/raster:bands/0/nodata",
    "assets/red/raster:bands/0/spatial_resolution",
)


@settings(max_examples=150, deadline=None)
@given(changes=st.dictionaries(st.sampled_from(PLACES), JSON, min_size=1, max_size=4), remote=st.booleans())
@pytest.mark.filterwarnings("ignore::geoseg.core.errors.GeosegWarning")
def test_an_item_of_any_types_is_an_entry_or_one_line(changes, remote):
    found = item_10()
    for place, value in changes.items():
        *folders, last = place.split("/")
        inner = found
        for key in folders:
            inner = (
                inner.get(key)
                if isinstance(inner, dict)
                else inner[0]
                if isinstance(inner, list) and inner
                else None
            )
        if isinstance(inner, dict):
            inner[last] = value
        elif isinstance(inner, list):
            inner[:1] = [value]
    try:
        # Written and read again, as the JSON that it is; not through a file, which would take a second.
        with _checked("https://host/i.json"):
            entry = entry_of(
                json.loads(json.dumps(found)), "https://host/i.json" if remote else "/data/i.json"
            )
    except SceneError as error:
        assert "\n" not in str(error)  # noqa: PT017
        assert len(str(error)) <= 300  # noqa: PT017
    else:
        assert isinstance(entry, SceneEntry)
