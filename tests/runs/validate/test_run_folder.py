"""Runs damaged on purpose: each damage is found, and nothing is found in a run that is whole."""

import hashlib
import json
import os
import shutil
import sqlite3
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

import geopandas as gpd
import numpy as np
import pytest
import rasterio
import shapely
from affine import Affine
from rasterio.features import rasterize
from rasterio.windows import Window

from geoseg.config.pipeline import Vectorize
from geoseg.core.errors import OutputError
from geoseg.core.files import output_entry
from geoseg.core.legend import Legend, LegendClass
from geoseg.core.ordered import Workers
from geoseg.runs.prepare import prepare
from geoseg.runs.run import run
from geoseg.runs.validate import reading, validate
from geoseg.runs.validate.stac_schema import schema_problems
from geoseg.vector.recipe import resolve_recipe
from geoseg.vector.trace.block import MapFiles
from geoseg.vector.vectorize import vectorize as write_polygons
from tests.conftest import BAND_NAMES, reflectance, write_photograph, write_pipeline, write_raster
from tests.stac_fields import extension_problems

SURE = 0.75
"""A confidence that some polygons of the toy network do not reach."""


EVERYTHING = [
    "outputs.probabilities=true",
    "outputs.instances=true",
    "vectorize={instances: {method: components, classes: [class-1]}}",
    "outputs.polygons=[gpkg, parquet, fgb, geojson, pmtiles]",
]


@pytest.fixture(scope="module")
def runs(tmp_path_factory, bundle):
    """Finished runs over a scene with a hole of nodata."""
    values = reflectance(200, 180)
    values[:, 60:90, 50:120] = 0
    values[:, :30, 150:] = 0
    made = {}
    for name, crs, more in (
        ("exact", "EPSG:32633", ["outputs.probabilities=true", "outputs.polygons=[gpkg,fgb,pmtiles]"]),
        ("generalised", "EPSG:32633", ["vectorize={minimum_area: 2000, simplify: 15}"]),
        ("nowhere", None, ["gsd=10"]),
        ("plain", "EPSG:32633", ["outputs.polygons=[]"]),
        ("everything", "EPSG:32633", EVERYTHING),
    ):
        folder = tmp_path_factory.mktemp(name)
        scene = folder / "scene.tif"
        if crs is None:
            write_photograph(scene, values, scale=1e-4, nodata=0)
        else:
            write_raster(scene, values, names=BAND_NAMES, scale=1e-4, nodata=0, crs=crs)
        pipeline = write_pipeline(folder, scene, bundle.folder)
        run(prepare(pipeline, [*more, "checks.statistics=off"]))
        made[name] = folder / "out"
    return made


def test_map_and_polygons_of_a_photograph_lie_on_it(runs):
    """Programs show a raster without georeference with y = -row, and so must its map and polygons."""
    for path in runs["nowhere"].glob("*.tif"):
        with rasterio.open(path) as src:
            assert src.crs is None
            assert src.transform[:6] == (1, 0, 0, 0, -1, 0)
    with rasterio.open(runs["nowhere"] / "classes.tif") as src:
        classes = src.read(1)
    frame = gpd.read_file(runs["nowhere"] / "polygons.gpkg", layer="toy")
    burned = rasterize(
        zip(frame.geometry, frame.class_id, strict=True),
        classes.shape,
        fill=255,
        transform=Affine.scale(1, -1),
    )
    assert (burned == classes).all()


@pytest.fixture
def copied(runs, tmp_path):
    """Copy a run, to be damaged."""
    return lambda name: shutil.copytree(runs[name], tmp_path / name)


def change(path, *pairs):
    """Replace texts in a file."""
    text = path.read_text(encoding="utf-8")
    for old, new in pairs:
        assert old in text, old
        text = text.replace(old, new)
    path.write_text(text, encoding="utf-8")


def sql(folder, text, *values):
    """Change the polygons; the triggers of the index are GDAL's, and sqlite lacks their functions."""
    with closing(sqlite3.connect(folder / "polygons.gpkg")) as db:
        triggers = "SELECT name, sql FROM sqlite_master WHERE type = 'trigger' AND tbl_name = 'toy'"
        kept = db.execute(triggers).fetchall()
        for name, _ in kept:
            db.execute(f'DROP TRIGGER "{name}"')
        assert db.execute(text, values).rowcount != 0
        for _, made in kept:
            db.execute(made)
        db.commit()


