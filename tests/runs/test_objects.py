"""Runs of networks that find objects: exact ones, of which the truth is known, and one of torch."""

import json
from collections import Counter
from dataclasses import replace
from types import SimpleNamespace

import geopandas as gpd
import numpy as np
import pytest
import rasterio
from distributed import Client, LocalCluster

from geoseg.core.errors import BundleError, ConfigError, OutputError, SceneError
from geoseg.core.geometry import Window
from geoseg.inference import detect
from geoseg.inference.clusters.worker import RESOURCES, THREADS
from geoseg.inference.interruption import Interruption
from geoseg.runs.objects import painted
from geoseg.runs.outputs import staging_of
from geoseg.runs.prepare import prepare
from geoseg.runs.record import trouble_of
from geoseg.runs.run import Options, run
from geoseg.runs.scene_run import SceneRun
from geoseg.runs.validate import validate
from geoseg.storage.store import FolderStore
from tests.conftest import BAND_NAMES, UTM, read_manifest, write_pipeline, write_raster
from tests.inference.drive import run_blocks
from tests.inference.exact import ExactDetector, coded
from tests.objects import CLASSES, GSD, ORIGIN, object_bundle, object_scene
from tests.report.accessible import needs_axe, violations
from tests.s3 import BUCKET
from tests.vector.objects.test_paint import decoded

SIDE = 200, 180


@pytest.fixture(scope="module")
def objects(tmp_path_factory, small_pictures):
    """A bundle of objects, a scene in which they are numbered, and a pipeline."""
    folder = tmp_path_factory.mktemp("objects")
    scene = object_scene(*SIDE, seed=4)
    write_raster(folder / "scene.tif", coded(scene), names=BAND_NAMES, nodata=0, gsd=GSD, origin=ORIGIN)
    detection = {"score_threshold": 0.2, "per_tile": 40, "object_px": {"median": 12, "p99": 30}}
    object_bundle(folder / "bundle", detection=detection)
    write_pipeline(folder, folder / "scene.tif", folder / "bundle", "checks: {statistics: off}")
    return folder, scene


@pytest.fixture
def exact(monkeypatch):
    detector = ExactDetector()
    monkeypatch.setattr(detect, "load_detector", lambda _: detector)
    return detector


@pytest.fixture(scope="module")
def mapped(objects):
    """A finished run with all outputs, by blocks of two tiles a side."""
    folder, _ = objects
    with pytest.MonkeyPatch.context() as patch:
        exact = ExactDetector()
        patch.setattr(detect, "load_detector", lambda _: exact)
        wanted = ["tiling.block=2", "outputs.coco=true", "outputs.polygons=[gpkg, parquet, geojson]"]
        return run(prepare(folder / "pipeline.yaml", wanted, folder / "mapped"))


@needs_axe
def test_their_page_has_no_barrier(mapped):
    assert violations(mapped.folder / "report.html") == []


def results(folder):
    return json.loads((folder / "objects.coco.json").read_text())


def masks(folder, shape=SIDE):
    """Return class and mask of each object in the COCO results."""
    found = []
    for r in results(folder):
        lengths = decoded(r["segmentation"]["counts"])
        flat = np.repeat(np.arange(len(lengths)) % 2, lengths)
        found.append((r["category_id"], flat.reshape(shape[::-1]).T.astype(bool).tobytes()))
    return Counter(found)


def truth(scene, valid=None):
    """Return class id and mask of each true object."""
    whole = []
    for one in scene.objects:
        mask = np.zeros(scene.shape, bool)
        mask[one.here] = one.mask
        whole.append((one.kind + 1, mask if valid is None else mask & valid))
    return Counter((kind, mask.tobytes()) for kind, mask in whole if mask.any())


def pixels(path):
    with rasterio.open(path) as src:
        return src.read(1)


def test_a_network_that_errs_nowhere_gives_the_truth_back(objects, mapped):
    """Also halls of three tiles, panels on roofs, and crowns at the corner of four tiles."""
    _, scene = objects

    assert max(max(o.mask.shape) for o in scene.objects) > 2 * 64
    assert masks(mapped.folder) == truth(scene)
    report = validate(mapped.folder)
    assert not report.failures, report.to_text()


