"""Many scenes in one run: one window, a folder each, failures named, resumed where it stopped."""

import json
import os
from pathlib import Path

import numpy as np
import pytest
import rasterio

from geoseg.core.errors import ConfigError, OutputError, SceneError
from geoseg.core.run_files import RunFile
from geoseg.runs.batch import SUMMARY, run_batch
from geoseg.runs.log import read_events
from geoseg.runs.prepare import prepare, read_batch
from geoseg.runs.run import Options, run
from tests import processes
from tests.conftest import BAND_NAMES, read_manifest, reflectance, write_pipeline, write_raster
from tests.inference.free import Untracked, install, uninstall

NAMES = ("a", "b", "c")


@pytest.fixture(autouse=True)
def free():
    install(Untracked())
    yield
    uninstall()


@pytest.fixture
def work(tmp_path, bundle):
    """Three scenes and a pipeline."""
    for i, name in enumerate(NAMES):
        write_raster(tmp_path / f"{name}.tif", reflectance(300, 260, i), names=BAND_NAMES, scale=0.0001)
    more = "tiling: {block: 2}", "reading: {tries: 1}"
    return write_pipeline(tmp_path, tmp_path / "a.tif", bundle.folder, *more)


def batch_of(path, *overrides):
    return read_batch(path, ["outputs.polygons=[]", *overrides], scenes=f"{path.parent}/*.tif")


def states(outcomes):
    return {o.name: o.state for o in outcomes}


def test_each_scene_is_what_a_run_of_its_own_gives_and_none_waits_for_outputs(work, tmp_path):
    outcomes = run_batch(batch_of(work))
    assert states(outcomes) == dict.fromkeys(NAMES, "done")
    assert [o["state"] for o in json.loads((tmp_path / "out" / SUMMARY).read_text())] == ["done"] * 3
    alone = run(prepare(work, ["outputs.polygons=[]", f"scene={tmp_path / 'b.tif'}"], tmp_path / "alone"))
    for name in ("classes.tif", "confidence.tif"):
        with (
            rasterio.open(tmp_path / "out/b" / name) as one,
            rasterio.open(tmp_path / "alone" / name) as other,
        ):
            np.testing.assert_array_equal(one.read(), other.read())
    assert read_manifest(tmp_path / "out/b")["pixels"] == alone.record.model_dump(mode="json")["pixels"]
    events = {n: read_events(tmp_path / "out" / n / RunFile.EVENTS) for n in NAMES}
    for before, after in (("a", "b"), ("b", "c")):
        begun = min(e["time"] for e in events[after] if e["event"] == "begun")
        made = max(e["time"] for e in events[before] if e["event"] == "output")
        assert begun < made
    assert not any((tmp_path / "out" / n / "staging").exists() for n in NAMES)


def test_no_file_of_a_finished_scene_stays_open(work, tmp_path):
    """Threads of workers outlive many scenes, and a process may have 1024 files open, or 256."""
    open_then = []

    def count(outcome):
        links = [os.path.realpath(link) for link in Path("/proc/self/fd").iterdir()]
        below = [
            p.removesuffix(" (deleted)") for p in links if p.startswith(f"{tmp_path}/out/{outcome.name}/")
        ]
        open_then.append([p for p in below if p.endswith(".tif")])

    outcomes = run_batch(read_batch(work, [], scenes=f"{tmp_path}/*.tif"), on_outcome=count)
    assert states(outcomes) == dict.fromkeys(NAMES, "done")
    assert open_then == [[], [], []]


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="open files are counted in /proc")
def test_two_hundred_scenes_keep_no_more_files_open_than_thirty(tmp_path):
    write_raster(tmp_path / "scene.tif", reflectance(40, 40), names=BAND_NAMES, scale=0.0001)
    classes = np.kron([[1, 2], [2, 1]], np.ones((20, 20))).astype(np.uint8)
    write_raster(tmp_path / "classes.tif", classes, nodata=255)
    write_raster(tmp_path / "confidence.tif", np.full((40, 40), 0.9, np.float32), nodata=255)
    done = processes.run("tests.runs.many_scenes", tmp_path, 200, 256)
    assert done.returncode == 0, done.stderr
    opened = json.loads(done.stdout.splitlines()[-1])
    assert len(opened) == 200
    # Some rasters are kept open, up to a number; 1.2 more for each scene would be 240.
    assert max(opened) <= 256 - 64
    assert max(opened[150:]) - max(opened[100:150]) <= 4


@pytest.mark.usefixtures("without_pictures")
def test_finished_scenes_are_left_alone_and_others_are_done(work, tmp_path):
    run_batch(batch_of(work))
    before = (tmp_path / "out/a/run.json").read_bytes()
    write_raster(tmp_path / "c.tif", reflectance(300, 260, 9), names=BAND_NAMES, scale=0.0001)
    write_raster(tmp_path / "d.tif", reflectance(200, 260, 4), names=BAND_NAMES, scale=0.0001)
    outcomes = run_batch(batch_of(work), skip=True)
    found = states(outcomes)
    assert found == {"a": "finished before", "b": "finished before", "c": "failed", "d": "done"}
    # c holds a map of another scene, which is not overwritten unasked.
    assert "holds a finished run" in next(o.why for o in outcomes if o.name == "c")
    assert (tmp_path / "out/a/run.json").read_bytes() == before
    assert states(run_batch(batch_of(work), Options(overwrite=True))) == dict.fromkeys("abcd", "done")