def vouch(folder):
    """Put the new checksums into the record and the item: only what is inside the files tells the damage."""
    record = json.loads((folder / "run.json").read_text())
    item = json.loads((folder / "item.json").read_text())
    assets = {a["href"].removeprefix("./"): a for a in item["assets"].values()}
    for name, facts in record["outputs"].items():
        path = folder / name
        if name != "item.json" and path.exists():
            facts |= {"bytes": path.stat().st_size, "sha256": hashlib.sha256(path.read_bytes()).hexdigest()}
            told = assets.setdefault(name, {})
            told |= {"file:size": facts["bytes"], "file:checksum": "1220" + facts["sha256"]}
    (folder / "item.json").write_text(json.dumps(item))
    text = (folder / "item.json").read_bytes()
    record["outputs"]["item.json"] = {"bytes": len(text), "sha256": hashlib.sha256(text).hexdigest()}
    (folder / "run.json").write_text(json.dumps(record))


def cut(folder):
    path = folder / "classes.tif"
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def paint(value, row=5, col=5):
    def damage(folder):
        with rasterio.open(folder / "classes.tif", "r+", IGNORE_COG_LAYOUT_BREAK="YES") as dst:
            before = dst.read(1, window=Window(col, row, 1, 1))[0, 0]
            new = value if value != before else value + 1
            dst.write(np.full((1, 1), new, np.uint8), 1, window=Window(col, row, 1, 1))
        vouch(folder)

    return damage


def without_nodata(folder):
    with rasterio.open(folder / "confidence.tif", "r+", IGNORE_COG_LAYOUT_BREAK="YES") as dst:
        dst.nodata = None
    vouch(folder)


def not_cloud_optimised(folder):
    with rasterio.open(folder / "confidence.tif") as src:
        values, profile, tags = src.read(), src.profile, src.tags()
    plain = {**profile, "driver": "GTiff", "tiled": False, "blockysize": 1}
    plain.pop("blockxsize", None)
    with rasterio.open(folder / "confidence.tif", "w", **plain) as dst:
        dst.write(values)
        dst.update_tags(**tags)
    vouch(folder)


def shifted(folder):
    with rasterio.open(folder / "confidence.tif", "r+", IGNORE_COG_LAYOUT_BREAK="YES") as dst:
        dst.transform = dst.transform @ rasterio.Affine.translation(1, 0)
    vouch(folder)


def edited(*pairs):
    return lambda folder: change(folder / "run.json", *pairs)


def fewer_pixels(folder):
    record = json.loads((folder / "run.json").read_text())
    record["pixels"]["class-1"] -= 10
    record["pixels"]["class-2"] += 10
    (folder / "run.json").write_text(json.dumps(record))


def larger_area(folder):
    record = json.loads((folder / "run.json").read_text())
    record["area_m2"]["class-1"] += 100
    (folder / "run.json").write_text(json.dumps(record))


def stale(folder):
    item = json.loads((folder / "item.json").read_text())
    item["assets"]["classes"]["file:checksum"] = "1220" + 64 * "0"
    (folder / "item.json").write_text(json.dumps(item))
    vouch_for_item(folder)


def vouch_for_item(folder):
    record = json.loads((folder / "run.json").read_text())
    text = (folder / "item.json").read_bytes()
    record["outputs"]["item.json"] = {"bytes": len(text), "sha256": hashlib.sha256(text).hexdigest()}
    (folder / "run.json").write_text(json.dumps(record))


def item_without(key):
    def damage(folder):
        item = json.loads((folder / "item.json").read_text())
        del item[key]
        (folder / "item.json").write_text(json.dumps(item))
        vouch_for_item(folder)

    return damage


def style(name, *pairs):
    def damage(folder):
        change(folder / name, *pairs)
        vouch(folder)

    return damage


def statement(text):
    def damage(folder):
        sql(folder, text)
        vouch(folder)

    return damage