def test_rasters_agree_with_each_other_and_number_objects_as_they_are_read(objects, mapped):
    _, scene = objects
    ids, classes, scores = (
        pixels(mapped.folder / f"{name}.tif") for name in ("instances", "classes", "confidence")
    )

    flat = ids.ravel()
    _, first = np.unique(flat, return_index=True)
    assert np.array_equal(np.unique(flat), np.arange(len(scene.objects) + 1))
    assert (np.diff(first[1:]) > 0).all()
    found = {r["id"]: r for r in results(mapped.folder)}
    for number in range(1, len(scene.objects) + 1):
        inside = ids == number
        assert set(classes[inside]) == {found[number]["category_id"]}
        assert scores[inside] == pytest.approx(found[number]["score"], abs=0.005)
    assert (classes[ids == 0] == 255).all()
    # What is on top is the smaller one.
    panel = next(o for o in scene.objects if o.kind == 2)
    assert (classes[panel.here] == 3).all()


def test_every_object_is_one_polygon_with_its_score(objects, mapped):
    _, scene = objects
    frame = mapped.polygons()
    ids, found = pixels(mapped.folder / "instances.tif"), results(mapped.folder)

    assert list(frame.columns[:8]) == [
        "class_id", "class_name", "object_id", "score", "area_m2", "perimeter_m", "joined", "touches_edge",
    ]  # fmt: skip
    assert sorted(frame.object_id) == list(range(1, len(scene.objects) + 1))
    frame = frame.set_index("object_id").sort_index()
    assert frame.score.tolist() == [r["score"] for r in found]
    assert frame.area_m2.to_numpy() == pytest.approx(np.bincount(ids.ravel())[1:] * GSD**2)
    frame_pixels = np.ones(SIDE, bool)
    frame_pixels[1:-1, 1:-1] = False
    assert frame.touches_edge.to_numpy().tolist() == [
        bool((frame_pixels & (ids == n)).any()) for n in frame.index
    ]
    halls = [max(r["bbox"][2:]) > 64 for r in found]
    assert (frame.joined[halls] > 1).all()
    assert frame.geom_type.unique().tolist() == ["MultiPolygon"]


def test_the_record_counts_objects(objects, mapped):
    _, scene = objects
    facts = read_manifest(mapped.folder)["objects"]

    kinds = Counter(CLASSES[o.kind] for o in scene.objects)
    assert facts["by_class"] == dict(kinds)
    assert (facts["count"], facts["hidden"]) == (len(scene.objects), 0)
    assert facts["detections"] > facts["count"]
    assert 0 < facts["joined"] < 10
    assert (facts["looked_at"], facts["looked_at_m2"]) == (SIDE[0] * SIDE[1], SIDE[0] * SIDE[1] * GSD**2)
    assert facts["scores"][16] + facts["scores"][17] + facts["scores"][18] == facts["count"]


def test_no_block_size_changes_a_byte_of_what_is_found(objects, mapped, exact, tmp_path):
    folder, _ = objects

    other = run(
        prepare(
            folder / "pipeline.yaml",
            ["tiling.block=5", "outputs.coco=true", "outputs.polygons=[parquet]"],
            tmp_path / "out",
        )
    )

    for name in ("objects.coco.json", "polygons.parquet"):
        assert (other.folder / name).read_bytes() == (mapped.folder / name).read_bytes()
    for name in ("instances.tif", "classes.tif", "confidence.tif"):
        assert np.array_equal(pixels(other.folder / name), pixels(mapped.folder / name))
    assert exact.seen.total() == other.record.plan.tiles


