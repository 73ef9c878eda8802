"""Which scenes the checks before a run notice: `python -m tests.benchmarks strangeness --data CHIPS`.

Labelled chips (`images/*.tif`, in the bands of the network by name) are changed as scenes go wrong, each
change with numbers that are stated here, and held to the bundle as a run does. Rows: share of the pixels
that are unlike the training pixels, mean over chips; how many chips are told of, and how many stop a run;
and what a run says of all chips side by side. False alarms are counted over all labelled chips.
"""

import argparse
import json
import tempfile
import warnings
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import rasterio
from scipy.ndimage import gaussian_filter

from geoseg.config.lookup import Shelf, locate
from geoseg.config.scene import SceneEntry
from geoseg.core.errors import GeosegWarning, PlanError
from geoseg.inference.checks import check_statistics
from geoseg.models.bundle import open_bundle
from geoseg.models.card import Card
from geoseg.models.strangeness import count_unlike, gauge_of
from geoseg.scenes.catalog import resolve_scene

SAMPLES = ("sentinel2-sample", "landsat8-sample")
CLOUD = np.array([0.50, 0.50, 0.50, 0.55, 0.40, 0.30])[:, None, None]
"""Reflectance of a cloud in blue, green, red, near and both short-wave infrareds."""
SNOW = np.array([0.90, 0.90, 0.88, 0.80, 0.10, 0.08])[:, None, None]
HAZE = np.array([0.04, 0.03, 0.02, 0.01, 0.0, 0.0])[:, None, None]

Change = Callable[[np.ndarray, np.random.Generator, Card], np.ndarray]


def noise(sd: float) -> Change:
    return lambda x, rng, _: x + rng.normal(0, sd, x.shape)


def pure_noise(x: np.ndarray, rng: np.random.Generator, card: Card) -> np.ndarray:
    mean, std = (np.array([getattr(b, k) for b in card.bands])[:, None, None] for k in ("mean", "std"))
    return mean + std * rng.normal(size=x.shape)


def constant(x: np.ndarray, _: np.random.Generator, card: Card) -> np.ndarray:
    return np.broadcast_to(np.array([b.mean for b in card.bands])[:, None, None], x.shape)


def covered(cover: np.ndarray, share: float) -> Change:
    """Lay something that hides four fifths of the ground over a share of the chip, in blots."""

    def change(x: np.ndarray, rng: np.random.Generator, _: Card) -> np.ndarray:
        blots = gaussian_filter(rng.normal(size=x.shape[1:]), 8)
        there = blots >= np.quantile(blots, 1 - share)
        return np.where(there, 0.2 * x + 0.8 * cover, x)

    return change


def order(*bands: int) -> Change:
    return lambda x, *_: x[list(bands)]


def times(factor: float) -> Change:
    return lambda x, *_: x * factor


CHANGES: dict[str, Change] = {
    "as they are": lambda x, *_: x,
    "noise, sd 0.03": noise(0.03),
    "noise, sd 0.01": noise(0.01),
    "noise alone, same mean and spread": pure_noise,
    "red and NIR swapped": order(0, 1, 3, 2, 4, 5),
    "blue and red swapped": order(2, 1, 0, 3, 4, 5),
    "bands in reverse order": order(5, 4, 3, 2, 1, 0),
    "one value everywhere": constant,
    "cloud over all": covered(CLOUD, 1.0),
    "cloud over 40 %": covered(CLOUD, 0.4),
    "snow over all": covered(SNOW, 1.0),
    "reflectance x 3": times(3.0),
    "reflectance x 2": times(2.0),
    "low sun, x 0.6": times(0.6),
    "low sun, x 0.3": times(0.3),
    "haze": lambda x, *_: 0.9 * x + HAZE,
}


def verdict(numbers: np.ndarray, card: Card, folder: Path) -> str:
    """Return what a run says of reflectance times 10000, shape (bands, rows, cols): `stop`, `told` or -."""
    path, names = folder / "scene.tif", [b.common_name for b in card.bands]
    size = {"height": numbers.shape[1], "width": numbers.shape[2], "count": len(numbers)}
    with rasterio.open(path, "w", driver="GTiff", dtype="int16", **size) as dst:
        dst.write(numbers)
        dst.descriptions = names
    scene = resolve_scene(SceneEntry(uri=str(path), scale=1e-4), "scene", names)
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        try:
            check_statistics(scene, card, "error")
        except PlanError:
            return "stop"
    return "told" if any(issubclass(w.category, GeosegWarning) for w in said) else "-"


def row(title: str, chips: dict[str, np.ndarray], change: Change, card: Card, folder: Path) -> str:
    """Return a row of the table."""
    gauge = gauge_of(card)
    assert gauge is not None
    changed = [
        np.rint(change(chip, np.random.default_rng(int(name)), card) * 10_000).clip(-32_768, 32_767)
        for name, chip in chips.items()
    ]
    numbers = [c.astype(np.int16) for c in changed]
    found = [count_unlike(gauge.levels(n * 1e-4)) for n in numbers]
    unlike = 100 * np.mean([f["unlike"] / f["measured"] for f in found])
    said = Counter(verdict(n, card, folder) for n in numbers)
    side = int(np.sqrt(len(numbers)))
    lines = [np.concatenate(numbers[i * side : (i + 1) * side], axis=2) for i in range(side)]
    whole = verdict(np.concatenate(lines, axis=1), card, folder)
    return f"| {title} | {unlike:.1f} % | {said['told']} | {said['stop']} | {whole} |"


def read_chips(folder: Path, card: Card) -> dict[str, np.ndarray]:
    chips = {}
    for path in sorted(folder.glob("images/*.tif")):
        with rasterio.open(path) as src:
            names = [
                (d or "").replace("swir1", "swir16").replace("swir2", "swir22") for d in src.descriptions
            ]
            bands = [names.index(b.common_name) + 1 for b in card.bands]
            chips[path.stem] = src.read(bands) * 1e-4
    return chips


def main() -> None:
    parser = argparse.ArgumentParser(description="Which scenes the checks before a run notice")
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--model", default="landcover-s2")
    parser.add_argument("--parts", default="landcover-s2.parts.json", help="which chips train had")
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    card, chips = open_bundle(options.model).card, read_chips(options.data, open_bundle(options.model).card)
    parts = json.loads(Path(locate(Shelf.TRAININGS, options.parts)).read_text())
    hidden = {name: chips[name] for name in parts["test"]}
    print(f"| {len(hidden)} chips of test | unlike pixels | told | stop | as one scene |\n{5 * '| --- '}|")
    with tempfile.TemporaryDirectory() as folder:
        for title, change in CHANGES.items():
            print(row(title, hidden, change, card, Path(folder)), flush=True)
        print(row(f"all {len(chips)} labelled chips", chips, CHANGES["as they are"], card, Path(folder)))
    gauge = gauge_of(card)
    for name in SAMPLES if gauge is not None else ():
        scene = resolve_scene(name, name, [b.common_name for b in card.bands])
        pixels = scene.valid_sample()
        found = count_unlike(gauge.levels(pixels.values, pixels.valid, scene.gain, scene.bias))
        with warnings.catch_warnings(record=True) as said:
            warnings.simplefilter("always")
            check_statistics(scene, card, "error")
        told = "told" if any(issubclass(w.category, GeosegWarning) for w in said) else "-"
        print(f"| {name} | {100 * found['unlike'] / found['measured']:.1f} % | | | {told} |")
