"""Photographs made on the spot: a street under a sky, with houses and cars."""

import numpy as np
import torch
from PIL import Image

from geoseg.config.legend import LegendDocument
from geoseg.models.bundle import save_bundle
from geoseg.models.card import Card
from geoseg.models.networks.architectures import build

COLORS = {"sky": "#4682b4", "road": "#804080", "house": "#464646", "car": "#00008e"}

LEGEND = LegendDocument.model_validate(
    {
        "classes": [
            {"id": i, "slug": slug, "title": slug.capitalize(), "color": color}
            for i, (slug, color) in enumerate(COLORS.items())
        ],
        "ignore": [255],
    }
)

_SEEN = np.array([[150, 190, 230], [110, 105, 100], [170, 110, 90], [60, 70, 160]])


def street(seed, shape=(96, 128)):
    """A picture (rows, cols, 3) and its classes (rows, cols), both uint8."""
    rng = np.random.default_rng(seed)
    rows, cols = shape
    classes = np.zeros(shape, np.uint8)
    horizon = int(rows * rng.uniform(0.4, 0.6))
    classes[horizon:] = 1
    for kind, count, side in ((2, 4, 0.35), (3, 3, 0.18)):
        for _ in range(count):
            height, width = (max(3, int(n * side * rng.uniform(0.6, 1.2))) for n in shape)
            left = int(rng.integers(-width // 2, cols - width // 2))
            bottom = horizon + (0 if kind == 2 else int(rng.integers(height // 2, rows - horizon)))
            classes[max(0, bottom - height) : bottom, max(0, left) : left + width] = kind
    tint = rng.uniform(0.8, 1.2, 3)
    light = np.linspace(0.85, 1.15, cols)[None, :, None]
    picture = _SEEN[classes] * tint * light + rng.normal(0, 14, (*shape, 3))
    return picture.clip(0, 255).astype(np.uint8), classes


def palette_mask(classes):
    """A mask as an image of mode P in the colours of the legend."""
    mask = Image.fromarray(classes, mode="P")
    colors = [v for c in COLORS.values() for v in bytes.fromhex(c[1:])]
    mask.putpalette(colors + [224] * (768 - len(colors)))
    return mask


def write_streets(folder, parts, shape=(96, 128)):
    """Write `PART/NAME.png` and `PARTannot/NAME.png`, as CamVid is laid out; `parts` has counts."""
    seed = 0
    for part, count in parts.items():
        for kind in (part, f"{part}annot"):
            (folder / kind).mkdir(parents=True, exist_ok=True)
        for _ in range(count):
            picture, classes = street(seed, shape)
            Image.fromarray(picture).save(folder / part / f"street{seed:03d}.png")
            Image.fromarray(classes).save(folder / f"{part}annot" / f"street{seed:03d}.png")
            seed += 1
    return folder


def photo_bundle(folder, **card_changes):
    """Write a bundle for photographs with a small network and random weights: tiles of 32 px."""
    torch.manual_seed(0)
    arguments = {"encoder_name": "tu-tf_efficientnet_lite0", "encoder_depth": 3}
    network = build(
        {"_model_class": "Unet", "in_channels": 3, "classes": 4, "decoder_channels": (16, 8, 8), **arguments}
    )
    last = [m for m in network.modules() if isinstance(m, torch.nn.Conv2d)][-1]
    with torch.no_grad():
        # All classes occur, as in `tests.conftest.make_bundle`.
        last.weight.mul_(25.0)
        last.bias.sub_(network.eval()(torch.randn(2, 3, 64, 64)).mean(dim=(0, 2, 3)))
    fields = {
        "name": "streets", "version": "1", "title": "Streets", "gsd_m": None,
        "bands": [
            {"name": n, "common_name": n, "mean": 120, "std": 60} for n in ("red", "green", "blue")
        ],
        "tile": {"size": 32, "min": 32, "max": 32, "overlap": 8, "divisor": 8},
        "classes": [c.model_dump(exclude={"codes"}) for c in LEGEND.classes],
        "memory_bytes_per_pixel": 400.0,
        "weights_sha256": "0" * 64,
    }  # fmt: skip
    return save_bundle(network, Card.model_validate({**fields, **card_changes}), folder)