def test_a_run_that_was_interrupted_goes_on_and_ends_with_the_same_bytes(objects, mapped, exact, tmp_path):
    folder, _ = objects
    wanted = ["tiling.block=2", "outputs.coco=true", "outputs.polygons=[gpkg, parquet, geojson]"]
    plan, stop = prepare(folder / "pipeline.yaml", wanted, tmp_path / "out"), Interruption()

    def end(progress):
        if progress.done:
            stop.request()

    with pytest.raises(KeyboardInterrupt):
        run(plan, Options(on_progress=end, interruption=stop))

    resumed = run(plan)

    assert resumed.record.resumed
    events = [json.loads(line) for line in (resumed.folder / "events.jsonl").read_text().splitlines()]
    second = max(i for i, e in enumerate(events) if e["event"] == "run")
    staged = events[second]["staged"]
    assert 0 < staged < plan.blocks.count
    assert sum(e["event"] == "begun" for e in events[second:]) == plan.blocks.count - staged
    same = [n for n in resumed.record.outputs if n.split(".")[-1] in {"tif", "gpkg", "parquet", "geojson"}]
    assert len(same) == 6
    for name in (*same, "objects.coco.json"):
        assert (resumed.folder / name).read_bytes() == (mapped.folder / name).read_bytes()


def test_two_workers_stage_the_bytes_of_one(objects, exact, tmp_path):
    folder, _ = objects
    plan = prepare(folder / "pipeline.yaml", ["tiling.block=2"], tmp_path / "out")
    staged = []
    for workers in (1, 2):
        store = FolderStore(tmp_path / str(workers))
        store.create()
        job = SceneRun.job_of(plan, staging_of(plan, store))
        with (
            LocalCluster(
                n_workers=workers, processes=False, threads_per_worker=THREADS, resources=RESOURCES,
                dashboard_address=":0",
            ) as cluster,
            Client(cluster) as client,
        ):  # fmt: skip
            run_blocks(client, job, plan.blocks, {}, lambda _: None)
        staged.append({p.name: p.read_bytes() for p in store.folder.glob("*.npz")})

    assert len(staged[0]) == plan.blocks.count
    assert staged[0] == staged[1]


def test_outside_of_an_area_and_in_nodata_there_is_no_object(objects, exact, tmp_path):
    """A triangle whose edges cut objects, and a strip of nodata."""
    folder, scene = objects
    values = coded(scene)
    values[:, :, 100:110] = 0
    write_raster(tmp_path / "scene.tif", values, names=BAND_NAMES, nodata=0, gsd=GSD, origin=ORIGIN)
    path = write_pipeline(tmp_path, tmp_path / "scene.tif", folder / "bundle", "checks: {statistics: off}")
    x, y = ORIGIN
    corners = [(x + 100, y - 100), (x + 1700, y - 300), (x + 600, y - 1900)]
    gpd.GeoDataFrame(geometry=[gpd.points_from_xy(*zip(*corners, strict=True)).union_all().convex_hull],
                     crs=UTM).to_file(tmp_path / "area.gpkg")  # fmt: skip
    wanted = ["tiling.block=2", "outputs.coco=true", f"aoi={tmp_path / 'area.gpkg'}"]

    found = run(prepare(path, wanted, tmp_path / "out"))

    with rasterio.open(found.folder / "instances.tif") as src:
        ids, place = src.read(1), src.transform
    rows, cols = ids.shape
    top, left = round((y - place.f) / GSD), round((place.c - x) / GSD)
    plan = prepare(path, wanted, tmp_path / "again")
    inside = np.zeros(scene.shape, bool)
    inside[top : top + rows, left : left + cols] = plan.aoi.outline.inside(Window.of(0, 0, rows, cols))
    inside[:, 100:110] = False
    assert not ids[~inside[top : top + rows, left : left + cols]].any()
    here = np.s_[top : top + rows, left : left + cols]
    seen = Counter(
        (kind, np.frombuffer(mask, bool).reshape(scene.shape)[here].tobytes())
        for kind, mask in truth(scene, inside).elements()
    )
    assert masks(found.folder, ids.shape) == seen
    facts = read_manifest(found.folder)["objects"]
    assert facts["looked_at"] == inside.sum()
    report = validate(found.folder)
    assert not report.failures, report.to_text()


def test_whole_masks_and_small_objects_are_a_choice(objects, exact, tmp_path):
    folder, scene = objects

    found = run(
        prepare(
            folder / "pipeline.yaml",
            ["vectorize.overlap=keep", "vectorize.minimum_area=60 px", "vectorize.leave_out=[tree]",
             "outputs.confidence=false", "vectorize.simplify=1 px"],
            tmp_path / "out",
        )
    )  # fmt: skip

    frame = found.polygons()
    kept = [o for o in scene.objects if o.kind != 1 and o.mask.sum() >= 60]
    assert len(frame) == len(kept)
    assert frame.area_m2.sum() == pytest.approx(sum(o.mask.sum() for o in kept) * GSD**2, rel=0.02)
    roofs, panels = (frame[frame.class_id == i] for i in (1, 3))
    assert len(panels) == 0 or panels.within(roofs.union_all().buffer(1)).all()
    report = validate(found.folder)
    assert not report.failures, report.to_text()


