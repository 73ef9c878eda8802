"""A scene that fails for a while, or for good."""

import shutil

import numpy as np
import pytest
import rasterio

from geoseg.core.errors import GeosegError, SceneError
from geoseg.core.geometry import Window
from geoseg.inference.retry import RetryPolicy, read_with_retry
from geoseg.runs.prepare import prepare
from geoseg.runs.run import run
from geoseg.scenes import handles
from geoseg.scenes.catalog import resolve_scene
from tests.conftest import BAND_NAMES, reflectance, write_pipeline, write_raster
from tests.inference.flaky import serve

QUICK = "reading: {tries: 4, wait: 0.01}"


@pytest.fixture
def damaged(tmp_path):
    """A scene of which a part is overwritten, and the whole one."""
    whole = write_raster(
        tmp_path / "whole.tif", reflectance(600, 260), names=BAND_NAMES, scale=0.0001, tiled=True,
        blockxsize=64, blockysize=64, compress="deflate",
    )  # fmt: skip
    broken = tmp_path / "broken.tif"
    data = bytearray(whole.read_bytes())
    start = len(data) // 2
    data[start : len(data) * 2 // 3] = bytes(len(data) * 2 // 3 - start)
    broken.write_bytes(data)
    with rasterio.open(broken) as src:
        assert src.shape == (600, 260)
    return broken, whole


def test_waits_grow_within_their_jitter_and_end():
    waits = RetryPolicy(tries=8, wait=1).waits()
    assert len(waits) == 7
    for wait, step in zip(waits, (1, 3, 9, 27, 60, 60, 60), strict=True):
        assert 0.75 * step <= wait <= 1.25 * step
    assert RetryPolicy(tries=1).waits() == []


def test_a_server_that_fails_for_a_while_is_asked_again(tmp_path):
    values = reflectance(512, 512)
    write_raster(tmp_path / "s.tif", values, names=BAND_NAMES, scale=0.0001, tiled=True, blockxsize=128,
                 blockysize=128)  # fmt: skip
    failed = []
    with serve(tmp_path) as address:
        scene = resolve_scene(f"{address}/s.tif", "s", BAND_NAMES)
        down = tmp_path / "failures"
        down.write_text("1000")

        def back(number, why):
            failed.append((number, why))
            if number == 2:
                down.write_text("0")

        pixels = read_with_retry(scene, Window.of(128, 256, 256, 128), RetryPolicy(4, 0.01), back)
    np.testing.assert_array_equal(pixels.values, values[:, 128:384, 256:384])
    assert [n for n, _ in failed] == [1, 2]
    assert "s.tif" in failed[0][1]


def test_a_file_that_is_away_for_a_while_is_opened_again(tmp_path):
    path = write_raster(tmp_path / "s.tif", reflectance(200, 200), names=BAND_NAMES, scale=0.0001)
    scene = resolve_scene(str(path), "s", BAND_NAMES)
    away = path.with_suffix(".away")
    path.rename(away)

    def back(number, why):
        assert "s.tif" in why
        if number == 2:
            away.rename(path)

    pixels = read_with_retry(scene, Window.of(0, 0, 50, 50), RetryPolicy(4, 0.01), back)
    assert pixels.valid.all()


def test_a_block_that_stays_unreadable_stops_the_run_with_block_and_file(damaged, bundle, tmp_path):
    broken, _ = damaged
    path = write_pipeline(
        tmp_path, broken, bundle.folder, "checks: {statistics: off}", QUICK, "tiling: {block: 2}"
    )
    with pytest.raises(SceneError, match=r"block_\d+_\d+: .*broken.tif: cannot be read at rows .*4 times"):
        run(prepare_unsampled(path))


def prepare_unsampled(path):
    """Prepare a pipeline whose scene is damaged where its sample looks."""
    from geoseg.inference import checks

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(checks, "check_statistics", lambda *_: None)
        return prepare(path)


@pytest.mark.usefixtures("without_pictures")
def test_a_block_that_stays_unreadable_becomes_nodata_if_the_pipeline_says_so(damaged, bundle, tmp_path):
    broken, whole = damaged
    more = ("tiling: {block: 2}", "reading: {tries: 2, wait: 0.01, failed: nodata}")
    maps = {}
    for scene in (whole, broken):
        folder = tmp_path / scene.stem
        folder.mkdir()
        plan = prepare_unsampled(write_pipeline(folder, scene, bundle.folder, *more))
        manifest = run(plan).record.model_dump(mode="json")
        with rasterio.open(folder / "out/classes.tif") as src:
            maps[scene.stem] = src.read(1)
    unread = manifest["trouble"]["unread_blocks"]
    assert 0 < len(unread) < plan.blocks.count
    assert manifest["trouble"]["read_again"] == len(unread)
    assert any(
        f"{len(unread)} of {plan.blocks.count} blocks could not be read" in w for w in manifest["warnings"]
    )
    assert all("broken.tif: cannot be read" in why for why in unread.values())
    lost = np.zeros(plan.scene.shape, bool)
    for block in plan.blocks:
        if block.name in unread:
            canvas = block.canvas
            lost[canvas.rows.start : canvas.rows.stop, canvas.cols.start : canvas.cols.stop] = True
    assert (maps["broken"][lost] == 255).all()
    # What does not touch an unread block is what the whole scene gives.
    np.testing.assert_array_equal(maps["broken"][~lost], maps["whole"][~lost])
    assert (~lost).any()


def test_a_run_that_takes_nodata_is_another_plan(scene_file, bundle, tmp_path):
    path = write_pipeline(tmp_path, scene_file, bundle.folder)
    assert prepare(path).identity().get("unread") is None
    assert prepare(path, ["reading.failed=nodata"]).identity()["unread"] == "nodata"
    with pytest.raises(GeosegError, match=r"reading.failed: error or nodata, not 'skip'"):
        prepare(path, ["reading.failed=skip"])


def test_a_scene_that_vanishes_is_named(scene_file, bundle, tmp_path):
    plan = prepare(write_pipeline(tmp_path, scene_file, bundle.folder, QUICK))
    # A handle that is open would go on reading what was planned.
    handles._forget_handles()
    shutil.move(scene_file, tmp_path / "elsewhere.tif")
    with pytest.raises(SceneError, match=r"block_00000_00000: .*scene.tif: .* \(tried 4 times\)"):
        run(plan)
