"""The engine: each tile once, the same bytes however the work is cut, no finished block done again."""

import errno
import random
import time
from dataclasses import replace
from pathlib import Path
from threading import Barrier, Thread
from types import SimpleNamespace

import numpy as np
import pytest
import rasterio
from distributed import spill
from hypothesis import given
from hypothesis import strategies as st

from geoseg.config.cluster import Local
from geoseg.core import buffers
from geoseg.core.errors import PlanError, SceneError
from geoseg.inference import driver, predict, workers
from geoseg.inference.clusters import connect, results
from geoseg.inference.events import Stopwatch
from geoseg.inference.plan import SLOTS
from geoseg.inference.predict import Job, predict_block, settle_block
from geoseg.runs.outputs import staging_of
from geoseg.runs.prepare import prepare
from geoseg.scenes.scene import Scene
from geoseg.storage.store import FolderStore
from geoseg.tiling.arrays import HOST
from geoseg.tiling.blocks import BlockGrid
from tests.conftest import BAND_NAMES, reflectance, write_pipeline, write_raster
from tests.inference.drive import run_blocks
from tests.inference.free import FreeSegmenter, install, uninstall


@given(st.integers(0, 30), st.integers(0, 9))
def test_workers_that_take_dealt_blocks_in_turn_get_neighbours(count, workers):
    blocks = list(range(count))
    found = driver.interleaved(blocks, workers)
    assert sorted(found) == blocks
    if workers and count % workers == 0:
        for worker in range(workers):
            mine = found[worker::workers]
            assert mine == list(range(mine[0], mine[0] + len(mine))) if mine else not count


def job_of(plan, folder):
    folder.mkdir(parents=True, exist_ok=True)
    spec = replace(plan.segmenter, passes=2)
    staging = staging_of(plan, FolderStore(folder))
    return Job(plan.scene, spec, plan.bundle.card.legend, plan.grid, plan.batch, plan.probabilities, staging)


def mosaic_of(job, blocks):
    """Put the staged blocks together, shape (planes, rows, cols)."""
    out = np.zeros((len(job.staging.bands), *job.scene.shape), dtype=np.uint8)
    for block in blocks:
        with rasterio.open(job.staging.path(block)) as src:
            rows, cols = block.core.rows, block.core.cols
            out[:, rows.start : rows.stop, cols.start : cols.stop] = src.read()
    return out


def run_in_order(job, blocks, order):
    """Predict in one order and settle in another, without Dask."""
    by_position = {(b.row, b.col): b for b in blocks}
    done = {p: predict_block(job, by_position[p]) for p in order}
    for p in reversed(order):
        (row, col), block = p, by_position[p]
        north, west, northwest = (done.get(q) for q in ((row - 1, col), (row, col - 1), (row - 1, col - 1)))
        settle_block(
            job,
            block,
            done[p],
            north and north.fringe.south,
            west and west.fringe.east,
            northwest and northwest.fringe.southeast,
        )


@pytest.fixture
def free():
    segmenter = install(FreeSegmenter())
    yield segmenter
    uninstall()


def run_free(plan, folder, finished=None):
    job = job_of(plan, folder)
    events = []
    with connect(Local()) as client:
        run_blocks(client, job, plan.blocks, finished or {}, events.append)
    return job, events


def test_every_tile_is_predicted_exactly_once(pipeline_file, tmp_path, free):
    plan = prepare(pipeline_file, ["tiling.block=2"])
    _, events = run_free(plan, tmp_path / "staging")
    assert len(free.seen) == plan.grid.count > 4
    assert set(free.seen.values()) == {1}
    assert sum(e.counts["tiles"] for e in events) == plan.grid.count
    assert [e.done for e in events] == list(range(1, plan.blocks.count + 1))


def test_what_is_held_does_not_grow_with_the_scene(tmp_path, bundle, free, monkeypatch):
    most: dict[str, int] = {}

    class Watched(driver._Dispatcher):
        def collect(self):
            yield from super().collect()
            held = {
                "waiting": len(self.waiting),
                "fringes": sum(len(s.fringes) for s in self.scenes.values()),
                "futures": len(self.client.futures),
                "tasks": len(self.client.cluster.scheduler.tasks),
            }
            most.update({k: max(n, most.get(k, 0)) for k, n in held.items()})

    monkeypatch.setattr(driver, "_Dispatcher", Watched)
    # Twenty lines of eight blocks.
    scene = write_raster(tmp_path / "s.tif", reflectance(960, 384), names=BAND_NAMES, scale=0.0001)
    more = "tiling: {tile: 64, overlap: 16, block: 1}", "checks: {statistics: off}"
    plan = prepare(write_pipeline(tmp_path, scene, bundle.folder, *more))
    assert (plan.blocks.rows.count, plan.blocks.cols.count) == (20, 8)
    job = job_of(plan, tmp_path / "staging")
    with connect(Local()) as client:
        run_blocks(client, job, plan.blocks, {}, lambda _: None)
    window = driver.WINDOW * SLOTS
    assert most["waiting"] <= window
    # The blocks of about a line wait for the next one, each with up to three parts.
    assert most["fringes"] <= 3 * 8
    assert most["futures"] <= window + 3 * 8
    assert most["tasks"] <= 5 * (window + 8)


