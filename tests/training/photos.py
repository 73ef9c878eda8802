"""Photographs made on the spot: a street under a sky, with houses and cars."""

import numpy as np
from PIL import Image

from geoseg.config.legend import LegendDocument

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
