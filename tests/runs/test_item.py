import hashlib
import json
from datetime import UTC, datetime

import numpy as np
import pystac
import pytest
import shapely
from affine import Affine
from odc.geo.geobox import GeoBox
from pyproj import Transformer
from pystac.extensions.file import FileExtension
from pystac.extensions.projection import ProjectionExtension

from geoseg.config.scene import SceneEntry
from geoseg.core.legend import NODATA
from geoseg.runs.item import Output, footprint, make_item
from geoseg.runs.validate.stac_schema import schema_problems
from geoseg.scenes.aoi import resolve_aoi
from geoseg.scenes.opening import open_scene
from geoseg.scenes.scene import Scene
from tests.conftest import BAND_NAMES, reflectance, write_raster
from tests.stac_fields import extension_problems

FINISHED = datetime(2024, 6, 2, 12, 30, 5, tzinfo=UTC)
COUNTS = {1: 7000, 3: 61, NODATA: 11}


@pytest.fixture
def described(tmp_path, bundle):
    """Make the item of a scene of 90 x 80 px with a class map, a picture and polygons."""

    def describe(crs="EPSG:32633", **entry):
        place = {"gsd": 1e-4, "origin": (15.0, 48.0)} if crs == "EPSG:4326" else {}
        path = write_raster(tmp_path / "scene.tif", reflectance(90, 80), names=BAND_NAMES, crs=crs, **place)
        scene = open_scene(SceneEntry(uri=str(path), **entry), "my scene", tmp_path)
        write_raster(
            tmp_path / "classes.tif", np.ones((90, 80), np.uint8), names=["class"], nodata=255, crs=crs
        )
        for name in ("polygons.gpkg", "quicklook.png", "classes.qml"):
            (tmp_path / name).write_bytes(name.encode())
        names = ("classes.tif", "polygons.gpkg", "quicklook.png", "classes.qml")
        outputs = [
            Output(f, f.stat().st_size, hashlib.sha256(f.read_bytes()).hexdigest())
            for f in (tmp_path / name for name in names)
        ]
        return make_item(
            "toy", scene, bundle, outputs, COUNTS, folder=tmp_path / "runs/out",
            fingerprint="0123456789abcdef", finished=FINISHED,
        )  # fmt: skip

    return describe


@pytest.mark.parametrize("crs", ["EPSG:32633", "EPSG:4326", None, "+proj=laea +lat_0=48 +lon_0=15"])
def test_the_item_follows_the_schemas(described, crs, tmp_path):
    item = described(crs)
    assert item == json.loads(json.dumps(item))
    assert schema_problems(item) == []
    assert extension_problems(item) == []
    assert (item["stac_version"], item["id"]) == ("1.1.0", "toy-0123456789ab")


def test_the_schemas_refuse_what_is_wrong(described):
    item = described()
    item["assets"]["classes"]["file:checksum"] = "XYZ"
    item["properties"]["proj:epsg"] = 32633
    assert len(extension_problems(item)) == 2
    del item["properties"]["datetime"]
    assert schema_problems(item)


def test_every_file_is_an_asset_with_its_checksum(described, tmp_path):
    item = pystac.Item.from_dict(described())
    assert {k: (a.href, a.media_type, a.roles) for k, a in item.assets.items()} == {
        "classes": ("./classes.tif", pystac.MediaType.COG, ["data"]),
        "polygons.gpkg": ("./polygons.gpkg", pystac.MediaType.GEOPACKAGE, ["data"]),
        "quicklook.png": ("./quicklook.png", pystac.MediaType.PNG, ["overview"]),
        "classes.qml": ("./classes.qml", pystac.MediaType.XML, ["style"]),
        "report.html": ("./report.html", pystac.MediaType.HTML, ["metadata"]),
        "run.json": ("./run.json", pystac.MediaType.JSON, ["metadata"]),
    }
    for key in ("classes", "polygons.gpkg"):
        asset = item.assets[key]
        data = (tmp_path / asset.href).read_bytes()
        facts = FileExtension.ext(asset)
        # The multihash of a sha256: its code 0x12, its length 0x20, its 32 bytes.
        assert bytes.fromhex(facts.checksum) == b"\x12\x20" + hashlib.sha256(data).digest()
        assert facts.size == len(data)


def test_the_grid_and_the_classes_are_told(described):
    item = described()
    grid = ProjectionExtension.ext(pystac.Item.from_dict(item))
    assert (grid.code, grid.wkt2, grid.shape) == ("EPSG:32633", None, [90, 80])
    assert grid.transform == [10, 0, 500_000, 0, -10, 4_500_000]
    assert grid.bbox == [500_000, 4_499_100, 500_800, 4_500_000]
    (band,) = item["assets"]["classes"]["bands"]
    assert (band["name"], band["data_type"], band["nodata"]) == ("class", "uint8", 255)
    assert band["raster:spatial_resolution"] == 10
    rows = [(c["value"], c["name"], c.get("title"), c["count"]) for c in band["classification:classes"]]
    assert rows == [
        (1, "class-1", "Class 1", 7000), (2, "class-2", "Class 2", 0), (3, "class-3", "Class 3", 61),
        (255, "nodata", None, 11),
    ]  # fmt: skip
    assert band["classification:classes"][0]["color_hint"] == "1B7837"


def test_a_crs_without_a_code_is_told_in_words(described):
    properties = described("+proj=laea +lat_0=48 +lon_0=15")["properties"]
    assert properties["proj:code"] is None
    assert properties["proj:wkt2"].startswith("PROJCRS")