def test_batches_have_one_shape_and_the_last_is_filled_up(pipeline_file, tmp_path, free):
    plan = prepare(pipeline_file, ["inference.batch=4", "tiling.block=3"])
    run_free(plan, tmp_path / "staging")
    assert free.shapes == {(4, 4, *plan.grid.tile_shape)}
    assert set(free.seen.values()) == {1}


def test_any_block_size_and_batch_gives_the_same_bytes(pipeline_file, tmp_path, free):
    results = {}
    for block in (1, 2, 3, 99):
        plan = prepare(pipeline_file, [f"tiling.block={block}", "outputs.probabilities=true"])
        job, _ = run_free(plan, tmp_path / str(block))
        results[block] = mosaic_of(job, plan.blocks)
    for block in (1, 2, 3):
        np.testing.assert_array_equal(results[block], results[99])


def test_blocks_are_begun_in_their_order(pipeline_file, tmp_path, free):
    plan = prepare(pipeline_file, ["tiling.block=1"])
    begun = []

    def note(fact):
        if fact["event"] == "begun":
            begun.append(fact["block"])

    with connect(Local()) as client:
        run_blocks(client, job_of(plan, tmp_path / "s"), plan.blocks, {}, lambda _: None, note)
    order = [b.name for b in plan.blocks]
    assert len(order) > 2 * SLOTS
    # Two are in hand at once, and may come in either order.
    assert all(abs(order.index(name) - place) < SLOTS for place, name in enumerate(begun))


@pytest.mark.parametrize(("size", "arrays"), [(1, 1), (2, 2)])
def test_memory_that_is_used_again_changes_no_byte(pipeline_file, tmp_path, free, monkeypatch, size, arrays):
    plan = prepare(pipeline_file, [f"tiling.block={size}"])
    expected = mosaic_of(run_free(plan, tmp_path / "plain")[0], plan.blocks)
    release_free_memory, spoilt = buffers._Lease.__del__, []

    def spoil(lease):
        lease.buffer[:] = 0xA5
        spoilt.append(lease.buffer.size)
        release_free_memory(lease)

    monkeypatch.setattr(buffers, "LEAST", 1)
    monkeypatch.setattr(buffers._Lease, "__del__", spoil)
    job, _ = run_free(plan, tmp_path / "pooled")
    np.testing.assert_array_equal(mosaic_of(job, plan.blocks), expected)
    assert len(spoilt) >= arrays * plan.blocks.count  # pixels and, of several tiles, sums


@pytest.mark.parametrize("full", [False, True])
def test_what_waits_on_disk_changes_no_byte(pipeline_file, tmp_path, free, monkeypatch, capfd, full):
    plan = prepare(pipeline_file, ["tiling.block=1"])
    expected = mosaic_of(run_free(plan, tmp_path / "memory")[0], plan.blocks)
    write, tried = spill.Slow.__setitem__, []

    def count(slow, key, value):
        tried.append(key)
        if full:
            raise OSError(errno.ENOSPC, "No space left on device")
        write(slow, key, value)

    monkeypatch.setattr(spill.Slow, "__setitem__", count)
    monkeypatch.setattr(results, "KEPT_BYTES", 1000)
    job, _ = run_free(plan, tmp_path / "disk")
    np.testing.assert_array_equal(mosaic_of(job, plan.blocks), expected)
    assert {key.partition("-")[0] for key in tried} == set(driver.PARTS)
    # Without room it stays in memory, and nobody need know.
    assert "No space left" not in "".join(capfd.readouterr())


