"""Runs of an area of interest: inside the same bytes as a run of the whole scene, outside nodata."""

import json
import re
from collections.abc import Iterator
from itertools import chain

import geopandas as gpd
import numpy as np
import pytest
import rasterio
import shapely
from rasterio.features import geometry_mask

from geoseg.core.errors import ConfigError, OutsideError, SceneError
from geoseg.core.geometry import Window
from geoseg.inference.driver import SceneWork
from geoseg.inference.predict import predict_block, settle_block
from geoseg.runs.batch import check_batch, run_batch
from geoseg.runs.finished import open_run
from geoseg.runs.page import remake_page
from geoseg.runs.prepare import prepare, read_batch
from geoseg.runs.record import trouble_of
from geoseg.runs.run import Options, run
from geoseg.runs.validate import validate
from geoseg.scenes.opening import reopen_scene
from geoseg.scenes.scene import Scene
from tests.conftest import BAND_NAMES, reflectance, write_pipeline, write_raster
from tests.inference.free import FreeSegmenter, install, uninstall
from tests.runs.disturb import job_of

HEIGHT, WIDTH = 300, 260
WEST, NORTH = 500_000, 4_500_000
ORIGIN = Window.of(0, 0, 0, 0)


class Contextual(FreeSegmenter):
    """Each pixel depends on all of its tile, and on its place in it."""

    def predict(self, values, valid, gain, bias):
        seen = np.where(valid[:, None], values, 0).astype(np.float64)
        rows, cols = np.mgrid[: values.shape[2], : values.shape[3]]
        all_of_it = (seen * (np.sin(rows) + 2 * np.cos(cols) + 4)).mean(axis=(1, 2, 3)) % 7
        waves = [np.sin(rows / (3 + c) + all_of_it[:, None, None]) + 1.5 for c in range(self.classes)]
        shares = seen[:, : self.classes] + 500 * np.stack(waves, axis=1) + 1
        return (shares / shares.sum(axis=1, keepdims=True)).astype(np.float32)


@pytest.fixture(autouse=True)
def network() -> Iterator[None]:
    install(Contextual())
    yield
    uninstall()


@pytest.fixture
def pipeline(tmp_path, bundle):
    """A pipeline over a scene with a patch of nodata."""
    values = reflectance(HEIGHT, WIDTH)
    values[:, 150:165, 100:180] = 0
    scene = write_raster(tmp_path / "scene.tif", values, names=BAND_NAMES, scale=0.0001, nodata=0)
    return write_pipeline(tmp_path, scene, bundle.folder)


def on_ground(geometry):
    """Return polygons in pixels, (column, row), in the CRS of the scene."""
    return shapely.transform(geometry, lambda xy: xy * [10, -10] + [WEST, NORTH])


def aoi(geometry):
    """Return the change of a pipeline that maps polygons in pixels."""
    return f"aoi={json.dumps(f'SRID=32633;{on_ground(geometry).wkt}')}"


AREAS = {
    "with a hole": shapely.Polygon(
        [(30.2, 20.7), (230, 60), (180, 280.4), (90, 200)], [[(120, 100), (160, 110), (140, 170)]]
    ),
    "two corners": shapely.MultiPolygon([shapely.box(-20, -10, 33, 21), shapely.box(231, 270, 300, 320)]),
    "one pixel": shapely.box(129.4, 77.4, 130.6, 78.6),
    "a thin line": shapely.LineString([(5, 290), (140, 150), (150, 20)]).buffer(1.3),
    "beside a tile": shapely.box(57, 57, 71, 300),
}
HOLE, CORNERS = AREAS["with a hole"], AREAS["two corners"]


def pixels_of(geometry):
    """Return which pixels of the scene GDAL says are inside."""
    flipped = rasterio.Affine(1, 0, 0, 0, 1, 0)
    return geometry_mask([geometry], (HEIGHT, WIDTH), flipped, invert=True)


