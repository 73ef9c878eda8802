"""TerraTorch's tiled_inference over the whole scene in memory.

Settings from its guide (ibm.github.io/terratorch, "Inference", 1.2): crop and stride are free; delta 8,
cosine blending, averaging and reflected padding are its defaults. Neighbouring crops of 512 px share 128 px,
of which delta takes 16.
"""

import rasterio
import torch
from common import Task
from terratorch.tasks.tiled_inference import tiled_inference

DELTA = 8
task = Task()
tile, stride, network = task.tile, task.tile - task.overlap, task.network()
with rasterio.open(task.scene) as src:
    x, valid = task.normalised(src.read())
    profile = task.profile(src)
with torch.inference_mode():
    logits = tiled_inference(
        network, torch.from_numpy(x)[None], crop=tile, stride=stride, delta=DELTA, batch_size=task.batch
    )
with rasterio.open(task.output, "w", **profile) as dst:
    dst.write(task.classes(logits[0], valid), 1)


def starts(length: int) -> list[int]:
    """Return where tiles start: the last one is shifted back to the border of the padded scene."""
    padded = length + 2 * DELTA
    return [*(i - DELTA for i in range(0, padded - tile - 1, stride)), padded - tile - DELTA]


setting = f"tiled_inference: crop {tile}, stride {stride}, delta {DELTA}, batch {task.batch}"
task.finish("terratorch", setting, *map(starts, valid.shape), tile)