def test_a_scene_without_an_object_has_empty_outputs(objects, exact, tmp_path):
    folder, _ = objects
    ground = np.ones((4, 70, 90), np.uint16)
    write_raster(tmp_path / "scene.tif", ground, names=BAND_NAMES, nodata=0, gsd=GSD, origin=ORIGIN)
    path = write_pipeline(tmp_path, tmp_path / "scene.tif", folder / "bundle", "checks: {statistics: off}")

    found = run(prepare(path, ["outputs.coco=true"], tmp_path / "out"))

    assert results(found.folder) == []
    assert read_manifest(found.folder)["objects"]["count"] == 0
    assert len(found.polygons()) == 0
    report = validate(found.folder)
    assert not report.failures, report.to_text()


def test_a_scene_of_nodata_is_refused(objects, exact, tmp_path):
    folder, _ = objects
    values = np.zeros((4, 70, 90), np.uint16)
    values[:, :2] = 1
    write_raster(tmp_path / "scene.tif", values, names=BAND_NAMES, nodata=0, gsd=GSD, origin=ORIGIN)
    path = write_pipeline(tmp_path, tmp_path / "scene.tif", folder / "bundle", "checks: {statistics: off}")
    x, y = ORIGIN
    box = gpd.GeoSeries.from_wkt(
        [f"POLYGON(({x} {y - 200}, {x + 900} {y - 200}, {x + 900} {y - 700}, {x} {y - 700}, {x} {y - 200}))"],
        crs=UTM,
    )
    box.to_file(tmp_path / "area.gpkg")

    with pytest.raises(SceneError, match="every pixel"):
        run(prepare(path, [f"aoi={tmp_path / 'area.gpkg'}"], tmp_path / "out"))


@pytest.mark.parametrize(
    ("assigned", "message"),
    [
        ("outputs.probabilities=true", "outputs.probabilities: toy-objects finds objects"),
        ("outputs.doubt=true", "outputs.doubt: toy-objects finds objects"),
        ("vectorize.instances=watershed", "vectorize.instances: toy-objects finds objects"),
        ("vectorize.dissolve=true", "vectorize.dissolve: toy-objects finds objects"),
        ("inference.augment=d4", "inference.augment: toy-objects finds objects"),
        ("inference.backend=openvino", "finds objects, which only torch runs"),
    ],
)
def test_what_a_network_of_objects_does_not_answer_is_refused(objects, assigned, message):
    with pytest.raises(ConfigError) as caught:
        prepare(objects[0] / "pipeline.yaml", [assigned])
    assert message in str(caught.value)


def test_what_a_network_of_classes_does_not_answer_is_refused(pipeline_file):
    for assigned in ("outputs.coco=true", "vectorize.overlap=keep"):
        with pytest.raises(ConfigError, match="is for models that find objects"):
            prepare(pipeline_file, [assigned])


def test_objects_larger_than_the_overlap_are_announced(objects):
    plan = prepare(objects[0] / "pipeline.yaml", ["tiling.overlap=16"])

    assert any("longer than 30 px, and tiles overlap by 16 px" in w for w in plan.warnings)
    assert plan.summary()["detections_per_tile"] == 40
    plan = prepare(objects[0] / "pipeline.yaml", ["tiling.overlap=0"])
    assert any("overlap by 0 px: objects stay cut" in w for w in plan.warnings)


def test_the_memory_of_detections_is_announced(objects):
    """Their masks while they are found, and what is open while they are merged, grow with their number."""
    plan = prepare(objects[0] / "pipeline.yaml", ["tiling.block=2"])
    detection = plan.bundle.card.detection.model_copy(update={"per_tile": 4_000})
    card = plan.bundle.card.model_copy(update={"detection": detection})
    crowded = replace(plan, bundle=replace(plan.bundle, card=card))

    assert crowded.memory.blocks - plan.memory.blocks > 2 * 4 * 3_960 * 30**2
    assert crowded.memory.polygons - plan.memory.polygons > 30 * 3_960 * 2_000
    assert plan.memory.fringes == 0