def deleted(folder):
    sql(folder, "DELETE FROM toy WHERE id = (SELECT id FROM toy ORDER BY area_m2 DESC LIMIT 1)")
    sql(folder, "DELETE FROM rtree_toy_geom WHERE id NOT IN (SELECT id FROM toy)")
    vouch(folder)


def moved(folder, by=20.0):
    """Move the largest polygon."""
    reshape(folder, lambda g: shapely.transform(g, lambda xy: xy + by))


def reshape(folder, change):
    """Change the largest polygon: its geometry, its envelope and its place in the index."""
    with closing(sqlite3.connect(folder / "polygons.gpkg")) as db:
        largest = "SELECT id, geom FROM toy ORDER BY area_m2 DESC LIMIT 1"
        fid, blob = db.execute(largest).fetchone()
    head = 8 + 32  # of the blob: magic, version, flags, srs_id; then the envelope
    new = change(shapely.from_wkb(blob[head:]))
    west, south, east, north = new.bounds
    envelope = np.array([west, east, south, north]).astype("<f8").tobytes()
    geometry = blob[:8] + envelope + shapely.to_wkb(new, byte_order=1)
    sql(folder, "UPDATE toy SET geom = ? WHERE id = ?", geometry, fid)
    sql(
        folder, "UPDATE rtree_toy_geom SET minx = ?, maxx = ?, miny = ?, maxy = ? WHERE id = ?",
        west, east, south, north, fid,
    )  # fmt: skip
    vouch(folder)


DAMAGES = {
    "truncated map": (cut, "files", "classes.tif: size"),
    "truncated map, read": (cut, "rasters", "rasters: pixels: expected readable"),
    "changed pixel": (paint(1), "rasters", "classes.tif: pixels of class-"),
    "changed pixel, polygons": (paint(1), "polygons", "polygons.gpkg: classes: expected those of the map"),
    "strange class": (paint(77), "rasters", "class ids: expected one of 1, 2, 3, found 77 (1 px)"),
    "nodata unset": (without_nodata, "rasters", "confidence.tif: nodata of band 1: expected 255, found None"),
    "no COG": (not_cloud_optimised, "rasters", "confidence.tif: layout"),
    "shifted": (shifted, "rasters", "confidence.tif: transform"),
    "names missing": (lambda f: (f / "classes.tif.aux.xml").unlink(), "files", "classes.tif.aux.xml: file: "),
    "names missing, styles": (lambda f: (f / "classes.tif.aux.xml").unlink(), "styles", "attribute table: "),
    "renamed class": (
        style("classes.tif.aux.xml", ("Class 2", "Class two")), "styles",
        "classes.tif.aux.xml: category names, class 2: expected Class 2 #f2cf63, found Class two",
    ),
    "other colour": (style("classes.qml", ("#2b7bba", "#2b7bbb")), "styles", "classes.qml: classes, class 3"),
    "no SLD class": (
        style("classes.sld", ('quantity="1"', 'quantity="9"')), "styles", "classes.sld: classes, class 9",
    ),
    "colour of polygons.qml": (
        style("polygons.qml", ('value="43,123,186,255"', 'value="43,123,187,255"')), "styles",
        "polygons.qml: classes, class 3",
    ),
    "name in the web style": (
        style("polygons.style.json", ('"3 Class 3"', '"3 Class 4"')), "styles",
        "polygons.style.json: classes, class 3",
    ),
    "broken web style": (style("polygons.style.json", ("[", "{")), "styles", "classes: expected readable"),
    "broken XML": (style("classes.qml", ("<qgis", "<<qgis")), "styles", "classes: expected readable"),
    "no layer style": (statement("DELETE FROM layer_styles"), "styles", "polygons.gpkg: default style"),
    "style of another column": (
        statement("UPDATE layer_styles SET f_geometry_column = 'x'"), "styles", "0 default styles",
    ),
    "deleted polygon": (deleted, "polygons", "polygons.gpkg: gaps: expected none"),
    "moved polygon": (moved, "polygons", "polygons.gpkg: overlaps: expected none"),
    "other class": (
        statement("UPDATE toy SET class_id = 3, class_name = 'Class 3' WHERE class_id = 1"), "polygons",
        "polygons.gpkg: classes",
    ),
    "index out of date": (
        statement("DELETE FROM rtree_toy_geom WHERE id = 1"), "polygons", "polygons.gpkg: spatial index",
    ),
    "no index": (
        statement("DELETE FROM gpkg_extensions WHERE extension_name = 'gpkg_rtree_index'"), "polygons",
        "polygons.gpkg: spatial index",
    ),
    "wrong area": (statement("UPDATE toy SET area_m2 = area_m2 * 1.1"), "polygons", "sum of area_m2 of"),
    "wrong name": (
        statement("UPDATE toy SET class_name = 'x' WHERE class_id = 1"), "polygons", "name of class 1",
    ),
    "no database": (
        lambda f: (f / "polygons.gpkg").write_bytes(b"x"), "polygons", "polygons: expected readable",
    ),
    "edited record": (
        edited(('"augment": "none"', '"augment": "flips"')), "record", "fingerprint of identity",
    ),
    "edited pixels": (fewer_pixels, "rasters", "pixels of class-1"),
    "edited area": (larger_area, "rasters", "run.json: area of class-1"),
    "record without key": (edited(('"fingerprint":', '"x":')), "record", "no fingerprint"),
    "record is no JSON": (lambda f: (f / "run.json").write_text("{"), "record", "run.json: the record"),
    "stale checksum": (stale, "item", "item.json: size and checksum of classes.tif"),
    "item without type": (item_without("type"), "item", "item.json: schema"),
    "item without assets": (item_without("assets"), "item", "item.json: schema"),
    "temporary file": (lambda f: (f / ".a.gpkg.77.tmp").touch(), "files", ".a.gpkg.77.tmp: file beside"),
    "journal": (lambda f: (f / "polygons.gpkg-wal").touch(), "files", "polygons.gpkg-wal: file beside"),
    "staging": (lambda f: (f / "staging").mkdir(), "files", "staging: file beside"),
    "overviews": (lambda f: (f / "classes.tif.ovr").touch(), "files", "classes.tif.ovr: file beside"),
}  # fmt: skip


