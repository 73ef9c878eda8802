"""A plain streaming loop, as one writes it by hand: read a window, normalise, network, argmax, write.

No overlap, nothing blended: the least that any tool has to do.
"""

import rasterio
import torch
from common import Task
from rasterio.windows import Window

task = Task()
network, tile = task.network(), task.tile
with (
    torch.inference_mode(),
    rasterio.open(task.scene) as src,
    rasterio.open(task.output, "w", **task.profile(src)) as dst,
):
    rows, cols = list(range(0, src.height, tile)), list(range(0, src.width, tile))
    for row in rows:
        for col in cols:
            window = Window(col, row, min(tile, src.width - col), min(tile, src.height - row))
            x, valid = task.normalised(src.read(window=window))
            dst.write(task.classes(network(torch.from_numpy(x)[None])[0], valid), 1, window=window)
task.finish("rasterio", f"windows of {tile} px, no overlap", rows, cols, tile)