def staged(plan, folder):
    """Predict and settle all blocks of a plan without Dask; return the map, shape (planes, rows, cols)."""
    job = job_of(plan, folder)
    blocks = chain.from_iterable(plan.blocks.strips())
    done = {(b.row, b.col): predict_block(job.near(b), b) for b in blocks}
    planes = np.full((len(job.staging.bands), *plan.scene.shape), 255, dtype=np.uint8)
    planes[len(planes) - plan.scene.counts_observations :] = 0
    for block in plan.blocks:
        row, col = block.row, block.col
        near = {"south": (row - 1, col), "east": (row, col - 1), "southeast": (row - 1, col - 1)}
        fringes = [done[p].fringe_part(part) if p in done else None for part, p in near.items()]
        counts = settle_block(job, block, done[row, col], *fringes)
        assert counts["tiles"] + counts["skipped"] == len(block.tiles)
        with rasterio.open(job.staging.path(block)) as src:
            planes[:, *block.core.relative_to(ORIGIN)] = src.read()
    return planes


@pytest.mark.parametrize(
    "tiling",
    [
        "{tile: 64, overlap: 16, block: 1}",
        "{tile: 96, overlap: 48, block: 2}",
        "{tile: 128, overlap: 32, block: 9}",
        "{tile: 512}",
    ],
)
def test_inside_the_area_every_byte_is_that_of_the_whole(pipeline, tmp_path, tiling):
    common = [f"tiling={tiling}", "checks.statistics=off"]
    whole = staged(prepare(pipeline, common), tmp_path / "whole")
    for name, geometry in AREAS.items():
        plan = prepare(pipeline, [*common, aoi(geometry)])
        inside = pixels_of(geometry)
        expected = np.where(inside, whole, 255)
        here = plan.scene.window.relative_to(ORIGIN)
        np.testing.assert_array_equal(staged(plan, tmp_path / name), expected[:, *here], err_msg=name)
        assert plan.pixels == inside.sum() == inside[here].sum()
        assert (expected[0] != 255).any() or name == "one pixel"


@pytest.mark.parametrize("method", ["first", "median"])
def test_a_mosaic_and_a_composite_are_cut_as_a_scene_is(tmp_path, bundle, method):
    for i, west in enumerate((WEST, WEST + 1000)):
        values = reflectance(HEIGHT, 160, i)
        values[:, 40:60, 50:70] = 0
        names = {"names": BAND_NAMES, "scale": 0.0001, "nodata": 0, "origin": (west, NORTH)}
        write_raster(tmp_path / f"{i}.tif", values, **names)
    scene = f"{{mosaic: ['{tmp_path}/0.tif', '{tmp_path}/1.tif'], method: {method}}}"
    path = write_pipeline(tmp_path, scene, bundle.folder)
    common = ["tiling={tile: 64, overlap: 16, block: 2}", "checks.statistics=off"]
    whole = prepare(path, common)
    assert whole.scene.shape == (HEIGHT, WIDTH)
    planes = staged(whole, tmp_path / "whole")
    for name in ("with a hole", "two corners"):
        plan = prepare(path, [*common, aoi(AREAS[name])])
        outside = np.array([255, 255, 0][: len(planes)])[:, None, None]
        expected = np.where(pixels_of(AREAS[name]), planes, outside)
        here = plan.scene.window.relative_to(ORIGIN)
        np.testing.assert_array_equal(staged(plan, tmp_path / name), expected[:, *here])
        again, changed = reopen_scene(json.loads(json.dumps(plan.scene.identity())))
        window = Window.of(-5, -5, 40, 40)
        assert (again.geobox, changed) == (plan.scene.geobox, False)
        np.testing.assert_array_equal(again.read(window).values, plan.scene.read(window).values)