@pytest.mark.parametrize("name", ["exact", "generalised", "nowhere", "plain", "everything"])
def test_a_whole_run_is_valid(runs, name):
    report = validate(runs[name])
    assert report.failures == []
    names = ["record", "files", "rasters", "styles", "polygons", "item"]
    assert [g.name for g in report.groups] == [n for n in names if n != "polygons" or name != "plain"]


@pytest.mark.parametrize(
    ("place", "more"),
    [
        ({"crs": "EPSG:4326", "gsd": 1e-4, "origin": (179.995, -17.0)}, "vectorize={}"),
        ({"crs": "EPSG:4326", "gsd": 3.6, "origin": (0.0, 90.0)}, "vectorize={simplify: 1 px}"),
        ({"crs": "EPSG:32760", "origin": (818_900, 8_100_000)}, "vectorize={crs: EPSG:4326}"),
    ],
)
def test_runs_across_the_antimeridian_are_valid_and_no_polygon_spans_the_world(tmp_path, bundle, place, more):
    shape = (50, 100) if place.get("gsd") == 3.6 else (64, 120)
    scene = write_raster(tmp_path / "scene.tif", reflectance(*shape), names=BAND_NAMES, scale=1e-4, **place)
    pipeline = write_pipeline(tmp_path, scene, bundle.folder)
    off = ["checks.statistics=off", "checks.gsd=off"]
    run(prepare(pipeline, [more, "outputs.polygons=[gpkg, geojson, pmtiles]", *off]))
    assert validate(tmp_path / "out").failures == []
    item = json.loads((tmp_path / "out/item.json").read_text())
    assert shapely.from_geojson(json.dumps(item["geometry"])).is_valid
    for path in (tmp_path / "out" / f"polygons.{form}" for form in ("gpkg", "geojson", "pmtiles")):
        # Each part is turned into degrees by itself: as it is stored, it may end at 180 or at -180.
        features = gpd.read_file(path, layer="toy").to_crs("EPSG:4326").explode()
        west, _, east, _ = features.bounds.to_numpy().T
        # A region of the world map may go around the world.
        assert (east - west).max() <= (360 + 1e-6 if place.get("gsd") == 3.6 else 0.02), path
        if path.suffix != ".gpkg":
            assert west.min() >= -180 - 1e-6, path
            assert east.max() <= 180 + 1e-6, path


