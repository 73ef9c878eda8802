"""TorchGeo: RasterDataset, GridGeoSampler and DataLoader, and the stitch, which it leaves to its users.

The documentation of GridGeoSampler (torchgeo.readthedocs.io, "torchgeo.samplers", 0.8) asks for a stride
"slightly smaller than the chip size" against stitching artefacts. Our stitch keeps the middle of each chip,
which needs no sums; chips at the scene's border keep their outer part. Reading in the main process: with two
cores another process would take the network's time.
"""

import numpy as np
import rasterio
import torch
from common import NODATA, Task
from torch.utils.data import DataLoader
from torchgeo.datasets import RasterDataset, stack_samples
from torchgeo.samplers import GridGeoSampler

task = Task()
tile, overlap, network = task.tile, task.overlap, task.network()
cut = overlap // 2
with rasterio.open(task.scene) as src:
    height, width, bounds, gsd, profile = src.height, src.width, src.bounds, src.res[0], task.profile(src)


class Scene(RasterDataset):
    """The one file."""

    filename_glob = task.scene.name


def prepared(sample: dict) -> dict:
    """Normalise a chip; beyond the scene, where TorchGeo fills in zeros, it is invalid."""
    x, sample["valid"] = task.normalised(sample["image"].numpy())
    sample["image"] = torch.from_numpy(x)
    return sample


dataset = Scene(task.scene.parent, transforms=prepared)
sampler = GridGeoSampler(dataset, size=tile, stride=tile - overlap)
loader = DataLoader(dataset, batch_size=task.batch, sampler=sampler, collate_fn=stack_samples)
classes = np.full((height, width), NODATA, np.uint8)
rows, cols = set(), set()
with torch.inference_mode():
    for batch in loader:
        for query, logits, valid in zip(
            batch["bounds"], network(batch["image"]), batch["valid"], strict=True
        ):
            row, col = round((bounds.top - query[1].stop) / gsd), round((query[0].start - bounds.left) / gsd)
            rows.add(row)
            cols.add(col)
            top, left = (0 if i <= 0 else i + cut for i in (row, col))
            bottom, right = (n if i + tile >= n else i + tile - cut for i, n in ((row, height), (col, width)))
            part = slice(top - row, bottom - row), slice(left - col, right - col)
            classes[top:bottom, left:right] = task.classes(logits[:, *part], valid[part])
with rasterio.open(task.output, "w", **profile) as dst:
    dst.write(classes, 1)
setting = (
    f"GridGeoSampler: size {tile}, stride {tile - overlap}, batch {task.batch}; middle of each chip kept"
)
task.finish("torchgeo", setting, sorted(rows), sorted(cols), tile)
