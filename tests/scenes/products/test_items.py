import copy

import numpy as np
import pytest

from geoseg.core.errors import SceneError
from geoseg.scenes.products.entry import item_entries, read_product
from geoseg.scenes.products.items import resolve_link
from geoseg.scenes.products.stac import entry_of
from tests.inference.flaky import serve
from tests.s3 import BUCKET
from tests.scenes.products.makers import (
    asset,
    item,
    item_10,
    item_pc,
    physical,
    write_json,
)


def test_relative_and_absolute_links_and_urls(files):
    folder, _ = files
    expected = physical(write_json(folder / "i.json", item_10()), "swir16")[0]
    absolute = item_10()
    for one in absolute["assets"].values():
        one["href"] = str(folder / one["href"])
    elsewhere = write_json(folder / "deep" / "er" / "i.json", absolute)
    np.testing.assert_array_equal(physical(elsewhere, "swir16")[0], expected)
    above = copy.deepcopy(item_10())
    for one in above["assets"].values():
        one["href"] = "../" + one["href"].removeprefix("./")
    np.testing.assert_array_equal(
        physical(write_json(folder / "items" / "i.json", above), "swir16")[0], expected
    )
    with serve(folder) as url:
        for place in ("i.json", "items/i.json", "items/i.json?token=a"):
            np.testing.assert_array_equal(physical(f"{url}/{place}", "swir16")[0], expected)


def test_items_in_a_bucket(files, s3):
    folder, _ = files
    s3.upload("stac/cogs", *(folder / "cogs").iterdir())
    above = item_10()
    for one in above["assets"].values():
        one["href"] = "../" + one["href"].removeprefix("./")
    expected = physical(write_json(folder / "i.json", item_10()), "swir16")[0]
    uri = s3.upload("stac/items", write_json(folder / "above" / "i.json", above))
    np.testing.assert_array_equal(physical(f"{uri}/i.json", "swir16")[0], expected)
    named = item_10()
    for one in named["assets"].values():
        one["href"] = f"s3://{BUCKET}/stac/" + one["href"].removeprefix("./")
    np.testing.assert_array_equal(physical(write_json(folder / "named.json", named), "swir16")[0], expected)


@pytest.mark.parametrize(
    "href", ["file:///etc/passwd.tif", "/vsizip//etc/x.zip/a.tif", "/vsistdin/x.tif", "ftp://x/a.tif"]
)
@pytest.mark.parametrize(
    "base", ["https://host/items/a.json", "s3://bucket/a.json", "/vsicurl/https://host/a.json"]
)
def test_an_item_from_elsewhere_names_no_files_of_this_machine(href, base):
    found = item({"red": asset(href, "red", "red", scale=1)})
    with pytest.raises(
        SceneError, match=r"links to .*, and an item that came over a network may not name files of"
    ):
        entry_of(found, base)


@pytest.mark.parametrize(
    ("href", "base", "link"),
    [
        ("/a/B.tif", "https://host/items/a.json", "https://host/a/B.tif"),
        ("../B.tif", "https://host/items/a.json?sig=1", "https://host/B.tif"),
        ("/vsis3/b/B.tif", "https://host/a.json", "s3://b/B.tif"),
        ("../../../B.tif", "s3://bucket/x/a.json", "s3://bucket/B.tif"),
        ("./B.tif", "s3://bucket/a.json", "s3://bucket/B.tif"),
        ("https://other/B.tif?sig=2", "/data/a.json", "https://other/B.tif?sig=2"),
    ],
)
def test_links_start_where_the_item_lies(href, base, link):
    found = entry_of(item({"red": asset(href, "red", "red", scale=1)}), base)
    assert [b.uri for b in found.bands.values()] == [link]


@pytest.mark.parametrize("base", ["/data/items/a.json", "https://host/items/a.json"])
def test_a_link_that_is_no_url_is_told(base):
    with pytest.raises(SceneError, match=r"a.json: links to http://\[::1.tif, which is no URL"):
        entry_of(item({"red": asset("http://[::1.tif", "red", "red", scale=1)}), base)


def test_collections_of_items(files):
    folder, _ = files
    pages = {"type": "FeatureCollection", "features": [item_10(), item_pc()]}
    path = write_json(folder / "search.json", pages)
    with pytest.raises(
        SceneError, match=r"search.json: holds 2 items; give it as many scenes \(--scenes\) or as a mo"
    ):
        read_product(str(path))
    assert [e.bands["B11" if "B11" in e.bands else "swir16"].offset for e in item_entries(str(path))] == [
        -0.1,
        -0.1,
    ]
    one = write_json(folder / "one.geojson", {"type": "FeatureCollection", "features": [item_10()]})
    assert read_product(str(one)).item == "S2A_18SVG"


def test_a_table_of_items(files):
    from pyarrow import Table, parquet

    folder, _ = files
    rows = []
    for found in (item_10(), item_pc()):
        properties = found.pop("properties")
        rows.append({**found, **properties, "assets": found["assets"], "geometry": b"", "links": []})
        rows[-1]["datetime"] = np.datetime64("2024-06-01T15:59:01.024", "ms").astype(object)
    path = folder / "items.parquet"
    parquet.write_table(Table.from_pylist(rows), path)
    base = str(folder / "x.json")
    for found, original in zip(item_entries(str(path)), (item_10(), item_pc()), strict=True):
        assert found.model_dump() == entry_of(original, base).model_dump()
    parquet.write_table(Table.from_pylist(rows[:1]), path)
    assert read_product(str(path)).item == "S2A_18SVG"
    parquet.write_table(Table.from_pylist([{"path": "a.tif"}]), path)
    assert item_entries(str(path)) is None
    path.write_bytes(b"PAR1")
    with pytest.raises(SceneError, match=r"items.parquet: cannot be read as a table"):
        item_entries(str(path))


@pytest.mark.parametrize("kind", ["Collection", "Catalog"])
def test_documents_without_pixels_are_named(tmp_path, kind):
    path = write_json(tmp_path / "c.json", {"type": kind, "stac_version": "1.0.0", "id": "a", "links": []})
    with pytest.raises(
        SceneError, match=rf"c.json: is a STAC {kind.lower()}, which holds no pixels; search it with"
    ):
        read_product(str(path))


@pytest.mark.parametrize(
    "text", ["", "{", '{"a": ', "\xff", "[" * 99_999, "nul", '{"assets": ' * 80 + "1" + "}" * 80]
)
def test_damaged_json_is_one_line(tmp_path, text):
    path = tmp_path / "i.json"
    path.write_bytes(text.encode("latin-1"))
    with pytest.raises(SceneError, match=r"i.json: is no JSON, or damaged"):
        read_product(str(path))


@pytest.mark.parametrize(
    "value", [[], 3, None, {}, {"assets": []}, {"type": "FeatureCollection", "features": []}]
)
def test_other_json_is_no_item(tmp_path, value):
    assert read_product(str(write_json(tmp_path / "i.json", value))) is None


def test_a_link_that_needs_signing_is_told(tmp_path):
    with serve(tmp_path) as url, pytest.raises(SceneError, match=r"i.json: no such file"):
        read_product(f"{url}/i.json")
    with pytest.raises(SceneError, match=r"i.json: no such file"):
        read_product(str(tmp_path / "i.json"))


def test_a_link_of_two_lines_is_told_in_one(tmp_path):
    with pytest.raises(SceneError, match="which is no URL") as told:
        resolve_link("a.tif\nerror: all is well", str(tmp_path / "item.json"))
    assert "\n" not in str(told.value)
