"""What is read over the network: as little as the windows need, counted, and never of two versions."""

import numpy as np
import pytest
import rasterio

from geoseg.config.scene import SceneEntry
from geoseg.core.geometry import Window
from geoseg.scenes import network, remote
from geoseg.scenes.opening import open_scene
from tests.conftest import write_raster
from tests.inference.flaky import serve

SIDE = 512


def write_band(path, seed, **options):
    values = np.random.default_rng(seed).integers(1, 60_000, (SIDE, SIDE)).astype("uint16")
    write_raster(path, values, tiled=True, blockxsize=128, blockysize=128, compress="deflate", **options)
    return values


def bytes_of_internal_tiles(path):
    with rasterio.open(path) as src:
        return sum(
            int(src.get_tag_item(f"BLOCK_SIZE_{x}_{y}", "TIFF", bidx=1))
            for x in range(SIDE // 128)
            for y in range(SIDE // 128)
        )


def opened(url, *names):
    entry = {"bands": {name: f"{url}/{name}.tif" for name in names}}
    return open_scene(SceneEntry.model_validate(entry), "s", None, names)


@pytest.mark.skipif(not network.can_forget(), reason="this rasterio does not give GDAL's library away")
def test_a_remote_scene_is_downloaded_once(tmp_path):
    values = {
        name: write_band(tmp_path / f"{name}.tif", i) for i, name in enumerate(("red", "nir", "swir16"))
    }
    needed = sum(bytes_of_internal_tiles(tmp_path / f"{name}.tif") for name in values)
    with serve(tmp_path) as url:
        network.take()
        scene = opened(url, *values)
        scene.sample()
        whole = scene.read(Window.of(0, 0, SIDE, SIDE))
        part = scene.read(Window.of(100, 200, 150, 90))
        traffic = network.take()
    np.testing.assert_array_equal(whole.values, np.stack(list(values.values())))
    np.testing.assert_array_equal(part.values, whole.values[:, 100:250, 200:290])
    assert needed <= traffic.bytes <= 1.1 * needed
    # For each file its version, its size, its header and its pixels.
    assert traffic.requests <= 6 * len(values)
    assert network.take() == network.Traffic()


def test_a_file_that_changed_is_never_mixed_with_what_is_kept_of_it(tmp_path, monkeypatch):
    monkeypatch.setattr(remote, "_STALE", 1e-9)
    whole = Window.of(0, 0, SIDE, SIDE)
    with serve(tmp_path) as url:
        for seed in range(3):
            values = write_band(tmp_path / "red.tif", seed, nodata=seed)
            np.testing.assert_array_equal(opened(url, "red").read(whole).values[0], values)


def test_a_busy_server_is_asked_again(tmp_path):
    values = write_band(tmp_path / "red.tif", 1)
    with serve(tmp_path) as url:
        for failures in (1, 2):
            (tmp_path / "failures").write_text(str(failures))
            found = opened(url, "red").read(Window.of(0, 0, SIDE, SIDE))
            np.testing.assert_array_equal(found.values[0], values)