def test_all_outputs_end_at_the_area(pipeline, tmp_path):
    """The maps, polygons, counts, areas, item and page of a run, and of one that began after a kill."""
    common = [
        "outputs.probabilities=true",
        "tiling={tile: 64, overlap: 16, block: 1}",
        "checks.statistics=off",
    ]
    run(prepare(pipeline, common, tmp_path / "whole"))
    geometry = shapely.union_all([HOLE, CORNERS])
    folder, inside = tmp_path / "out", pixels_of(geometry)
    plan = prepare(pipeline, [*common, aoi(geometry)], folder)

    def kill(event):
        if event.stage == "predict" and event.done == plan.blocks.count - 1:
            raise SystemExit

    with pytest.raises(SystemExit):
        run(plan, Options(on_progress=kill))
    record = run(plan).record
    assert record.resumed
    here = plan.scene.window.relative_to(ORIGIN)
    for name in ("confidence.tif", "probabilities.tif", "classes.tif"):
        with rasterio.open(tmp_path / "whole" / name) as one, rasterio.open(folder / name) as other:
            expected = np.where(inside, one.read(), 255)[:, *here]
            np.testing.assert_array_equal(other.read(), expected)
            assert other.transform @ (0, 0) == one.transform @ (here[1].start, here[0].start)
            classes = expected[0]
    mapped = {c.slug: int((classes == c.id).sum()) for c in record.classes}
    assert record.pixels == {**mapped, "nodata": int((classes == 255).sum())}
    assert record.area_m2 == {slug: 100.0 * n for slug, n in mapped.items()}
    assert record.aoi.pixels == inside.sum()
    assert record.aoi.source.startswith("aoi MULTIPOLYGON")
    report = validate(folder)
    assert report.failures == [], report.to_text()

    whole, part = (gpd.read_file(f / "polygons.gpkg", layer="toy") for f in (tmp_path / "whole", folder))
    assert part.area.sum() == pytest.approx(sum(record.area_m2.values()))
    clear = on_ground(geometry).buffer(-20)
    inner = [g.normalize() for g in whole.geometry if clear.contains(g)]
    assert len(inner) > 10
    assert {g.wkb for g in inner} <= {g.normalize().wkb for g in part.geometry}

    item = json.loads((folder / "item.json").read_text())
    scene = shapely.box(WEST, NORTH - 10 * HEIGHT, WEST + 10 * WIDTH, NORTH)
    expected = gpd.GeoSeries([on_ground(geometry) & scene], crs=32633).to_crs(4326)[0]
    shown = shapely.from_geojson(json.dumps(item["geometry"]))
    assert shown.symmetric_difference(expected).area < 0.02 * expected.area
    assert shapely.from_wkt(record.aoi.wkt).equals(shown)

    page = (folder / "report.html").read_text()
    assert "of the area of interest" in page
    remake_page(folder)
    assert open_run(folder).classes().shape == plan.scene.shape


def test_no_more_is_read_than_the_tiles_of_the_area_and_what_is_checked(pipeline, tmp_path, monkeypatch):
    windows = []
    real = Scene.read
    monkeypatch.setattr(
        Scene, "read", lambda self, w: windows.append(self.in_whole(w)) or real(self, w), raising=True
    )
    common = ["tiling={tile: 64, overlap: 16, block: 2}", "checks.statistics=off"]
    plan = prepare(pipeline, [*common, aoi(CORNERS)])
    looked_at = plan.aoi.looked_at(plan.scene.cut(Window.of(0, 0, *plan.scene.shape)))
    assert looked_at == Window.of(0, 0, HEIGHT, WIDTH)  # the corners span it
    windows.clear()
    staged(plan, tmp_path / "staging")
    read = windows.copy()
    whole = prepare(pipeline, common).grid
    tiles = [whole.window(i, j) for i in range(whole.rows.count) for j in range(whole.cols.count)]
    inside = pixels_of(CORNERS)
    needed = [t for t in tiles if inside[t.clip((HEIGHT, WIDTH)).relative_to(ORIGIN)].any()]
    assert len(needed) < len(tiles) / 3
    assert sum(np.prod(w.shape) for w in read) <= len(needed) * 64 * 64
    assert all(any(w.intersect(t) == t for t in needed) for w in read)
    assert not any(w.intersect(Window.of(100, 60, 100, 100)) for w in read)


def test_blocks_are_few_and_memory_is_less_than_for_the_scene(pipeline):
    tiling = "tiling={tile: 64, overlap: 16, block: 2}"
    whole = prepare(pipeline, [tiling])
    part = prepare(pipeline, [tiling, aoi(shapely.box(40, 40, 90, 90))])
    assert part.blocks.count == 4 < whole.blocks.count / 2
    assert part.memory.total < whole.memory.total
    assert part.summary()["tiles"] == part.blocks.tiles <= 9 < whole.blocks.tiles
    assert part.summary()["blocks"] == part.blocks.count
    assert "aoi" not in whole.summary()


