"""NRCan's geo-inference: a TorchScript network and a file in, a class map out.

Its page (pypi.org/project/geo-inference, 3.2) has patch_size 1024 as default and overlaps by half a patch,
which cannot be changed; the network takes the file's numbers, so that normalising is part of it. `workers` is
left at its default, one less than there are cores, while torch uses all cores in each pass.
"""

from pathlib import Path

import numpy as np
import rasterio
import torch
from common import NODATA, Task
from geo_inference.geo_inference import GeoInference

PATCH = 1024


class FromNumbers(torch.nn.Module):
    """The network with its normalising before it: numbers (N, B, h, w) to logits."""

    def __init__(self, task: Task) -> None:
        super().__init__()
        self.network = task.network()
        self.register_buffer("factor", torch.from_numpy(task.factor))
        self.register_buffer("shift", torch.from_numpy(task.shift))

    def forward(self, numbers: torch.Tensor) -> torch.Tensor:
        """Run the network."""
        numbers = numbers.to(torch.float32)
        valid = (numbers != 0).all(dim=1, keepdim=True)
        return self.network(torch.where(valid, numbers * self.factor + self.shift, 0.0))


class Counted:
    """The scripted network, which takes no hooks, counting pixels."""

    def __init__(self, network: torch.nn.Module) -> None:
        self.network = network

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        """Run the network."""
        task.count(x)
        return self.network(x)

    def __dask_tokenize__(self) -> str:
        return "network"


task = Task()
script = task.options.work / f"geo-inference-{'free' if task.options.free else task.weights}.pt"
if not script.exists():  # a user has it already
    with torch.no_grad():
        traced = torch.jit.trace(FromNumbers(task), torch.ones(1, len(task.factor), 512, 512))
    traced.save(str(script))
    task.network_pixels = 0
tool = GeoInference(
    model=str(script), work_dir=str(task.output.parent), device="cpu", num_classes=len(task.ids)
)
tool.model = Counted(tool.model)
tool(inference_input=str(task.scene), patch_size=PATCH)
made = Path(task.output.parent) / tool.mask_layer_name
with rasterio.open(made) as src:  # it writes channel numbers
    numbers, profile = src.read(1), task.profile(src)
lookup = np.full(256, NODATA, np.uint8)
lookup[: len(task.ids)] = task.ids
with rasterio.open(task.output, "w", **profile) as dst:
    dst.write(lookup[numbers], 1)
made.unlink()
rows, cols = (list(range(0, -(-n // (PATCH // 2)) * PATCH // 2, PATCH // 2)) for n in numbers.shape)
setting = f"patch_size {PATCH}, overlap {PATCH // 2} (fixed), workers default"
task.finish("geo-inference", setting, rows, cols, PATCH)