SMALL = {
    "a class that is nowhere": ((8, 8), 10, "vectorize={}"),
    "corners of a fifth of the map": ((20, 20), 10, "vectorize={simplify: 8 px}"),
    "regions of a fifth of the map": ((20, 20), 10, "vectorize={minimum_area: 90 px}"),
    "rounded": ((12, 16), 10, "vectorize={simplify: 4 px, smooth: 8 px}"),
    "large pixels": ((90, 60), 3000, "vectorize={crs: EPSG:4326}"),
    "large pixels in a web file": ((90, 60), 3000, "outputs.polygons=[geojson]"),
}


@pytest.mark.parametrize("name", SMALL)
def test_good_runs_of_tiny_maps_and_of_large_pixels_are_valid(tmp_path, bundle, name):
    shape, gsd, more = SMALL[name]
    values = reflectance(*shape)
    if gsd > 10:
        values[:] = 2000  # one region, whose edges are as long as the map, and a hole
        values[:, 20:70, 10:50] = 0
    scene = write_raster(
        tmp_path / "scene.tif", values, names=BAND_NAMES, scale=1e-4, gsd=gsd, nodata=0, origin=(0.0, 7e6)
    )
    pipeline = write_pipeline(tmp_path, scene, bundle.folder, "inference: {backend: torch}")
    run(prepare(pipeline, [more, "checks.statistics=off", "checks.gsd=off"]))
    assert validate(tmp_path / "out").failures == []
    record = json.loads((tmp_path / "out/run.json").read_text())
    assert list(record["pixels"]) == ["class-1", "class-2", "class-3", "nodata"]
    assert sum(record["pixels"].values()) == shape[0] * shape[1]
    if "geojson" in more:
        # The edges of 60 and 90 px are divided: GDAL makes degrees of their ends only.
        assert gpd.read_file(tmp_path / "out/polygons.geojson").get_coordinates().shape[0] > 20


def test_the_item_of_a_run_with_every_output_follows_the_schemas(runs):
    item = json.loads((runs["everything"] / "item.json").read_text())
    assert (*schema_problems(item), *extension_problems(item)) == ()
    (band,) = item["assets"]["instances"]["bands"]
    assert (band["name"], band["data_type"], band["nodata"]) == ("object", "uint32", 0)


def test_a_wrong_object_is_found(copied):
    folder = copied("everything")
    with rasterio.open(folder / "instances.tif", "r+", IGNORE_COG_LAYOUT_BREAK="YES") as dst:
        numbers = dst.read(1, window=Window(0, 0, 20, 20))
        assert numbers.any()
        assert not numbers.all()
        dst.write(np.where(numbers, 0, 7).astype("uint32"), 1, window=Window(0, 0, 20, 20))
    vouch(folder)
    assert "instances.tif: objects: expected where the map has a class with objects, found 400 pixels" in (
        validate(folder).to_text()
    )


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damage_is_found(copied, damage):
    spoil, group, expected = DAMAGES[damage]
    folder = copied("exact")
    spoil(folder)
    found = {g.name: [str(f) for f in g.failures] for g in validate(folder).groups}
    assert any(expected in line for line in found[group]), found
    assert all("\n" not in line for lines in found.values() for line in lines)


@pytest.mark.parametrize(("damage", "expected"), [(deleted, "gaps"), (moved, "overlaps")])
def test_generalised_polygons_are_still_a_coverage(copied, damage, expected):
    folder = copied("generalised")
    damage(folder)
    assert f"polygons.gpkg: {expected}" in validate(folder).to_text()


