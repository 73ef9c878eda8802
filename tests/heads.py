"""Small bundles of a regression and of labels, with random weights."""

import torch

from geoseg.models.bundle import save_bundle
from geoseg.models.card import Card
from geoseg.models.networks.architectures import build
from tests.conftest import BAND_NAMES

TARGET = {
    "name": "canopy_height", "title": "Canopy height", "unit": "m", "min": 0, "max": 40, "mean": 12.0,
    "std": 8.0,
}  # fmt: skip

LABELS = [
    {"id": 1, "slug": "tree", "title": "Tree", "color": "#1b7837"},
    {"id": 2, "slug": "road", "title": "Road", "color": "#b8a99a"},
    {"id": 3, "slug": "shadow", "title": "Shadow", "color": "#333333"},
]


def head_bundle(folder, channels, seed=0, **fields):
    """Write a bundle with a small network of some channels: 4 bands, tiles of 64 to 512 px, 10 m."""
    torch.manual_seed(seed)
    lite = {"encoder_name": "tu-tf_efficientnet_lite0", "encoder_depth": 3, "decoder_channels": (16, 8, 8)}
    network = build({"_model_class": "Unet", "in_channels": 4, "classes": channels, **lite})
    last = [m for m in network.modules() if isinstance(m, torch.nn.Conv2d)][-1]
    with torch.no_grad():
        # Answers of mean 0 and standard deviation 1: random weights would give one number everywhere.
        answers = network.eval()(torch.randn(2, 4, 128, 128)).transpose(0, 1).flatten(1)
        last.weight.div_(answers.std(1)[:, None, None, None])
        last.bias.sub_(answers.mean(1)).div_(answers.std(1))
    bands = [{"name": n, "common_name": n, "mean": 0.22, "std": 0.1} for n in BAND_NAMES]
    card = Card.model_validate(
        {
            "name": "toy",
            "version": "1",
            "title": "Toy",
            "bands": bands,
            "gsd_m": {"min": 10, "max": 10},
            "tile": {"size": 128, "min": 64, "max": 512, "overlap": 32, "divisor": 32},
            "memory_bytes_per_pixel": 400.0,
            "weights_sha256": "0" * 64,
            **fields,
        }
    )
    return save_bundle(network, card, folder)


def regression_bundle(folder, covariance=None, strangeness=None, **target):
    """Write a bundle of canopy heights from 0 to 40 m."""
    more = {"covariance": covariance, "strangeness": strangeness}
    return head_bundle(folder, 1, task="regression", output="values", target={**TARGET, **target}, **more)


def label_bundle(folder, **fields):
    """Write a bundle of three labels."""
    chosen = {"thresholds": {"road": 0.7}, **fields}
    return head_bundle(folder, 3, task="multilabel", output="sigmoid", classes=LABELS, **chosen)
