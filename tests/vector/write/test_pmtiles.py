import gzip
import json
import math
import struct

import pyogrio
import pytest
from affine import Affine
from odc.geo.geobox import GeoBox

from geoseg.core import apart
from geoseg.core.apart import call_apart
from geoseg.core.errors import OutputError
from geoseg.vector.write.pmtiles import View, describe_tiles, view_of
from tests.vector.maps import patches
from tests.vector.write.test_formats import made

SAID = {"name": "fields <1>", "description": "水体", "attribution": "s &amp; t"}


def tiles_of(path):
    reader = pytest.importorskip("pmtiles.reader", reason="another reader needs: pip install pmtiles")
    with path.open("rb") as file:
        source = reader.MmapSource(file)
        return reader.Reader(source), dict(reader.all_tiles(source))


def test_an_archive_says_where_it_is_looked_at_and_what_it_is(tmp_path):
    path = made(tmp_path, patches(21), formats=("pmtiles",))["pmtiles"]
    before, features = path.read_bytes(), pyogrio.read_info(path)["features"]
    describe_tiles(path, View((15.004, 40.647), 11.8), **SAID)
    after = path.read_bytes()
    assert struct.unpack("<Bii", after[118:127]) == (11, 150_040_000, 406_470_000)
    assert after[72:118] == before[72:118]
    at, size = struct.unpack("<QQ", after[24:40])
    facts = json.loads(gzip.decompress(after[at : at + size]))
    assert facts.items() >= {**SAID, "center": "15.004,40.647,11"}.items()
    at, size = struct.unpack("<QQ", after[56:72])
    assert at + size == len(after), "the archive ends with its tiles"
    assert after[at:] == before[-size:]
    assert pyogrio.read_info(path)["features"] == features
    assert [p.name for p in tmp_path.iterdir() if p.name.startswith(".")] == []
    describe_tiles(path, View((15.004, 40.647), 11.8), **SAID)
    assert path.read_bytes() == after


def test_a_process_of_its_own_makes_the_same_archive(tmp_path, monkeypatch):
    here = made(tmp_path / "here", patches(21), formats=("pmtiles",))["pmtiles"]
    calls = []
    monkeypatch.setattr(apart, "call_apart", lambda *call: calls.append(call) or call_apart(*call))
    there = made(tmp_path / "there", patches(21), formats=("pmtiles",))["pmtiles"]
    assert len(calls) == 1
    assert there.read_bytes() == here.read_bytes()


def test_another_reader_finds_the_same_tiles(tmp_path):
    path = made(tmp_path, patches(21), formats=("pmtiles",))["pmtiles"]
    _, before = tiles_of(path)
    describe_tiles(path, View((15.004, 40.647), 99), **SAID)
    reader, after = tiles_of(path)
    assert after == before != {}
    assert reader.header()["center_zoom"] == reader.header()["max_zoom"]
    assert reader.metadata()["attribution"] == SAID["attribution"]


def test_a_failing_disk_leaves_the_archive(tmp_path, monkeypatch):
    path = made(tmp_path, patches(21), formats=("pmtiles",))["pmtiles"]
    before = path.read_bytes()
    monkeypatch.setattr("shutil.copyfileobj", lambda *_: (_ for _ in ()).throw(OSError(28, "No space")))
    with pytest.raises(OutputError, match="cannot be written"):
        describe_tiles(path, View((15.0, 40.6), 3), **SAID)
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir() if p.name.startswith(".")] == []


@pytest.mark.parametrize(
    ("crs", "transform", "center", "zoom"),
    [
        # A world of 40,075 km on 768 px is a tile and a half.
        ("EPSG:4326", Affine(1, 0, -180, 0, -1, 90), (0, 0), 0.58),
        ("EPSG:32633", Affine(10, 0, 499_000, 0, -10, 4_500_900), (15, 40.65), None),
        ("EPSG:32601", Affine(10, 0, 180_000, 0, -10, 7_000_900), (176.6, 63), None),
    ],
)
def test_at_first_all_of_a_map_is_seen(crs, transform, center, zoom):
    box = GeoBox((180, 360) if zoom else (180, 200), transform, crs)
    view = view_of(box)
    assert view.center == pytest.approx(center, abs=0.2)
    if zoom is None:
        share = 200 * 10 / (2 * math.pi * 6378137 * math.cos(math.radians(view.center[1])))
        zoom = math.log2(768 / 512 / share)
    assert view.zoom == pytest.approx(zoom, abs=0.02)