WISHES = {
    "in pixels": {"simplify": "2 px", "minimum_area": "9 px"},
    "smooth": {"simplify": "1.5 px", "method": "douglas-peucker", "smooth": "2 px"},
    "sure": {"minimum_confidence": SURE},
    "one a class, elsewhere": {"leave_out": ["class-2"], "dissolve": True, "crs": "EPSG:4326"},
    "coarse and elsewhere": {"simplify": "2 px", "crs": "EPSG:3857"},
    "coarse without a class": {"leave_out": ["class-2"], "minimum_area": "9 px", "simplify": "2 px"},
    "objects": {"instances": {"method": "watershed", "boundary": "class-2"}},
}


@pytest.fixture
def wished(copied):
    """Make the polygons of a run again, with other options."""

    def make(vectorize, formats=("gpkg",)):
        folder = copied("exact")
        record = json.loads((folder / "run.json").read_text())
        wanted = Vectorize.model_validate(vectorize)
        record["pipeline"]["vectorize"] = wanted.model_dump(mode="json")
        legend = Legend(tuple(LegendClass(**c) for c in record["classes"]))
        for name in ("polygons.gpkg", "polygons.fgb", "polygons.qml"):
            del record["outputs"][name]
        (folder / "polygons.gpkg").unlink()
        with ThreadPoolExecutor(1) as executor:
            made = write_polygons(
                MapFiles(folder / "classes.tif", folder / "confidence.tif"),
                resolve_recipe(wanted, legend, 10.0, 100.0), Workers(executor, 2), folder,
                layer="toy", formats=formats, provenance={},
            )  # fmt: skip
        record["outputs"] |= {path.name: output_entry(path) for path in made}
        (folder / "run.json").write_text(json.dumps(record))
        return folder

    return make


def found_in(folder):
    return [str(f) for g in validate(folder).groups if g.name == "polygons" for f in g.failures]


@pytest.mark.parametrize("wish", WISHES)
def test_polygons_of_every_kind_are_valid_and_damage_to_them_is_found(wished, wish):
    folder = wished(WISHES[wish])
    assert found_in(folder) == []
    with closing(sqlite3.connect(folder / "polygons.gpkg")) as db:
        assert db.execute("SELECT COUNT(*) FROM toy").fetchone()[0] > 0
    moved(folder, 20.0 if WISHES[wish].get("crs") != "EPSG:4326" else 2e-4)
    assert any(": overlaps: expected none" in line for line in found_in(folder)), found_in(folder)


@pytest.mark.parametrize(
    ("wish", "other", "expected"),
    [
        ({}, {"leave_out": ["class-2"]}, "classes left out: expected no polygons"),
        ({"leave_out": ["class-2"]}, {}, "gaps: expected none"),
        ({}, {"minimum_confidence": SURE}, f"mean_confidence: expected {SURE} or more"),
        ({"minimum_confidence": SURE}, {"minimum_confidence": 0.01}, "confidence of what is left out of"),
        ({"minimum_confidence": SURE}, {}, "gaps: expected none"),
        ({}, {"dissolve": True}, "dissolved polygons: expected 3, one for each class"),
        ({"crs": "EPSG:4326"}, {}, "CRS: expected EPSG:32633, found EPSG:4326"),
        ({"simplify": "2 px"}, {}, "pixels differ"),
        ({"instances": "components"}, {}, "columns: expected class_id, class_name, area_m2"),
    ],
)
def test_polygons_that_were_not_asked_for_are_told(wished, wish, other, expected):
    folder = wished(wish)
    record = json.loads((folder / "run.json").read_text())
    record["pipeline"]["vectorize"] = Vectorize.model_validate(other).model_dump(mode="json")
    (folder / "run.json").write_text(json.dumps(record))
    assert any(expected in line for line in found_in(folder)), found_in(folder)