def test_haze_is_that_of_the_whole_scene(pipeline, tmp_path):
    entry = f"scene={{uri: {tmp_path / 'scene.tif'}, radiometry: {{dark_object: true}}}}"
    more = [entry, "checks.statistics=off"]
    assert prepare(pipeline, [*more, aoi(CORNERS)]).scene.haze == prepare(pipeline, more).scene.haze != ()


def test_a_scene_that_is_empty_elsewhere_passes_and_an_empty_area_does_not(tmp_path, bundle):
    values = reflectance(1400, 1400)
    values[:, :800] = 0
    scene = write_raster(tmp_path / "s.tif", values, names=BAND_NAMES, scale=0.0001, nodata=0)
    path = write_pipeline(tmp_path, scene, bundle.folder)
    prepare(path, [aoi(shapely.box(600, 1000, 700, 1100))])
    with pytest.raises(SceneError, match="every pixel looked at is nodata"):
        prepare(path, [aoi(shapely.box(600, 100, 700, 200))])
    # The border of what is valid is looked at, but the area itself is empty.
    plan = prepare(path, [aoi(shapely.box(600, 700, 700, 790)), "checks.statistics=off"])
    with pytest.raises(SceneError, match="every pixel of the area of interest is nodata"):
        run(plan)


def test_the_fingerprint_follows_the_area_and_not_its_name(pipeline, tmp_path):
    frame = gpd.GeoDataFrame(geometry=[on_ground(HOLE)], crs=32633)
    for name in ("a.gpkg", "b.geojson", "c.fgb"):
        frame.to_file(tmp_path / name)
    prints = {n: prepare(pipeline, [f"aoi={tmp_path / n}"]).fingerprint for n in ("a.gpkg", "c.fgb")}
    assert len({*prints.values(), prepare(pipeline, [aoi(HOLE)]).fingerprint}) == 1
    assert prepare(pipeline).fingerprint not in prints.values()
    assert "aoi" not in prepare(pipeline).identity()
    assert "part" not in prepare(pipeline).identity()["scene"]
    frame.translate(5, 0).to_file(tmp_path / "a.gpkg")
    assert prepare(pipeline, [f"aoi={tmp_path / 'a.gpkg'}"]).fingerprint != prints["a.gpkg"]


def test_a_run_of_another_area_is_not_resumed(pipeline, tmp_path):
    plan = prepare(pipeline, [aoi(HOLE), "outputs.polygons=[]"], tmp_path / "out")

    def kill(event):
        raise SystemExit

    with pytest.raises(SystemExit):
        run(plan, Options(on_progress=kill))
    other = shapely.Polygon(HOLE.exterior)
    with pytest.raises(Exception, match="unfinished run of another plan"):
        run(prepare(pipeline, [aoi(other), "outputs.polygons=[]"], tmp_path / "out"))


def test_an_unreadable_block_beside_the_area_is_told(pipeline, tmp_path, monkeypatch):
    more = ["reading={tries: 1, failed: nodata}", "tiling={tile: 64, overlap: 16, block: 1}"]
    # Only the fringe of the blocks in the north and west reaches the area.
    plan = prepare(pipeline, [*more, "checks.statistics=off", aoi(shapely.box(90, 90, 95, 95))])
    assert (plan.blocks.count, plan.blocks.tiles) == (1, 4)
    real = Scene.read

    def read(self, window):
        if self.in_whole(window).rows.start < 50:
            raise SceneError("gone")
        return real(self, window)

    monkeypatch.setattr(Scene, "read", read)
    job = job_of(plan, tmp_path / "s", plan.retry)
    blocks = list(chain.from_iterable(plan.blocks.strips()))
    done = {(b.row, b.col): predict_block(job, b) for b in blocks}
    (block,) = plan.blocks
    fringes = [done[0, 1].fringe_part("south"), done[1, 0].fringe_part("east"), None]
    counts = settle_block(job, block, done[1, 1], *fringes)
    trouble, lines = trouble_of({(1, 1): counts}, plan)
    assert trouble.unread_blocks == {"block_00000_00001": "gone"}
    assert "could not be read" in lines[0]


