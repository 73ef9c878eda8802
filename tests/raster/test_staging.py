import errno
import json
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyproj
import pytest
import rasterio
from odc.geo.geobox import CRS

from geoseg.core.errors import OutputError
from geoseg.core.geometry import Window
from geoseg.raster.staged_map import StagedMap
from geoseg.raster.staging import Staging, crs_wkt
from geoseg.storage.store import FolderStore
from geoseg.tiling.blocks import BlockGrid
from geoseg.tiling.grid import TileAxis, TileGrid

GRID = BlockGrid.of(TileGrid(TileAxis(300, 128, 32), TileAxis(280, 128, 32)), 2)
BLOCK = GRID.block(1, 1)
COUNTS = {"tiles": 4, "classes": {"1": 7}, "seconds": {"read": 0.5}}


@pytest.fixture
def staging(tmp_path):
    transform = (10.0, 0.0, 500_000.0, 0.0, -10.0, 4_500_000.0)
    return Staging(FolderStore(tmp_path), "f1", crs_wkt("EPSG:32633"), transform, ("class", "confidence"))


@pytest.fixture
def planes():
    return np.random.default_rng(0).integers(0, 256, (2, *BLOCK.core.shape), dtype=np.uint8)


def test_a_block_is_written_with_its_place_and_found_again(staging, planes):
    assert staging.counts(BLOCK) is None
    staging.write(BLOCK, planes, COUNTS)
    assert staging.counts(BLOCK) == COUNTS
    assert sorted(p.name for p in staging.folder.iterdir()) == [
        "block_00001_00001.done",
        "block_00001_00001.tif",
    ]
    with rasterio.open(staging.path(BLOCK)) as src:
        assert (src.read() == planes).all()
        assert src.descriptions == ("class", "confidence")
        assert src.crs.to_epsg() == 32633
        left, top = BLOCK.core.cols.start * 10 + 500_000, 4_500_000 - BLOCK.core.rows.start * 10
        assert (src.bounds.left, src.bounds.top) == (left, top)


def test_windows_of_finished_blocks_are_read_as_a_map(staging):
    classes = np.random.default_rng(1).integers(0, 255, (300, 280), dtype=np.uint8)
    masks = replace(staging, prefix="mask-")
    for block in GRID:
        planes = classes[block.core.relative_to(Window.of(0, 0, 300, 280))]
        masks.write(block, np.stack([planes, planes]), COUNTS)
    assert staging.finished(GRID) == {}
    found = StagedMap(masks, GRID, Window.of(5, 7, 300, 280))
    around = np.full((320, 300), 255, np.uint8)
    around[5:305, 7:287] = classes
    for window in (Window.of(0, 0, 320, 300), Window.of(190, 180, 40, 60), Window.of(0, 0, 5, 300)):
        np.testing.assert_array_equal(found.read(window), around[window.relative_to(Window.of(0, 0, 0, 0))])
    path = Path(masks.path(BLOCK))
    path.write_bytes(path.read_bytes()[:-1])
    assert found.read(Window.of(5, 7, 20, 20)).shape == (20, 20)
    with pytest.raises(OutputError, match="was damaged or removed since it was written"):
        found.read(Window.of(0, 0, 320, 300))


def test_writing_again_gives_the_same_bytes(staging, planes):
    staging.write(BLOCK, planes, COUNTS)
    once = Path(staging.path(BLOCK)).read_bytes()
    staging.write(BLOCK, planes, COUNTS)
    assert Path(staging.path(BLOCK)).read_bytes() == once


@pytest.mark.parametrize("at", [0, 300, -1])
def test_a_flipped_byte_makes_the_block_uncounted(staging, planes, at):
    staging.write(BLOCK, planes, COUNTS)
    data = bytearray(Path(staging.path(BLOCK)).read_bytes())
    data[at] ^= 1
    Path(staging.path(BLOCK)).write_bytes(data)
    assert staging.counts(BLOCK) is None


