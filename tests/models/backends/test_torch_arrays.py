"""Sums on a device of torch, here the CPU: the same bytes as in this process's memory."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from geoseg.core.errors import DeviceMemoryError
from geoseg.core.files import sha256
from geoseg.models.backends import torch_segmenter
from geoseg.models.backends.torch_arrays import TorchArrays
from geoseg.models.backends.torch_segmenter import TorchSegmenter
from geoseg.runs.prepare import prepare
from geoseg.runs.run import run
from geoseg.tiling.arrays import HOST, all_of
from geoseg.tiling.blocks import BlockGrid
from geoseg.tiling.grid import TileAxis, TileGrid
from geoseg.tiling.mosaic import Mosaic

DEVICE = TorchArrays(torch.device("cpu"))


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 5), st.integers(3, 20), st.integers(10, 60), st.integers(1, 3), st.booleans())
def test_a_block_has_the_same_sums_planes_strips_and_fringes(channels, half, length, size, every):
    rng = np.random.default_rng((channels, half, length))
    tile, overlap = 2 * half, 2 * (half // 2)
    grid = TileGrid(TileAxis(length, tile, overlap), TileAxis(length + 7, tile, overlap))
    blocks = list(BlockGrid.of(grid, size))
    block = blocks[rng.integers(len(blocks))]
    ids = rng.permutation(255)[:channels].astype(np.uint8)
    host, device = (Mosaic(grid, block, ids, every=every, arrays=a) for a in (HOST, DEVICE))
    for window in block.tiles:
        raw = rng.random((channels, *grid.tile_shape), dtype=np.float32)
        probabilities = raw / raw.sum(axis=0)
        host.add(window, probabilities)
        device.add(window, DEVICE.put(probabilities))
    there, here = device.parts(), host.parts()
    np.testing.assert_array_equal(there.planes, here.planes)
    for name in ("north", "west"):
        np.testing.assert_array_equal(getattr(there.strips, name), getattr(here.strips, name))
    for name in ("east", "south", "southeast"):
        mine, other = getattr(there.fringe, name), getattr(here.fringe, name)
        assert (mine is None) == (other is None)
        if mine is not None:
            assert mine.dtype == np.int32
            np.testing.assert_array_equal(mine, other)


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 6), st.integers(0, 10**6))
def test_of_equal_sums_the_first_wins_on_both(channels, seed):
    rng = np.random.default_rng(seed)
    sums = rng.integers(0, 3, (channels, 5, 6)).astype(np.int32) * 2**29
    ids = np.arange(10, 10 + channels, dtype=np.uint8)
    np.testing.assert_array_equal(
        DEVICE.decide(torch.from_numpy(sums), all_of(sums), ids, every=True),
        HOST.decide(sums, all_of(sums), ids, every=True),
    )


@pytest.mark.parametrize(
    "dtype", ["uint8", "int16", "uint16", "int32", "uint32", "float32", "float64", "bool"]
)
@pytest.mark.parametrize("count", [1, 3])
def test_tiles_of_any_type_are_cut_out_and_stacked(dtype, count):
    values = np.random.default_rng(0).integers(0, 2, (2, 9, 9)).astype(dtype)
    windows = [np.s_[:, i : i + 4, 2:6] for i in range(min(count, 2))]
    found = DEVICE.get(DEVICE.stack([DEVICE.put(values)[w] for w in windows], count))
    assert found.dtype == values.dtype
    np.testing.assert_array_equal(found, HOST.stack([values[w] for w in windows], count))


def test_what_comes_back_is_a_copy():
    sums = torch.zeros((1, 2, 2), dtype=torch.int32)
    copied = DEVICE.get(sums)
    sums += 1
    assert copied.max() == 0


@pytest.mark.usefixtures("without_pictures")
@pytest.mark.parametrize(
    "settings", [[], ["inference.batch=3", "tiling.block=2"], ["outputs.probabilities=true"]]
)
@pytest.mark.parametrize("most", [99, 1])
def test_a_run_gives_the_same_bytes_with_sums_on_the_device(
    pipeline_file, tmp_path, monkeypatch, settings, most
):
    forward, found, added = TorchSegmenter._forward, {}, []

    def small(self, x):
        if len(x) > most:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return forward(self, x)

    class Counted(TorchArrays):
        def add(self, *arguments):
            added.append(arguments)
            super().add(*arguments)

    monkeypatch.setattr(TorchSegmenter, "_forward", small)
    for name in ("host", "device"):
        if name == "device":
            monkeypatch.setattr(torch_segmenter, "arrays_for", Counted)
        changes = ["inference.backend=torch", "outputs.polygons=[]", *settings]
        plan = prepare(pipeline_file, changes, tmp_path / name)
        monkeypatch.setattr("geoseg.models.backends.load._loaded", {})
        monkeypatch.setattr("geoseg.inference.backoff._batch_sizes", {})
        run(plan)
        assert bool(added) == (name == "device")
        found[name] = {f.name: sha256(f) for f in (tmp_path / name).glob("*.tif")}
    assert len(found["host"]) >= 2
    assert found["device"] == found["host"]


def test_a_block_without_room_on_the_device_is_said_in_one_line(monkeypatch):
    def full(*_args, **_kwargs):
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(torch, "zeros", full)
    with pytest.raises(DeviceMemoryError, match=r"pixels or sums of \(3, 8, 8\); .*tiling.tile=256"):
        DEVICE.zeros((3, 8, 8))
