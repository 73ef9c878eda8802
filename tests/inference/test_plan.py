import json
import os
from dataclasses import replace

import numpy as np
import psutil
import pytest

from geoseg.config.cluster import Local
from geoseg.config.pipeline import Tiling
from geoseg.core.errors import PlanError
from geoseg.core.geometry import Span
from geoseg.inference.memory_checks import check_device_memory, check_memory, fit_passes
from geoseg.inference.plan import Execution, make_grid, make_plan
from geoseg.models.card import CardTile
from geoseg.runs.prepare import prepare
from tests.conftest import make_bundle, reflectance, write_photograph, write_pipeline

CARD = CardTile(size=1024, min=256, max=2048, overlap=128, divisor=32)


@pytest.mark.parametrize(
    ("shape", "tile", "count"),
    [((1947, 1933), (800, 800), 9), ((8192, 8192), (960, 960), 100)],
)
def test_automatic_tiles_come_from_the_card_and_shrink_to_the_scene(shape, tile, count):
    grid = make_grid(shape, Tiling(), CARD)
    assert grid.tile_shape == tile
    assert grid.rows.overlap == grid.cols.overlap == 128
    assert grid.count == count


def test_a_large_scene_costs_a_third_more_than_its_pixels():
    assert make_grid((65536, 65536), Tiling(), CARD).network_pixels_per_pixel < 1.34


@pytest.mark.parametrize(("length", "tile"), [(1, 256), (256, 256), (257, 288), (1000, 1024), (1024, 1024)])
def test_a_scene_that_one_tile_covers_is_not_mirrored_before_it_begins(length, tile):
    for tiling in (Tiling(), Tiling(tile=1024, overlap=64)):
        axis = make_grid((length, 3000), tiling, CARD).rows
        assert (axis.count, axis.tile, axis.overlap) == (1, tile, 0)
        assert axis.span(0) == Span(0, tile)
    assert make_grid((1025, 3000), Tiling(), CARD).rows.overlap == 128


def test_each_axis_shrinks_by_itself():
    grid = make_grid((300, 4000), Tiling(), CARD)
    assert grid.tile_shape == (320, 928)
    assert grid.rows.count == 1
    assert grid.cols.count == 5


def test_a_network_of_one_tile_size_keeps_it():
    card = CardTile(size=512, min=512, max=512, overlap=64, divisor=32)
    assert make_grid((600, 100), Tiling(), card).tile_shape == (512, 512)


@pytest.mark.parametrize(("stated", "overlap"), [(64, 64), (128, 128)])
def test_tiles_of_the_one_size_that_a_graph_takes_overlap(stated, overlap):
    card = CardTile(size=256, min=256, max=256, overlap=stated, divisor=256)
    axis = make_grid((600, 100), Tiling(), card).rows
    assert (axis.tile, axis.overlap) == (256, overlap)


def test_tiles_of_a_picture_lie_inside_and_those_of_a_scene_do_not():
    card = CardTile(size=128, min=128, max=128, overlap=32, divisor=32)
    inside, over = (make_grid((180, 240), Tiling(), card, inside=i) for i in (True, False))
    assert [inside.rows.fed(i) for i in range(inside.rows.count)] == [Span(0, 128), Span(52, 180)]
    assert inside.cols.count == over.cols.count == 3
    assert over.rows.fed(0) == Span(-16, 112)
    # A picture that one tile covers has no other pixels.
    assert not make_grid((100, 90), Tiling(), card, inside=True).inside


def test_a_network_of_resized_pictures_has_one_tile_and_announces_what_it_is_fed(tmp_path):
    bundle = make_bundle(tmp_path / "bundle", resize=[128, 160])
    photo = write_photograph(tmp_path / "photo.tif", reflectance(1000, 1200), scale=0.0001)
    path = write_pipeline(tmp_path, photo, bundle.folder)
    plan = prepare(path)
    assert (plan.grid.tile_shape, plan.grid.count) == ((1000, 1200), 1)
    whole = replace(plan, bundle=replace(bundle, card=bundle.card.model_copy(update={"resize": None})))
    assert plan.memory.network < whole.memory.network
    with pytest.raises(PlanError, match="the network takes whole pictures, which are resized"):
        prepare(path, ["tiling.tile=128"])