def test_a_truncated_or_missing_block_is_uncounted(staging, planes):
    staging.write(BLOCK, planes, COUNTS)
    data = Path(staging.path(BLOCK)).read_bytes()
    Path(staging.path(BLOCK)).write_bytes(data[:-10])
    assert staging.counts(BLOCK) is None
    Path(staging.path(BLOCK)).unlink()
    assert staging.counts(BLOCK) is None


def test_a_block_of_another_fingerprint_is_uncounted(staging, planes):
    staging.write(BLOCK, planes, COUNTS)
    assert replace(staging, fingerprint="f2").counts(BLOCK) is None


@pytest.mark.parametrize("marker", [b"", b"{", b"[]", b"null", b"{}", b'"x"', b"\xff\xfe\x00"])
def test_a_damaged_marker_makes_the_block_uncounted(staging, planes, marker):
    staging.write(BLOCK, planes, COUNTS)
    (staging.folder / f"{BLOCK.name}.done").write_bytes(marker)
    assert staging.counts(BLOCK) is None


def test_the_marker_of_other_bytes_makes_the_block_uncounted(staging, planes):
    staging.write(BLOCK, planes, COUNTS)
    marker = staging.folder / f"{BLOCK.name}.done"
    old = marker.read_bytes()
    staging.write(BLOCK, 255 - planes, COUNTS)
    marker.write_bytes(old)
    assert staging.counts(BLOCK) is None
    assert json.loads(old)["fingerprint"] == "f1"


def test_a_block_copied_over_another_one_is_uncounted(staging, planes):
    other = GRID.block(0, 1)
    assert other.core.shape[1] == BLOCK.core.shape[1]
    staging.write(BLOCK, planes, COUNTS)
    for suffix in ("tif", "done"):
        data = (staging.folder / f"{BLOCK.name}.{suffix}").read_bytes()
        (staging.folder / f"{other.name}.{suffix}").write_bytes(data)
    assert staging.counts(other) is None
    assert staging.finished(GRID) == {(1, 1): COUNTS}


@pytest.mark.parametrize("failing", ["tif", "done"])
@pytest.mark.parametrize("kind", [KeyboardInterrupt, SystemExit])
def test_a_process_that_ends_while_it_writes_leaves_nothing_that_counts(
    staging, planes, monkeypatch, failing, kind
):
    true_replace = Path.replace

    def end(self, target):
        if Path(target).suffix == f".{failing}":
            raise kind
        return true_replace(self, target)

    monkeypatch.setattr(Path, "replace", end)
    with pytest.raises(kind):
        staging.write(BLOCK, planes, COUNTS)
    assert staging.counts(BLOCK) is None
    left = {p.name for p in staging.folder.iterdir()}
    assert left == (set() if failing == "tif" else {f"{BLOCK.name}.tif"})
    monkeypatch.undo()
    staging.write(BLOCK, planes, COUNTS)
    assert staging.counts(BLOCK) == COUNTS


def test_an_interrupted_rewrite_keeps_the_finished_block(staging, planes, monkeypatch):
    staging.write(BLOCK, planes, COUNTS)

    def end(_):
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", end)
    with pytest.raises(KeyboardInterrupt):
        staging.write(BLOCK, 255 - planes, {"tiles": 0})
    assert staging.counts(BLOCK) == COUNTS


def test_a_full_disk_is_told(staging, planes, monkeypatch):
    def full(_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(
        OutputError, match=r"block_00001_00001\.tif: cannot be written: No space left.*make room"
    ):
        staging.write(BLOCK, planes, COUNTS)
    assert list(staging.folder.iterdir()) == []
    assert staging.counts(BLOCK) is None


def test_a_scene_without_crs_can_be_staged(staging, planes):
    bare = replace(staging, crs=None)
    bare.write(BLOCK, planes, COUNTS)
    with rasterio.open(bare.path(BLOCK)) as src:
        assert src.crs is None
        assert (src.read() == planes).all()


def test_a_crs_of_any_library_becomes_wkt():
    assert crs_wkt(None) is None
    for crs in (CRS("EPSG:32633"), rasterio.crs.CRS.from_epsg(32633), pyproj.CRS(32633), "EPSG:32633"):
        assert rasterio.crs.CRS.from_wkt(crs_wkt(crs)).to_epsg() == 32633
