"""geoai's predict_geotiff: a network and a file in, a class map out.

Its API page (opengeoai.org, "inference", 0.40) has blend_mode "spline" and a batch of 4 as defaults, and
tiles of 256 px that share 64; larger tiles with the same share cost as much and differ less, so it gets those
of the others. It hands no mask to the function that makes classes of sums: nodata is not carried over.
"""

import numpy as np
import torch
from common import NODATA, Task, shifted_starts
from geoai.inference import predict_geotiff

task = Task()
tile, network = task.tile, task.network()
shape: list[int] = []


def to_classes(sums: np.ndarray) -> np.ndarray:
    """Return class ids of blended logits."""
    shape[:] = sums.shape[1:]
    return task.classes(torch.from_numpy(sums))


predict_geotiff(
    network, str(task.scene), str(task.output), tile_size=tile, overlap=task.overlap, batch_size=task.batch,
    num_classes=len(task.ids), output_dtype="uint8", output_nodata=NODATA, blend_mode="spline", device="cpu",
    preprocess_fn=lambda numbers: task.normalised(numbers)[0], postprocess_fn=to_classes,
    compress="deflate", verbose=False,
)  # fmt: skip
rows, cols = (shifted_starts(n, tile, tile - task.overlap) for n in shape)
setting = f"predict_geotiff: {tile} px, overlap {task.overlap}, spline, batch {task.batch}"
task.finish("geoai-py", setting, rows, cols, tile)
