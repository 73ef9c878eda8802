"""Five places with labels and a network of a few weights: several trainings in seconds."""

import textwrap

import torch
from torch import nn

from tests.training.test_train import LEGEND
from tests.training.worlds import labelled_scene

PLACES = 5


class Tiny(nn.Module):
    """Two convolutions with a batch norm between them."""

    def __init__(self, in_channels, classes):
        super().__init__()
        self.first, self.norm = nn.Conv2d(in_channels, 8, 3, padding=1), nn.BatchNorm2d(8)
        self.last = nn.Conv2d(8, classes, 1)

    def forward(self, x):
        return self.last(torch.relu(self.norm(self.first(x))))


def write_places(folder, size=(64, 64)):
    """Write the scenes and their labels."""
    for i in range(PLACES):
        labelled_scene(folder, f"s{i}", size, seed=i, origin=(5e5 + 5000 * i, 4.5e6), keep=False)
    return folder


def document(folder, data, *more, split="{by: place, folds: 3, val: 0.2, tries: 50}", legend=LEGEND):
    """Write a training file."""
    listed = "\n".join(f"    - {{scene: s{i}.tif, labels: s{i}_labels.tif}}" for i in range(PLACES))
    text = f"""\
name: toy
dataset:
  kind: scenes
  folder: {data}
  scenes:
{listed}
split: {split}
chips: {{size: 32, per_epoch: 8}}
network: {{architecture: "tests.training.repeats.worlds:Tiny"}}
optimizer: {{rate: 0.02}}
fit: {{epochs: 1, batch: 4, device: cpu}}
output: {folder / "out"}
"""
    path = folder / "training.yaml"
    path.write_text(text + textwrap.dedent(legend) + "\n".join(more) + "\n")
    return path