def test_a_region_cut_in_two_is_not_left_out_whole(wished):
    folder = wished({"minimum_confidence": 0.01})
    reshape(folder, lambda g: shapely.clip_by_rect(g, *g.bounds[:3], (g.bounds[1] + g.bounds[3]) // 20 * 10))
    assert any("regions: expected whole or left out" in line for line in found_in(folder))


@pytest.mark.parametrize("simplify", [0, "2 px"])
def test_a_crack_narrower_than_a_pixel_is_found(wished, simplify):
    folder = wished({"simplify": simplify})
    reshape(folder, lambda g: shapely.transform(g, lambda xy: xy + 0.01))
    found = found_in(folder)
    assert any("edges within the map: expected shared by neighbours" in line for line in found), found


def test_the_same_polygon_twice_is_found(wished):
    folder = wished({"simplify": "2 px"})
    sql(folder, "UPDATE toy SET geom = (SELECT geom FROM toy WHERE id = 2) WHERE id = 1")
    assert any("edges: expected one polygon on each side" in line for line in found_in(folder))


ALL = ("gpkg", "parquet", "fgb", "geojson")


@pytest.mark.parametrize("formats", [ALL, ("parquet", "geojson"), ("fgb",), ("geojson",)])
@pytest.mark.parametrize("wish", [{}, {"crs": "EPSG:4326", "simplify": "1.5 px"}])
def test_every_format_is_held_to_the_map_and_to_the_others(wished, formats, wish):
    folder = wished(wish, formats)
    assert found_in(folder) == []
    path = folder / f"polygons.{formats[-1]}"
    features = gpd.read_file(path)
    features.iloc[1:].to_file(path)
    found = found_in(folder)
    expected = "polygons: expected" if len(formats) > 1 else "gaps: expected none"
    assert any(f"{path.name}: {expected}" in line for line in found), found
    path.write_bytes(b"x")
    assert any(f"{path.name}: polygons: expected readable" in line for line in found_in(folder))


def test_a_parquet_file_is_held_to_the_others(wished):
    folder = wished({}, ALL)
    path = folder / "polygons.parquet"
    features = gpd.read_parquet(path)
    features.assign(area_m2=features.area_m2 + 100).to_parquet(path)
    assert any("polygons.parquet: area_m2: expected values as" in line for line in found_in(folder))
    features.set_crs("EPSG:32634", allow_override=True).to_parquet(path)
    found = found_in(folder)
    assert any("polygons.parquet: CRS: expected EPSG:32633, found EPSG:32634" in line for line in found)
    assert any("polygons.parquet: geometries: expected those of polygons.gpkg" in line for line in found)


def test_strips_of_any_height_find_the_same(copied, monkeypatch):
    folder = copied("exact")
    moved(folder)
    whole = validate(folder).to_dict()
    monkeypatch.setattr(reading, "_PIXELS", 13 * 180)  # strips of 13 rows
    assert validate(folder).to_dict() == whole


def test_checking_changes_nothing(runs):
    before = {p.name: (p.stat().st_mtime_ns, p.read_bytes()) for p in runs["exact"].iterdir()}
    validate(runs["exact"])
    assert {p.name: (p.stat().st_mtime_ns, p.read_bytes()) for p in runs["exact"].iterdir()} == before


def test_a_folder_that_is_not_there_is_told(tmp_path):
    with pytest.raises(OutputError, match="gone: holds no finished run"):
        validate(tmp_path / "gone")


def test_the_command_tells_and_exits(geoseg_here, copied):
    folder = copied("exact")
    good = geoseg_here("validate", folder)
    assert (good.returncode, good.stderr) == (0, "")
    assert [line.split()[:2] for line in good.stdout.splitlines()] == [
        [name, "ok"] for name in ("record", "files", "rasters", "styles", "polygons", "item")
    ]
    (folder / "classes.qml").unlink()
    bad = geoseg_here("validate", folder, "--json")
    assert (bad.returncode, bad.stderr) == (1, "")
    report = json.loads(bad.stdout)
    assert report["valid"] is False
    assert [g["name"] for g in report["groups"] if not g["valid"]] == ["files", "styles", "item"]
    assert report["groups"][1]["failures"] == [
        {"file": "classes.qml", "what": "file", "expected": "present", "found": "missing"}
    ]


@pytest.mark.timeout(60)
@pytest.mark.parametrize("name", ["run.json", "classes.qml", "classes.tif"])
def test_a_pipe_instead_of_a_file_is_told_and_not_waited_for(copied, name):
    folder = copied("exact")
    (folder / name).unlink()
    os.mkfifo(folder / name)
    report = validate(folder)
    assert [str(f) for f in report.failures] == [
        f"{name}: file: expected a regular file, found a pipe or a device"
    ]