@pytest.mark.usefixtures("without_pictures")
def test_a_scene_that_fails_is_named_and_the_others_go_on(work, tmp_path):
    (tmp_path / "b.tif").write_bytes((tmp_path / "b.tif").read_bytes()[:3000])
    outcomes = run_batch(batch_of(work), skip=True)
    assert states(outcomes) == {"a": "done", "b": "failed", "c": "done"}
    assert f"{tmp_path}/b.tif: cannot be opened" in next(o.why for o in outcomes if o.name == "b")
    with pytest.raises(SceneError, match=r"b: \S+/b.tif: cannot be opened"):
        run_batch(batch_of(work))
    found = json.loads((tmp_path / "out" / SUMMARY).read_text())
    assert found[-1]["state"] == "failed"


@pytest.mark.usefixtures("without_pictures")
def test_a_block_that_cannot_be_read_fails_its_scene_alone(work, tmp_path, monkeypatch):
    from geoseg.scenes.scene import Scene

    real = Scene.read

    def read(self, window):
        if self.name == "b" and window.rows.start not in (0, 256):  # where its sample lies
            raise SceneError(f"{self.name}: gone")
        return real(self, window)

    batch = batch_of(work, "checks.statistics=off")
    monkeypatch.setattr(Scene, "read", read)
    outcomes = run_batch(batch, skip=True)
    assert states(outcomes) == {"a": "done", "b": "failed", "c": "done"}
    assert "block_" in next(o.why for o in outcomes if o.name == "b")
    events = read_events(tmp_path / "out/b" / RunFile.EVENTS)
    assert events[-1]["event"] == "failed"
    monkeypatch.setattr(Scene, "read", real)
    assert states(run_batch(batch)) == {"a": "finished before", "b": "done", "c": "finished before"}
    assert read_manifest(tmp_path / "out/b")["resumed"]


def test_a_pipeline_with_scenes_is_a_batch_and_one_with_neither_is_refused(work, tmp_path):
    assert not read_batch(work).many
    many = tmp_path / "many.yaml"
    many.write_text(work.read_text().replace(f"scene: {tmp_path}/a.tif", f"scenes: ['{tmp_path}/c.tif']"))
    assert [s.name for s in read_batch(many).scenes] == ["c"]
    many.write_text(work.read_text().replace(f"scene: {tmp_path}/a.tif\n", ""))
    with pytest.raises(ConfigError, match="a pipeline needs a scene, or scenes"):
        read_batch(many)


@pytest.mark.usefixtures("without_pictures")
def test_the_command_line_sums_up_and_exits_1_when_a_scene_failed(work, tmp_path, geoseg_here):
    (tmp_path / "b.tif").write_bytes(b"")
    more = ["--scenes", f"{tmp_path}/*.tif", "--on-error", "skip", "--set", "outputs.polygons=[]"]
    done = geoseg_here("run", work, "--dry-run", *more)
    assert done.returncode == 1
    assert "3 scenes: 2 can run, 1 failed" in done.stdout
    done = geoseg_here("run", work, *more)
    assert done.returncode == 1
    assert "3 scenes: 1 failed, 2 done" in done.stdout or "3 scenes: 2 done, 1 failed" in done.stdout
    assert f"b: {tmp_path}/b.tif: cannot be opened" in done.stdout
    assert (tmp_path / "out/c/classes.tif").exists()


@pytest.mark.usefixtures("without_pictures")
@pytest.mark.parametrize("how", ["replaced", "rewritten", "same time"])
def test_a_scene_that_is_written_to_during_its_run_gives_no_map(work, tmp_path, how):
    path, other = tmp_path / "a.tif", tmp_path / "b.tif"
    time = path.stat()

    def change(event):
        if event.stage != "predict" or event.done != 1 or not other.exists():
            return
        if how == "rewritten":
            path.write_bytes(other.read_bytes())
            other.unlink()
            return
        other.replace(path)
        if how == "same time":
            os.utime(path, ns=(time.st_atime_ns, time.st_mtime_ns))

    with pytest.raises(SceneError, match=r"a\.tif: was written to while the scene was read"):
        run(prepare(work), Options(on_progress=change))
    assert not other.exists()
    assert not list((tmp_path / "out").glob("*.tif"))
    assert not (tmp_path / "out" / RunFile.RECORD).exists()
    with pytest.raises(OutputError, match="unfinished run of another plan"):
        run(prepare(work))
    done = run(prepare(work), Options(overwrite=True))
    again = run(prepare(work, (), tmp_path / "again"))
    assert done.record.pixels == again.record.pixels


def test_a_scene_that_was_replaced_between_kill_and_resume_is_not_mixed(work, tmp_path):
    path, time = tmp_path / "a.tif", (tmp_path / "a.tif").stat()

    def stop(event):
        if event.stage == "predict" and event.done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(prepare(work), Options(on_progress=stop))
    (tmp_path / "b.tif").replace(path)
    os.utime(path, ns=(time.st_atime_ns, time.st_mtime_ns))
    assert path.stat().st_size == time.st_size
    with pytest.raises(OutputError, match="unfinished run of another plan"):
        run(prepare(work))