def test_without_a_crs_there_is_no_place(described):
    item = described(None, gsd=0.5)
    assert item["geometry"] is None
    assert "bbox" not in item
    assert item["properties"]["gsd"] == 0.5
    assert "proj:bbox" not in item["properties"]
    assert item["properties"]["proj:shape"] == [90, 80]


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ("2024-06-01T10:11:12Z", "2024-06-01T10:11:12Z"),
        ("2024-06-01T10:11:12", "2024-06-01T10:11:12Z"),
        ("2024-06-01T10:11:12+02:00", "2024-06-01T08:11:12Z"),
        (None, "2024-06-02T12:30:05Z"),
    ],
)
def test_the_time_is_that_of_the_scene_where_it_is_known(described, said, expected):
    properties = described(datetime=said)["properties"]
    assert properties["datetime"] == expected
    assert properties["created"] == properties["processing:datetime"] == "2024-06-02T12:30:05Z"
    assert ("not known when the scene was taken" in properties["description"]) == (said is None)


def test_scene_and_model_are_linked_without_folders_of_this_machine(described, tmp_path, monkeypatch):
    links = described()["links"]
    assert [(k["rel"], k["href"]) for k in links] == [
        ("derived_from", "scene.tif"),
        ("derived_from", "toy/geoseg.json"),
    ]
    assert links[0]["title"] == "my scene: blue, green, red, nir"
    monkeypatch.chdir(tmp_path)
    assert described()["links"][0]["href"] == "../../scene.tif"


def grid(crs, left, top, gsd, shape=(1000, 1000)):
    return GeoBox(shape, Affine(gsd, 0, left, 0, -gsd, top), crs)


def test_the_footprint_covers_the_map_also_between_its_corners():
    # In UTM at 60 degrees north an edge bends by some hundred metres against a straight line in degrees.
    box = grid("EPSG:32633", 300_000, 6_700_000, 100)
    outline = footprint(box)
    assert outline.is_valid
    assert outline.exterior.is_ccw
    to_degrees = Transformer.from_crs("EPSG:32633", "EPSG:4326", always_xy=True)
    back = Transformer.from_crs("EPSG:4326", "EPSG:32633", always_xy=True)
    x, y = np.meshgrid(np.linspace(300_000, 400_000, 41), np.linspace(6_600_000, 6_700_000, 41))
    inside = shapely.contains_xy(outline.buffer(1e-4), *to_degrees.transform(x, y))
    assert inside.all()
    there = shapely.transform(outline.segmentize(0.01), lambda p: np.column_stack(back.transform(*p.T)))
    assert there.area == pytest.approx(1e10, rel=1e-4)


def test_a_map_across_the_antimeridian_is_cut():
    outline = footprint(grid("EPSG:32701", 100_000, 8_200_000, 100))
    assert outline.geom_type == "MultiPolygon"
    assert outline.is_valid
    assert sorted(round(v) for g in outline.geoms for v in g.bounds[::2]) == [-180, -180, 179, 180]


@pytest.mark.parametrize("west", [0, -180, -179.875, 0.125, 20])
def test_a_map_of_the_world_has_the_world_as_footprint(west):
    outline = footprint(grid("EPSG:4326", west, 90, 0.25, (720, 1440)))
    assert outline.is_valid
    assert outline.bounds == (-180, -90, 180, 90)
    assert outline.area == 360 * 180


def test_a_map_that_counts_longitudes_to_360_is_cut():
    outline = footprint(grid("EPSG:4326", 100, 60, 0.2, (500, 1000)))
    assert outline.is_valid
    assert outline.area == pytest.approx(200 * 100)
    assert sorted(g.bounds for g in outline.geoms) == [(-180, -40, -60, 60), (100, -40, 180, 60)]


def test_a_map_around_the_pole_reaches_it():
    outline = footprint(grid("EPSG:3413", -500_000, 500_000, 1000))
    assert outline.is_valid
    assert outline.bounds[0::2] == (-180, 180)
    assert outline.bounds[3] == 90


@pytest.mark.parametrize(
    "box",
    [
        grid("EPSG:32701", 100_000, 8_200_000, 100),
        grid("EPSG:4326", 178.5, -15.9, 0.001, (1500, 3000)),
        grid("EPSG:4326", -181.5, -15.9, 0.001, (1500, 3000)),
    ],
)
def test_an_area_of_interest_is_the_footprint_also_across_the_antimeridian(box):
    on = Scene("toy", box, ())
    west, south, east, north = 179.6, -17.2, -179.7, -16.4
    found = footprint(box, resolve_aoi((west, south, east, north), on).geometry)
    parts = shapely.box(west, south, 180, north), shapely.box(-180, south, east, north)
    there = footprint(box)
    expected = shapely.union_all([p.intersection(there) for p in parts])
    assert found.geom_type == "MultiPolygon"
    assert found.symmetric_difference(expected).area < 0.01 * expected.area
    one = footprint(box, resolve_aoi((179.7, -17.0, 179.8, -16.9), on).geometry)
    assert one.geom_type == "Polygon"
    assert one.bounds == pytest.approx((179.7, -17.0, 179.8, -16.9), abs=0.002)


def test_a_grid_that_leaves_the_earth_has_no_footprint():
    assert footprint(grid("+proj=ortho +lat_0=0 +lon_0=0", -7e6, 7e6, 14_000)) is None