@pytest.mark.parametrize(
    ("device", "remote", "most"), [("cpu", False, 1), ("cuda", False, 2), ("cpu", True, 2)]
)
def test_blocks_of_files_are_read_one_at_a_time_on_a_cpu(device, remote, most, monkeypatch):
    monkeypatch.setattr(Scene, "remote", remote)
    scene = Scene("s", None, ())
    network = SimpleNamespace(segmenter=SimpleNamespace(device=device))
    job = SimpleNamespace(networks=(network,), scene=scene)
    inside, seen, both = [0], [], Barrier(2)

    def read():
        both.wait()
        with predict._read_slot(job, Stopwatch()):
            inside[0] += 1
            time.sleep(0.2)
            seen.append(inside[0])
            inside[0] -= 1

    threads = [Thread(target=read) for _ in range(2)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert max(seen) == most


def test_a_failed_read_leaves_the_turn_to_others(pipeline_file, tmp_path, free, monkeypatch):
    job = job_of(prepare(pipeline_file), tmp_path / "s")

    def broken(self, window):
        raise SceneError("it fails")

    monkeypatch.setattr(Scene, "read", broken)
    with pytest.raises(SceneError, match="it fails"):
        predict_block(job, BlockGrid.of(job.grid, 1).block(0, 0))
    assert not predict._read_lock.locked()


def test_any_order_of_tasks_gives_the_same_bytes(pipeline_file, tmp_path):
    plan = prepare(pipeline_file, ["tiling.block=1"])
    whole = BlockGrid.of(plan.grid, 99)
    reference = job_of(plan, tmp_path / "reference")
    run_in_order(reference, whole, [(0, 0)])
    expected = mosaic_of(reference, whole)
    positions = [(b.row, b.col) for b in plan.blocks]
    assert len(positions) >= 6
    for seed in range(3):
        job = job_of(plan, tmp_path / str(seed))
        order = random.Random(seed).sample(positions, len(positions))
        run_in_order(job, plan.blocks, order)
        np.testing.assert_array_equal(mosaic_of(job, plan.blocks), expected)


def test_finished_blocks_are_not_settled_again_and_far_ones_not_even_predicted(pipeline_file, tmp_path, free):
    plan = prepare(pipeline_file, ["tiling.block=1"])
    job, _ = run_free(plan, tmp_path / "staging")
    expected = mosaic_of(job, plan.blocks)
    last = plan.blocks.block(plan.blocks.rows.count - 1, plan.blocks.cols.count - 1)
    Path(job.staging.path(last)).unlink()
    finished = {(b.row, b.col): {} for b in plan.blocks if b != last}
    free.seen.clear()
    _, events = run_free(plan, tmp_path / "staging", finished)
    assert [e.block.name for e in events] == [last.name]
    assert len(free.seen) == 4  # itself and its north, west and north-west neighbours, for their fringes
    np.testing.assert_array_equal(mosaic_of(job, plan.blocks), expected)


def test_tiles_without_a_valid_pixel_are_skipped_and_nodata_never_becomes_a_class(tmp_path, bundle, free):
    values = reflectance(300, 260)
    values[:, :, 130:] = 0
    values[:, 50:60, 20:30] = 0
    scene = write_raster(tmp_path / "s.tif", values, names=BAND_NAMES, scale=0.0001, nodata=0)
    plan = prepare(write_pipeline(tmp_path, scene, bundle.folder), ["checks.statistics=off"])
    job, events = run_free(plan, tmp_path / "staging")
    skipped = sum(e.counts["skipped"] for e in events)
    assert skipped > 0
    assert len(free.seen) == plan.grid.count - skipped
    planes = mosaic_of(job, plan.blocks)
    empty = (values == 0).any(axis=0)
    assert (planes[:, empty] == 255).all()
    assert (planes[0, ~empty] < 255).all()
    assert (planes[1, ~empty] <= 100).all()


def test_a_task_error_stops_the_run_and_reaches_the_caller(pipeline_file, tmp_path, free, monkeypatch):
    plan = prepare(pipeline_file, ["tiling.block=1"])

    def broken(self, window):
        raise SceneError("scene.tif: cannot be read at rows 0-1")

    monkeypatch.setattr(type(plan.scene), "read", broken)
    with pytest.raises(SceneError, match="cannot be read at rows 0-1"):
        run_free(plan, tmp_path / "staging")


def test_a_cluster_without_the_resource_is_refused(pipeline_file, tmp_path, free, monkeypatch):
    plan = prepare(pipeline_file)
    monkeypatch.setattr(workers, "RESOURCE", "TPU")
    with pytest.raises(PlanError, match="no worker of the cluster offers the resource TPU"):
        run_free(plan, tmp_path / "staging")


def test_the_network_loads_once_in_a_process(pipeline_file, tmp_path, monkeypatch):
    from geoseg.models.backends import load

    loads = []
    real = load.make_segmenter
    monkeypatch.setattr(load, "_loaded", {})
    monkeypatch.setattr(load, "make_segmenter", lambda b, s: loads.append(s) or real(b, s))
    plan = prepare(pipeline_file, ["tiling.block=1"])
    run_free(plan, tmp_path / "staging")
    assert len(loads) == 1


def test_the_first_of_two_equal_classes_wins(pipeline_file, tmp_path, monkeypatch):
    class Even:
        arrays = HOST

        def prepare(self, shape, dtype):
            pass

        def predict(self, values, valid, gain, bias):
            return np.full((len(values), 3, *values.shape[2:]), 1 / 3, dtype=np.float32)

    monkeypatch.setattr(predict, "load_segmenter", lambda spec: Even())
    plan = prepare(pipeline_file)
    job, _ = run_free(plan, tmp_path / "staging")
    planes = mosaic_of(job, plan.blocks)
    assert (planes[0] == 1).all()
    assert (planes[1] == 33).all()