@pytest.mark.parametrize(
    ("tiling", "message"),
    [
        (
            {"tile": 500},
            "tiling.tile: 500 does not fit the network: it takes multiples of 32 from 256 to 2048",
        ),
        ({"tile": 4096}, "4096 does not fit"),
        ({"tile": 256, "overlap": 192}, "tiling.overlap: 192 is more than half of the tile"),
    ],
)
def test_sizes_that_do_not_fit_are_refused(tiling, message):
    with pytest.raises(PlanError, match=message):
        make_grid((5000, 5000), Tiling(**tiling), CARD)


def test_automatic_overlap_of_a_small_tile_keeps_tiles_in_step():
    grid = make_grid((5000, 5000), Tiling(tile=256), CARD)
    assert grid.rows.overlap == 128
    assert grid.rows.stride % 32 == 0


def test_automatic_sizes_do_not_depend_on_the_machine(pipeline_file, monkeypatch):
    one = prepare(pipeline_file)
    monkeypatch.setattr("os.sched_getaffinity", lambda pid: set(range(64)))
    many = prepare(pipeline_file)
    assert many.passes > one.passes
    assert (many.grid, many.block, many.batch, many.fingerprint) == (
        one.grid,
        one.block,
        one.batch,
        one.fingerprint,
    )


@pytest.mark.parametrize(
    "change",
    [
        "tiling.tile=256",
        "inference.augment=flips",
        "outputs.probabilities=true",
        "inference.batch=3",
        "gsd=11",
    ],
)
def test_whatever_changes_the_bytes_changes_the_fingerprint(pipeline_file, change):
    assert prepare(pipeline_file).fingerprint != prepare(pipeline_file, [change]).fingerprint


@pytest.mark.parametrize("change", ["cluster={workers: 2}", "vectorize.minimum_area=900", "name=other"])
def test_what_does_not_change_the_bytes_keeps_the_fingerprint(pipeline_file, change):
    plan, other = prepare(pipeline_file), prepare(pipeline_file, [change])
    assert plan.fingerprint == other.fingerprint


def test_another_bundle_or_scene_file_changes_the_fingerprint(pipeline_file, scene_file, tmp_path):
    plan = prepare(pipeline_file)
    other = make_bundle(tmp_path / "other", seed=1)
    assert prepare(write_pipeline(tmp_path, scene_file, other.folder)).fingerprint != plan.fingerprint
    os.utime(scene_file, ns=(1, 1))
    assert prepare(pipeline_file).fingerprint != plan.fingerprint


def test_identity_is_plain_json(pipeline_file):
    identity = prepare(pipeline_file).identity()
    assert json.loads(json.dumps(identity)) == identity


def test_memory_does_not_grow_with_the_scene(pipeline_file):
    plan = prepare(pipeline_file)

    def total(side):
        return replace(plan, grid=make_grid((side, side), Tiling(), CARD), block=2).memory.total

    assert total(16384) / total(8192) < 1.10
    assert total(65536) / total(8192) < 1.30  # only the fringes of one line of blocks grow


def test_a_plan_that_does_not_fit_names_what_would(pipeline_file):
    plan = prepare(pipeline_file, ["outputs.polygons=[]"])
    plan = replace(plan, grid=make_grid((8192, 8192), Tiling(tile=512), plan.bundle.card.tile), block=4)
    assert check_memory(plan, Tiling(), plan.memory.total) is None
    message = check_memory(plan, Tiling(), plan.memory.total - 1)
    assert message is not None
    assert f"needs {plan.memory.total / 1e9:.2f} GB" in message
    assert message.endswith("this would fit: --set tiling.block=1 --set inference.batch=1")
    small = replace(plan, block=1, batch=1).memory.total
    assert "--set tiling.tile=" in check_memory(plan, Tiling(), small - 1)
    assert "no smaller tile fits" in check_memory(plan, Tiling(), 10_000_000)


def test_forward_passes_are_no_more_than_have_work_and_fit(pipeline_file):
    plan = replace(prepare(pipeline_file, ["outputs.polygons=[]"]), passes=64, block=2)
    assert fit_passes(plan, 10**12).passes == 8  # two blocks of four tiles
    assert fit_passes(plan, replace(plan, passes=3).memory.total).passes == 3
    assert fit_passes(plan, 0).passes == 1


