"""Kill and resume with real processes: whatever dies whenever, the next run ends with the same bytes."""

import os
import signal
import time
from collections import Counter

import pytest

from geoseg.core.run_files import RunFile
from geoseg.runs.log import read_events
from tests import processes
from tests.conftest import BAND_NAMES, read_manifest, reflectance, write_pipeline, write_raster

OUTPUTS = ("classes.tif", "confidence.tif", "classes.qml", "classes.tif.aux.xml", "polygons.gpkg")


@pytest.fixture(scope="module")
def work(tmp_path_factory, bundle):
    """A scene of 25 blocks and its undisturbed run."""
    folder = tmp_path_factory.mktemp("resume")
    scene = write_raster(folder / "scene.tif", reflectance(900, 900), names=BAND_NAMES, scale=0.0001)
    path = write_pipeline(folder, scene, bundle.folder, "tiling: {block: 2}")
    assert finish(start(path, folder / "undisturbed")) == (0, "")
    return path, folder


def start(path, folder, *more):
    return processes.start("geoseg", "run", path, "--output", folder, "--quiet", *more)


def finish(process):
    """Wait for the end; return the exit code and what was said."""
    _, said = process.communicate(timeout=300)
    return process.returncode, said


def sums(folder):
    outputs = read_manifest(folder)["outputs"]
    return {name: outputs[name]["sha256"] for name in OUTPUTS}


def staged(folder):
    return len(list((folder / "staging").glob("block_*.done")))


def wait_for(condition, process, limit=120):
    """Wait until the condition holds or the process ends."""
    end = time.monotonic() + limit
    while not condition() and process.poll() is None:
        assert time.monotonic() < end
        time.sleep(0.002)


def test_the_undisturbed_run_has_many_blocks(work):
    _, folder = work
    assert read_manifest(folder / "undisturbed")["plan"]["blocks"] >= 16


@pytest.mark.parametrize("moment", ["before the first block", "while outputs are written"])
def test_kill_9_and_run_again_gives_the_same_bytes(work, tmp_path, moment):
    path, folder = work
    target = tmp_path / "killed"
    process = start(path, target)
    if moment == "before the first block":
        wait_for((target / "staging/plan.json").exists, process)
    else:
        wait_for((target / "staging/classes.vrt").exists, process)
    process.send_signal(signal.SIGKILL)
    assert finish(process)[0] == -signal.SIGKILL
    assert not (target / "run.json").exists()
    assert finish(start(path, target)) == (0, "")
    assert read_manifest(target)["resumed"]
    assert sums(target) == sums(folder / "undisturbed")
    assert not (target / "staging").exists()


def test_a_run_killed_twice_gives_the_same_bytes(work, tmp_path):
    path, folder = work
    target = tmp_path / "killed"
    blocks = read_manifest(folder / "undisturbed")["plan"]["blocks"]
    for enough in (1, 13):
        process = start(path, target)
        wait_for(lambda enough=enough: staged(target) >= enough, process)
        process.kill()
        finish(process)
        assert enough <= staged(target) < blocks
    assert finish(start(path, target)) == (0, "")
    assert sums(target) == sums(folder / "undisturbed")


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM"])
def test_an_interrupted_run_exits_130_and_is_resumed(work, tmp_path, name):
    path, folder = work
    target = tmp_path / "interrupted"
    process = start(path, target)
    wait_for(lambda: staged(target) >= 2, process)
    process.send_signal(getattr(signal, name))
    code, said = finish(process)
    assert code == 130
    assert "interrupted; the same command goes on" in said
    assert finish(start(path, target)) == (0, "")
    assert sums(target) == sums(folder / "undisturbed")


def test_ctrl_c_in_a_terminal_leaves_worker_processes_to_finish_their_blocks(work, tmp_path):
    path, folder = work
    target = tmp_path / "group"
    workers = "--set", "inference.device=cpu", "--cluster", "workstation"
    process = start(path, target, *workers)
    wait_for(lambda: staged(target) >= 2, process)
    # A terminal signals the whole group.
    os.killpg(process.pid, signal.SIGINT)
    code, said = finish(process)
    assert code == 130
    assert "finishing the blocks in hand" in said
    events = read_events(target / RunFile.EVENTS)
    assert not [e for e in events if e["event"] == "worker" and e["state"] == "left"]
    begun, settled = (Counter(e["block"] for e in events if e["event"] == k) for k in ("begun", "settled"))
    assert set(begun.values()) == {1}
    assert 2 <= staged(target) == settled.total() < read_manifest(folder / "undisturbed")["plan"]["blocks"]
    assert finish(start(path, target, *workers)) == (0, "")
    assert sums(target) == sums(folder / "undisturbed")


def test_a_damaged_staged_block_is_found_and_done_again(work, tmp_path):
    path, folder = work
    target = tmp_path / "damaged"
    process = start(path, target)
    wait_for(lambda: staged(target) >= 6, process)
    process.kill()
    finish(process)
    block = sorted((target / "staging").glob("block_*.tif"))[1]
    data = bytearray(block.read_bytes())
    data[len(data) // 2] ^= 0xFF
    block.write_bytes(data)
    assert finish(start(path, target)) == (0, "")
    assert sums(target) == sums(folder / "undisturbed")


def test_two_worker_processes_give_the_same_bytes(work, tmp_path):
    path, folder = work
    target = tmp_path / "two"
    assert finish(start(path, target, "--set", "cluster={kind: local, workers: 2}")) == (0, "")
    assert read_manifest(target)["plan"]["workers"] == 2
    assert sums(target) == sums(folder / "undisturbed")


def test_two_runs_in_one_folder_are_refused(work, tmp_path):
    path, _ = work
    target = tmp_path / "busy"
    first = start(path, target)
    wait_for((target / "staging/plan.json").exists, first)
    os.kill(first.pid, signal.SIGSTOP)
    code, said = finish(start(path, target))
    os.kill(first.pid, signal.SIGCONT)
    assert code == 1
    assert "another geoseg run is writing here" in said
    assert finish(first) == (0, "")
