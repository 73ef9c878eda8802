"""The scene of the comparison, a COG, and what one pass over the whole image says of it.

The Sentinel-2 sample, its six bands at 10 m with haze taken off, is continued by mirroring without end: no
jumps. The scene is cut out of that plane away from the mirror axes, so that what lies beyond its border is
known to us and to no tool. The reference sees it: it is a pass over a larger image, in windows whose context
is wider than the network can look.
"""

import json
from functools import cache
from pathlib import Path

import numpy as np
import rasterio
import rasterio.shutil
import torch
from affine import Affine
from numpy.typing import NDArray

from geoseg.core.geometry import Window
from geoseg.models.bundle import open_bundle
from geoseg.scenes.catalog import resolve_scene
from tests.conftest import ROOT

BUNDLE = ROOT / "configs/models/landcover-s2"
SCALE = 0.0001
ORIGIN = 160, 160
"""Row and column of the mirrored plane where scenes begin: 2048 px a side show nearly all of the sample, land
and sea, and 8192 px show it four times each way."""
CORE, CONTEXT = 2048, 448
"""Pixels of a window of the reference, and its context on each side: noise beyond it changes no logit by
more than rounding (2e-6, measured)."""


@cache
def sample() -> tuple[NDArray[np.uint16], str, Affine]:
    """Return surface reflectance x 10000 of the sample, shape (bands, rows, cols), its CRS and transform."""
    bands = [b.common_name for b in open_bundle(BUNDLE).card.bands]
    scene = resolve_scene("sentinel2-sample", "sample", bands, catalog=ROOT / "data_catalog.yaml")
    pixels = scene.read(Window.of(0, 0, *scene.shape))
    assert pixels.valid.all()
    physical = pixels.values * scene.gain[:, None, None] + scene.bias[:, None, None]
    numbers = np.rint(physical / SCALE).clip(1, 65535).astype(np.uint16)  # 0 is nodata
    return numbers, scene.geobox.crs.to_wkt(), scene.geobox.transform


def mirrored(start: int, count: int, length: int) -> NDArray[np.int64]:
    """Return where `count` pixels from `start` on, of an axis mirrored without end, lie on its `length`."""
    i = np.arange(start, start + count) % (2 * length)
    return np.minimum(i, 2 * length - 1 - i)


def plane(row: int, col: int, height: int, width: int) -> NDArray[np.uint16]:
    """Return a part of the endless plane, counted from the scene's first pixel."""
    numbers = sample()[0]
    rows = mirrored(ORIGIN[0] + row, height, numbers.shape[1])
    cols = mirrored(ORIGIN[1] + col, width, numbers.shape[2])
    return numbers[:, rows[:, None], cols]


def scene_file(folder: Path, side: int) -> Path:
    """Return the scene of `side` x `side` pixels, made when it is missing."""
    path = folder / f"scene-{side}" / "scene.tif"
    if path.exists():
        return path
    path.parent.mkdir(parents=True, exist_ok=True)
    _, crs, transform = sample()
    plain = path.with_suffix(".plain.tif")
    profile = {
        "driver": "GTiff", "count": 6, "dtype": "uint16", "width": side, "height": side, "crs": crs,
        "transform": transform, "nodata": 0, "tiled": True, "blockxsize": 512, "blockysize": 512,
        "interleave": "pixel", "bigtiff": "if_safer",
    }  # fmt: skip
    with rasterio.open(plain, "w", **profile) as dst:
        for row in range(0, side, 512):
            height = min(512, side - row)
            dst.write(plane(row, 0, height, side), window=((row, row + height), (0, side)))
        dst.descriptions = tuple(b.common_name for b in open_bundle(BUNDLE).card.bands)
    made = path.with_suffix(".making.tif")
    rasterio.shutil.copy(
        str(plain), str(made), driver="COG", compress="DEFLATE", predictor="YES", blocksize=512,
        num_threads="ALL_CPUS", bigtiff="IF_SAFER",
    )  # fmt: skip
    plain.unlink()
    return made.replace(path)


def pipeline_file(scene: Path) -> Path:
    """Write geoseg's pipeline over a scene: classes only, like the peers."""
    names = [b.common_name for b in open_bundle(BUNDLE).card.bands]
    bands = {name: number for number, name in enumerate(names, start=1)}
    entry = {"uri": str(scene), "bands": bands, "scale": SCALE, "offset": 0, "nodata": 0}
    # JSON is YAML.
    outputs = {"folder": str(scene.parent / "run"), "polygons": [], "confidence": False}
    document = {"name": "peers", "scene": entry, "model": str(BUNDLE), "outputs": outputs}
    path = scene.with_name("pipeline.yaml")
    path.write_text(json.dumps(document))
    return path


def whole_image(folder: Path, side: int) -> NDArray[np.uint8]:
    """Return the class ids of a pass over the whole image, computed when it is missing."""
    bundle = open_bundle(BUNDLE)
    path = folder / f"scene-{side}" / f"whole-{bundle.sha256[:12]}.npy"
    if not path.exists():
        print(f"the whole image in one pass, {side} px a side, once ...", flush=True)
        whole = np.empty((side, side), np.uint8)
        network = bundle.network().to(memory_format=torch.channels_last)
        for row in range(0, side, CORE):
            for col in range(0, side, CORE):
                height, width = min(CORE, side - row), min(CORE, side - col)
                whole[row : row + height, col : col + width] = _window(network, row, col)[:height, :width]
        making = path.with_suffix(".making.npy")
        np.save(making, whole)
        making.replace(path)
    return np.load(path)


def _window(network: torch.nn.Module, row: int, col: int) -> NDArray[np.uint8]:
    card, size = open_bundle(BUNDLE).card, CORE + 2 * CONTEXT
    mean, std = (np.array([getattr(b, key) for b in card.bands], np.float32) for key in ("mean", "std"))
    x = plane(row - CONTEXT, col - CONTEXT, size, size).astype(np.float32)
    x *= (SCALE / std)[:, None, None]
    x -= (mean / std)[:, None, None]
    with torch.inference_mode():
        logits = network(torch.from_numpy(x)[None].contiguous(memory_format=torch.channels_last))[0]
        core = logits[:, CONTEXT:-CONTEXT, CONTEXT:-CONTEXT].max(dim=0).indices.numpy()
    return card.legend.ids[core]