def test_a_damaged_block_is_done_again_and_one_that_is_damaged_later_is_named(objects, exact, tmp_path):
    folder, _ = objects
    plan = prepare(folder / "pipeline.yaml", ["tiling.block=2"], tmp_path / "out")
    store = FolderStore(tmp_path / "staging")
    store.create()
    staging = staging_of(plan, store)
    for block in plan.blocks:
        detect.detect_block(SceneRun.job_of(plan, staging), block)
    first = next(iter(plan.blocks))
    (store.folder / f"{first.name}.npz").write_bytes(b"PK\x03\x04 no archive")

    assert staging.counts(first) is None
    with pytest.raises(OutputError, match=r"block_00000_00000\.npz: is damaged"), painted(plan, staging, [0]):
        pass


def test_torch_finds_objects_in_a_run(objects, tmp_path):
    """A network of random weights, from the command's first check to a valid folder."""
    folder, _ = objects
    scene = object_scene(90, 80, seed=1, halls=0)
    write_raster(
        tmp_path / "scene.tif", scene.numbers, names=BAND_NAMES, scale=0.0001, gsd=GSD, origin=ORIGIN
    )
    path = write_pipeline(tmp_path, tmp_path / "scene.tif", folder / "bundle", "checks: {statistics: off}")

    found = run(prepare(path, ["outputs.coco=true"], tmp_path / "out"))

    assert found.record.objects.count > 0
    assert found.record.memory_bytes.announced_per_worker > 0
    report = validate(found.folder)
    assert not report.failures, report.to_text()


def test_a_notebook_is_told_that_runs_merge_objects(objects):
    import geoseg

    scene = geoseg.open_scene(str(objects[0] / "scene.tif"))
    with pytest.raises(BundleError, match=r"finds objects, .* `geoseg run`"):
        geoseg.segment(scene, objects[0] / "bundle")


def test_a_finished_run_has_its_objects_as_an_array(mapped):
    instances = mapped.instances()

    assert (instances.dtype, instances.shape) == (np.uint32, SIDE)
    assert int(instances.max()) == mapped.record.objects.count
    assert set(mapped.polygons().object_id) == set(np.unique(instances)) - {0}


def test_the_page_of_a_run_counts_objects(objects, mapped):
    page = (mapped.folder / "report.html").read_text()

    assert '<h2 id="classes">Objects</h2>' in page
    assert "Do tiles show?" not in page
    assert f"<b>{mapped.record.objects.by_class['tree']}</b>" in page
    assert "objects were joined from parts" in page


def test_commands_say_what_is_found(objects, mapped, geoseg_here):
    done = geoseg_here("inspect", mapped.folder, "--json")
    assert json.loads(done.stdout)["objects"]["count"] == mapped.record.objects.count
    planned = geoseg_here("run", objects[0] / "pipeline.yaml", "--dry-run", "--output", "nowhere")
    assert "detections_per_tile" in planned.stdout


def test_tiles_with_as_many_objects_as_the_network_gives_are_told():
    plan = SimpleNamespace(batch=1)
    counts = {(0, 0): {"tiles": 4, "full": 1}, (0, 1): {"tiles": 5, "full": 2}}

    _, (line,) = trouble_of(counts, plan)

    assert line.startswith("3 of 9 tiles have as many detections as the network gives")


def test_a_bucket_holds_the_objects_of_a_folder(objects, mapped, exact, s3):
    """Blocks are staged in the bucket, and merged from copies."""
    wanted = ["tiling.block=2", "outputs.coco=true", "outputs.polygons=[gpkg, parquet, geojson]"]

    found = run(prepare(objects[0] / "pipeline.yaml", wanted, f"s3://{BUCKET}/objects"))

    names = ("instances.tif", "classes.tif", "confidence.tif", "polygons.gpkg", "objects.coco.json")
    for name in names:
        assert found.record.outputs[name] == mapped.record.outputs[name]