def test_polygons_of_a_large_map_are_announced_and_can_be_left_out(pipeline_file):
    plan = prepare(pipeline_file, ["outputs.polygons=[gpkg]"])
    plan = replace(plan, scene=replace(plan.scene, geobox=plan.scene.geobox.zoom_to((16384, 16384))))
    row = 128 * 1024 * 16384 + 100_000_000 + 120_000_000
    assert plan.memory.polygons == row
    assert "--set outputs.polygons=[]" in check_memory(plan, Tiling(), plan.memory.total - 1)
    joined = prepare(pipeline_file, ["outputs.polygons=[gpkg]", "vectorize.minimum_area=400"]).polygons
    assert joined.bytes((16384, 16384)) == row + 8 * 16384**2
    objects = prepare(pipeline_file, ["outputs.polygons=[gpkg]", "vectorize.instances=watershed"]).polygons
    assert objects.bytes((16384, 16384)) == row + 8 * 16384**2 + 60 * 2**24


def test_too_little_memory_stops_the_run_and_can_be_overruled(pipeline_file, monkeypatch):
    class Small:
        available = 500_000_000

    monkeypatch.setattr(psutil, "virtual_memory", Small)
    with pytest.raises(PlanError, match=r"needs .* GB of memory .* but 0.50 GB are free.*checks.memory=warn"):
        prepare(pipeline_file)
    assert "0.50 GB are free" in prepare(pipeline_file, ["checks.memory=warn"]).warnings[0]


def test_a_gpu_that_is_too_small_is_told_before(pipeline_file, monkeypatch):
    for module in ("clusters.capacity", "clusters.local"):
        monkeypatch.setattr(f"geoseg.inference.{module}.count_gpus", lambda: 1)
    monkeypatch.setattr("geoseg.models.backends.auto.count_gpus", lambda: 1)
    asked = []

    def free(device):
        asked.append(device)
        return room

    monkeypatch.setattr("geoseg.inference.clusters.capacity.free_device_memory", free)
    room = 10**12
    plan = prepare(pipeline_file, ["inference.batch=8"])
    assert (plan.device, plan.backend, asked) == ("cuda", "torch", ["cuda"])
    assert plan.warnings == ()
    device = plan.memory.device
    assert plan.summary()["memory_per_worker_bytes"]["device"] == device
    grown = replace(plan, batch=16).memory.device
    tile, weights = plan.grid.tile_shape, plan.bundle.weights_bytes
    assert (grown - device) / 8 > tile[0] * tile[1] * plan.bundle.card.memory_bytes_per_pixel
    assert weights < device < grown
    room = device - 1
    (warning,) = prepare(pipeline_file, ["inference.batch=8"]).warnings
    assert warning.startswith("a batch of 8 takes about ")
    assert warning.endswith("--set inference.batch=4 does so from the start")
    assert prepare(pipeline_file, ["inference.batch=8", "checks.memory=off"]).warnings == ()
    room = 10
    (warning,) = prepare(pipeline_file, ["inference.batch=8"]).warnings
    assert warning.endswith("not even one tile may fit; a smaller one needs less: --set tiling.tile=256")


@pytest.mark.parametrize(
    ("tile", "block", "batch"), [(512, 3, 9), (256, 5, 25), (128, 11, 121), (64, 21, 441)]
)
def test_a_batch_on_a_gpu_does_not_go_beyond_a_block(pipeline_file, tile, block, batch):
    plan = prepare(pipeline_file)
    scene = plan.scene
    plan = make_plan(
        plan.pipeline.model_copy(update={"tiling": Tiling(tile=tile, overlap=tile // 4)}),
        replace(scene, geobox=scene.geobox.zoom_to((8192, 8192))),
        plan.bundle, "out",
        Execution(Local(), device="cuda", backend="torch", precision="fp32", workers=1, passes=1),
    )  # fmt: skip
    assert (plan.block, plan.batch) == (block, batch)


def test_on_a_cpu_no_device_memory_is_announced(pipeline_file):
    plan = prepare(pipeline_file)
    assert plan.memory.device == 0
    assert "device" not in plan.summary()["memory_per_worker_bytes"]
    assert check_device_memory(plan, None) is None


def test_summary_tells_what_will_happen(pipeline_file):
    plan = prepare(pipeline_file)
    summary = plan.summary()
    assert summary["tiles"] == plan.grid.count
    assert summary["blocks"] == plan.blocks.count
    memory = dict(summary["memory_per_worker_bytes"])
    assert memory["total"] == plan.memory.total > memory["base"]
    assert np.isclose(summary["network_pixels_per_pixel"], plan.grid.network_pixels_per_pixel, atol=1e-3)
