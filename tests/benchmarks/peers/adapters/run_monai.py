"""MONAI's SlidingWindowInferer over the whole scene in memory.

Settings from the class's documentation (docs.monai.io, "Inference methods", 1.6): overlap 0.25 is its
default, mode "gaussian" gives less weight to the edges of windows, `cache_roi_weight_map` saves computing
that weight again. On a CPU the batch makes no difference to speed (1, 2, 4, 8 windows of 512 px, measured).
"""

import rasterio
import torch
from common import Task, shifted_starts
from monai.inferers import SlidingWindowInferer

task = Task()
tile, network = task.tile, task.network()
inferer = SlidingWindowInferer(
    roi_size=(tile, tile),
    sw_batch_size=task.batch,
    overlap=task.overlap / tile,
    mode="gaussian",
    cache_roi_weight_map=True,
)
with rasterio.open(task.scene) as src:
    x, valid = task.normalised(src.read())
    profile = task.profile(src)
with torch.inference_mode():
    logits = inferer(torch.from_numpy(x)[None], network)
with rasterio.open(task.output, "w", **profile) as dst:
    dst.write(task.classes(logits[0], valid), 1)
rows, cols = (shifted_starts(n, tile, int(tile * (1 - task.overlap / tile))) for n in valid.shape)
setting = f"SlidingWindowInferer: {tile} px, overlap {task.overlap / tile:.4g}, gaussian, batch {task.batch}"
task.finish("monai", setting, rows, cols, tile)