def test_a_block_waits_for_no_neighbour_that_is_never_predicted(pipeline, tmp_path):
    """Else a signal would throw away blocks in hand beside those that the area does not need."""
    plan = prepare(pipeline, ["tiling={tile: 64, overlap: 16, block: 1}", aoi(AREAS["a thin line"])])
    work = SceneWork("toy", job_of(plan, tmp_path / "s"), plan.blocks, {})
    assert not any(work.can_settle(b) for b in plan.blocks)
    work.begun = {b.name for strip in plan.blocks.strips() for b in strip}
    assert len(work.begun) < plan.grid.count
    assert all(work.can_settle(b) for b in plan.blocks)


@pytest.fixture
def many(tmp_path, bundle):
    """Three scenes side by side, of 100 px a side."""
    for i, name in enumerate("abc"):
        values, origin = reflectance(100, 100, i), (WEST + 1000 * i, NORTH)
        write_raster(tmp_path / f"{name}.tif", values, names=BAND_NAMES, scale=0.0001, origin=origin)
    return write_pipeline(tmp_path, tmp_path / "a.tif", bundle.folder)


def batch_of(path, geometry):
    changes = ["outputs.polygons=[]", "checks.statistics=off", aoi(geometry)]
    return read_batch(path, changes, scenes=f"{path.parent}/?.tif")


def test_of_many_scenes_those_outside_the_area_are_left_out_and_named(many, tmp_path):
    batch = batch_of(many, shapely.box(50, 20, 150, 60))
    expected = {"a": "done", "b": "done", "c": "outside the area"}
    checked = check_batch(batch)
    assert [o.state for o in checked] == ["can run", "can run", "outside the area"]
    assert {o.name: o.state for o in run_batch(batch)} == expected
    assert not (tmp_path / "out/c").exists()
    assert {o["name"]: o["state"] for o in json.loads((tmp_path / "out/scenes.json").read_text())} == expected
    assert [open_run(tmp_path / "out" / n).classes().shape for n in "ab"] == [(40, 50), (40, 50)]


def test_an_area_that_none_of_many_scenes_meets_is_refused(many):
    batch = batch_of(many, shapely.box(50, 120, 150, 160))
    for act in (check_batch, run_batch):
        with pytest.raises(OutsideError, match=r"none of 3 scenes meets the area of interest; aoi POLYGON"):
            act(batch)


def test_the_command_takes_an_area_instead_of_that_of_the_pipeline(pipeline, tmp_path, geoseg_here):
    pipeline.write_text(pipeline.read_text() + "bbox: [15.001, 40.63, 15.03, 40.65]\n")
    box = prepare(pipeline).scene.shape
    west, south, east, north = 15.002, 40.64, 15.01, 40.645
    for value in (f"{west},{south},{east},{north}", shapely.box(west, south, east, north).wkt):
        done = geoseg_here("run", pipeline, "--aoi", value, "--dry-run", "--json", "--quiet")
        assert done.returncode == 0, done.stderr
        plan = json.loads(done.stdout)
        assert (plan["height"], plan["width"]) == (56, 68) != box
        assert plan["aoi"].startswith(("bbox 15.002", "aoi POLYGON"))


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("15.2,40.64,15.3,40.7", "lies outside .*: it covers 15.2, 40.64, 15.3, 40.7, the scene 15, 40.6"),
        ("15.2,40.7,15.3,40.6", "the second number must be less than the fourth"),
        ("none.gpkg", "none.gpkg: no such file, and neither WKT"),
        ("POLYGON((1 1, 2 2))", "is no valid WKT"),
        ("POLYGON EMPTY", "is empty"),
        ("15.0011,40.6411,15.0011001,40.6411001", "no pixel of .* has its centre inside"),
    ],
)
def test_an_area_that_cannot_be_mapped_is_one_line(pipeline, geoseg_here, value, expected):
    done = geoseg_here("run", pipeline, "--aoi", value, "--dry-run", "--quiet")
    assert done.returncode in (1, 2)
    (line,) = done.stderr.strip().splitlines()
    assert len(line) <= 300
    assert line.startswith("error: ")
    assert re.search(expected, line), line


def test_aoi_and_bbox_are_not_both_given(pipeline):
    with pytest.raises(ConfigError, match="aoi and bbox both say what is mapped"):
        prepare(pipeline, ["aoi=a.gpkg", "bbox=[1, 2, 3, 4]"])
