"""Train the `landcover-s2` bundle: a small U-Net on HLS chips labelled with ESA WorldCover, on a CPU.

DIR holds `images/*.tif` (coastal, blue, green, red, nir, swir1, swir2; reflectance x 10000), `labels/*.tif`
(WorldCover codes) and `groups.json` (chip -> group; chips of one group overlap, so the split is by group).
FILE holds timm's `tf_efficientnet_lite0`. `OUT.record.json` says which chip was in which part. The bundle came from two
runs: `--output first --epochs 76`, then `--start first --output landcover-s2 --epochs 8 --seed 1`.
"""

import argparse, copy, hashlib, json, math, time
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
import segmentation_models_pytorch as smp
import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from torch import Tensor

IGNORE, BATCH, KINDS = 255, 16, ("iou", "precision", "recall")
BANDS = [
    ("blue", "blue", 0.490),
    ("green", "green", 0.560),
    ("red", "red", 0.665),
    ("nir", "nir", 0.842),
    ("swir1", "swir16", 1.610),
    ("swir2", "swir22", 2.190),
]
CLASSES = [
    ("tree", "Tree cover", "#1b7837", (10,)),
    ("grass-shrub", "Grass and shrub", "#b8d66b", (20, 30)),
    ("crop", "Cropland", "#f2cf63", (40,)),
    ("built", "Built-up", "#d7301f", (50,)),
    ("bare", "Bare", "#b8a99a", (60,)),
    ("water", "Water", "#2b7bba", (80,)),
]
WAVELENGTHS = torch.tensor([b[2] for b in BANDS])
# What 10 m pixels vary by within 50 m, relative to their mean: by class (the last for unlabelled), and by band
TEXTURE = torch.tensor([0.13, 0.06, 0.05, 0.25, 0.06, 0.15, 0.06])
SHARPNESS = torch.tensor([1.0, 1.0, 1.0, 1.0, 0.4, 0.4])
DESCRIPTION = (
    "Six land-cover classes at 10 to 30 m: a U-Net with an EfficientNet-Lite0 encoder. Input is surface "
    "reflectance, or top-of-atmosphere reflectance after dark-object subtraction."
)
RECIPE = (
    "U-Net, ImageNet encoder, {epochs} epochs; cross-entropy with mild class weights plus Dice; AdamW, cosine; "
    "flips, turns, 1-3x upsampled crops with simulated 10 m texture, blur, brightness, low sun and haze; moving "
    "average of the weights; a second pass at half the rate leaves flooded land out of the upsampled crops; "
    "temperature fitted on the validation chips"
)
LIMITATIONS = [
    "WorldCover is a map product with errors of its own: the figures say agreement with it, not accuracy.",
    "Few chips: built and bare rest on few places; on the validation chips bare is hardly ever found (IoU {bare:.2f}).",
    "Trained and measured at 30 m; 10 m and 20 m were only simulated by upsampling.",
    "No wetland, snow or cloud class: tidal marsh comes out as water, tree or crop; mask clouds and snow beforehand.",
    "Sentinel-2 L1C (top of atmosphere) needs dark-object subtraction first, or haze shifts the classes.",
    "One date: crop and grass are confused, flooded fields and turbid water too; surf and wet sand may be bare.",
    "Not for single buildings, roads, field boundaries or area statistics without a local check.",
]
LICENSE = (
    "CC-BY-4.0. Labels: (c) ESA WorldCover project, contains modified Copernicus Sentinel data processed by the "
    "ESA WorldCover consortium (CC-BY-4.0). Imagery: Harmonized Landsat Sentinel-2, free to use. Encoder "
    "started from ImageNet weights of timm's tf_efficientnet_lite0 (Apache-2.0)."
)


def load_chips(root: Path) -> tuple[list[str], Tensor, Tensor]:
    """Names, reflectance (n, 6, h, w) with NaN where invalid, labels (n, h, w) as channel numbers."""
    names = sorted(json.loads((root / "groups.json").read_text()))
    lookup = np.full(256, IGNORE, np.uint8)
    for channel, (*_, codes) in enumerate(CLASSES):
        lookup[list(codes)] = channel
    chips = np.stack([rasterio.open(root / "images" / f"{name}.tif").read()[1:] for name in names]).astype(
        np.float32
    )
    images, codes = (
        chips * 1e-4,
        np.stack([rasterio.open(root / "labels" / f"{name}.tif").read(1) for name in names]),
    )
    invalid = ((images < -0.05) | (images > 1.6)).any(axis=1)  # fill, and values no surface has
    labels = np.where(invalid, IGNORE, lookup[codes])
    return (
        names,
        torch.from_numpy(np.where(invalid[:, None], np.nan, images)),
        torch.from_numpy(labels).long(),
    )


def split_groups(names: list[str], labels: Tensor, groups: dict[str, int]) -> dict[str, list[int]]:
    """75 / 10 / 15 % of the chips by group: of 3000 draws, the one whose parts have the most alike class shares."""
    rng, best = np.random.default_rng(0), (math.inf, np.zeros(0))
    _, of_chip = np.unique([groups[name] for name in names], return_inverse=True)
    counts = np.stack([(labels == c).sum((1, 2)).numpy() for c in range(len(CLASSES))], axis=1).astype(float)
    for _ in range(3000):
        order = rng.permutation(of_chip.max() + 1)
        filled = np.cumsum(np.bincount(of_chip)[order]) / len(names)
        part = np.digitize(filled, [0.7501, 0.8501], right=True)[np.argsort(order)][of_chip]
        got = np.stack([counts[part == p].sum(0) / counts[part == p].sum() for p in range(3)])
        loss = float(np.abs(np.log((got + 1e-4) / (counts.sum(0) / counts.sum() + 1e-4))).sum())
        best = min(best, (loss, part), key=lambda pair: pair[0])
    return {name: np.flatnonzero(best[1] == p).tolist() for p, name in enumerate(("train", "val", "test"))}


def smooth_noise(size: int, coarse: int) -> Tensor:
    """Zero-mean noise of one band whose grain is about `coarse` pixels."""
    return F.interpolate(
        torch.randn(1, 1, *[math.ceil(size / coarse)] * 2), size=(size, size), mode="bicubic"
    )[0]


def augment(image: Tensor, label: Tensor, rng: np.random.Generator, dry: bool) -> tuple[Tensor, Tensor]:
    """One random crop, turned, upsampled 1-3x, with texture, blur, brightness and haze."""
    size = image.shape[-1]
    scale = rng.uniform(1.5, 3.2) if rng.random() < 0.5 else rng.choice([1.0, rng.uniform(1.0, 1.5)])
    crop = int(round(size / scale))
    y, x, turns, mirror = (
        *rng.integers(0, size - crop + 1, 2),
        int(rng.integers(4)),
        [3] if rng.random() < 0.5 else [],
    )
    both = (
        torch.cat([image, label[None].float()])[None, :, y : y + crop, x : x + crop]
        .rot90(turns, (2, 3))
        .flip(mirror)
    )
    image = F.interpolate(both[:, :-1], size=(size, size), mode="bilinear")[0]
    label = F.interpolate(both[:, -1:], size=(size, size), mode="nearest")[0, 0].long()
    if (
        dry and scale > 1.4
    ):  # too near to tell a flooded field from open water: 15 % of the crop pixels lie under water
        flooded = (image[3] < 0.12) & (image[4] < 0.03) & (image[1] > 1.5 * image[4]) & (label != 5)
        label = label.masked_fill(flooded, IGNORE)
    if rng.random() < 0.2:  # slight blur
        side = torch.tensor([1.0, rng.uniform(1.0, 4.0), 1.0])
        weight = (torch.outer(side, side) / side.sum() ** 2).expand(len(image), 1, 3, 3)
        image = F.conv2d(F.pad(image[None], (1, 1, 1, 1), mode="reflect"), weight, groups=len(image))[0]
    elif scale > 1.4 and rng.random() < 0.6:  # the texture that a finer pixel sees and an upsampled one lacks
        grain = smooth_noise(size, 1 + int(rng.integers(3))) * SHARPNESS[:, None, None]
        image = image * (1 + grain * TEXTURE[label.clamp(max=len(CLASSES))] * rng.uniform(0.2, 1.2)).clamp(
            0.4, 1.8
        )
        image = image + smooth_noise(size, 1) * SHARPNESS[:, None, None] * rng.uniform(
            0.0, 0.008
        )  # waves, noise
    gain = (
        math.exp(rng.uniform(math.log(0.4), 0.0)) if rng.random() < 0.25 else rng.uniform(0.9, 1.1)
    )  # low sun, wet
    image = image * torch.from_numpy(rng.uniform(0.92, 1.08, (len(image), 1, 1))).float() * gain
    haze = rng.uniform(-0.01, 0.03) * (WAVELENGTHS[0] / WAVELENGTHS) ** rng.uniform(1.0, 4.0)
    return image + haze[:, None, None], label


def loss_of(logits: Tensor, target: Tensor, weight: Tensor) -> Tensor:
    """Weighted cross-entropy plus Dice over the whole batch, for the classes present in it."""
    valid = target != IGNORE
    entropy = F.cross_entropy(logits, target, weight=weight, ignore_index=IGNORE, label_smoothing=0.03)
    truth = F.one_hot(target.where(valid, 0), len(CLASSES)).movedim(-1, 1) * valid[:, None]
    guess = logits.softmax(1) * valid[:, None]
    both, total = (truth * guess).sum((0, 2, 3)), (truth + guess).sum((0, 2, 3))
    return entropy + 0.5 * (1 - (2 * both + 1) / (total + 1))[truth.sum((0, 2, 3)) > 0].mean()


@torch.inference_mode()
def predict(model: torch.nn.Module, images: Tensor) -> Tensor:
    """Logits of many chips."""
    return torch.cat(
        [model.eval()(batch.contiguous(memory_format=torch.channels_last)) for batch in images.split(16)]
    )


def scores(guess: Tensor, truth: Tensor) -> dict[str, Any]:
    """Accuracy, mIoU and per-class IoU, precision, recall from one confusion matrix over all pixels."""
    n, valid = len(CLASSES), truth != IGNORE
    matrix = torch.bincount(truth[valid] * n + guess[valid], minlength=n * n).reshape(n, n).double()
    hit, true, said = matrix.diag(), matrix.sum(1), matrix.sum(0)
    per_class = dict(
        zip(KINDS, (hit / (true + said - hit), hit / said.clamp(min=1), hit / true.clamp(min=1)))
    )
    tables = {k: {c[0]: round(float(x), 4) for c, x in zip(CLASSES, v)} for k, v in per_class.items()}
    miou, accuracy = round(float(per_class["iou"].mean()), 4), round(float(hit.sum() / matrix.sum()), 4)
    return {"miou": miou, "overall_accuracy": accuracy, **tables}


def build(encoder_weights: Path) -> torch.nn.Module:
    """A U-Net whose encoder starts from ImageNet; the stem's mean RGB kernel serves every band."""
    model = smp.Unet(
        "tu-tf_efficientnet_lite0",
        encoder_weights=None,
        in_channels=len(BANDS),
        classes=len(CLASSES),
        decoder_channels=(96, 64, 48, 32, 16),
    )  # with these the float32 weights stay under 15 MB
    state = load_file(str(encoder_weights))
    state["conv_stem.weight"] = (
        state["conv_stem.weight"].mean(1, True).repeat(1, len(BANDS), 1, 1) * 3 / len(BANDS)
    )
    model.encoder.load_state_dict({k: state[k.removeprefix("model.")] for k in model.encoder.state_dict()})
    return model


def train(
    model: torch.nn.Module,
    images: Tensor,
    labels: Tensor,
    mean: Tensor,
    std: Tensor,
    args: argparse.Namespace,
) -> tuple[torch.nn.Module, float, int]:
    """The moving average of the weights, the minutes and the epochs."""
    rng = np.random.default_rng(args.seed)
    counts = torch.stack([(labels == c).sum() for c in range(len(CLASSES))]).float()
    weight = counts**-0.35 * (counts.sum() / (counts**0.65).sum())  # a pixel weighs 1 on average
    rates = {model.encoder: 1e-3, model.decoder: 2e-3, model.segmentation_head: 2e-3}
    groups = [{"params": list(m.parameters()), "peak": r / 2 if args.start else r} for m, r in rates.items()]
    optimiser = torch.optim.AdamW(groups, weight_decay=0.02)
    average = copy.deepcopy(model.to(memory_format=torch.channels_last))
    odds = (
        1.0 + torch.stack([(labels == c).float().mean((1, 2)) > 0.02 for c in (3, 4)]).any(0).double().numpy()
    )
    odds /= odds.sum()  # chips with rare classes are drawn twice as often
    started, step, used = time.monotonic(), 0, 0.0
    while used < 1:
        lr = min(1.0, used / 0.08 + 0.02) * (0.5 + 0.5 * math.cos(math.pi * max(0.0, used - 0.08) / 0.92))
        for group in optimiser.param_groups:
            group["lr"] = group["peak"] * lr
        picks = [
            augment(images[i], labels[i], rng, bool(args.start)) for i in rng.choice(len(odds), BATCH, p=odds)
        ]
        x = (
            ((torch.stack([p[0] for p in picks]) - mean) / std)
            .nan_to_num(0.0)
            .to(memory_format=torch.channels_last)
        )
        loss = loss_of(model.train()(x), torch.stack([p[1] for p in picks]), weight)
        optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 5.0)
        optimiser.step()
        step += 1
        for old, new in zip(average.state_dict().values(), model.state_dict().values()):
            if old.is_floating_point():
                old.lerp_(new.detach(), 1 - min(0.995, step / (step + 10)))
        minutes, epochs = (time.monotonic() - started) / 60, step * BATCH / len(images)
        used = epochs / args.epochs
        if step % 100 == 0:
            print(f"epoch {epochs:.1f} loss {loss.item():.3f} minutes {minutes:.1f}", flush=True)
    return average, minutes, round(epochs)


def write_bundle(folder: Path, facts: dict[str, Any]) -> None:
    """The card and the README beside the weights."""
    parts, marks, limits = facts["parts"], facts["metrics"], [line.format(**facts) for line in LIMITATIONS]
    card = {
        "format": "geoseg-bundle/1",
        "name": "landcover-s2",
        "version": "1.0.0",
        "title": "Land cover from six optical bands (Sentinel-2, HLS, Landsat)",
        "description": DESCRIPTION,
        "bands": [
            {
                "name": name,
                "common_name": common,
                "wavelength_um": wavelength,
                "scale": 0.0001,
                "offset": 0.0,
                "nodata": None,
                "mean": round(mean, 6),
                "std": round(std, 6),
            }
            for (name, common, wavelength), mean, std in zip(BANDS, facts["mean"], facts["std"])
        ],
        "gsd_m": {"min": 10.0, "max": 30.0},
        "tile": dict(size=1024, min=256, max=2048, overlap=128, divisor=32),
        "classes": [{"id": i + 1, "slug": c[0], "title": c[1], "color": c[2]} for i, c in enumerate(CLASSES)],
        "ignore_index": IGNORE,
        "temperature": facts["temperature"],
        "training": {
            "data": "243 chips of 128 x 128 px, harmonised Landsat and Sentinel-2 (HLS) surface reflectance at 30 m",
            "labels": "ESA WorldCover, a map product, on the 30 m grid; grass and shrub are one class; wetland, snow "
            "and moss are left out",
            "dates": "not recorded in the chips",
            "footprint": "several continents; the chips carry no coordinates, so no finer footprint is known",
            "recipe": RECIPE.format(**facts),
            "split": "by groups of touching chips: " + ", ".join(f"{len(v)} {k}" for k, v in parts.items()),
        },
        "metrics": {
            "reference": f"agreement with ESA WorldCover on {len(parts['test'])} held-out chips "
            "(not ground truth)",
            **facts["metrics"],
        },
        "limitations": limits,
        "license": LICENSE,
        "weights_sha256": hashlib.sha256((folder / "model.safetensors").read_bytes()).hexdigest(),
        "versions": {p: version(p).split("+")[0] for p in ("torch", "segmentation_models_pytorch", "timm")},
    }
    (folder / "geoseg.json").write_text(json.dumps(card, indent=2) + "\n")
    rows = [f"| {c[1]} | " + " | ".join(f"{marks[k][c[0]]:.3f}" for k in KINDS) + " |" for c in CLASSES]
    (folder / "README.md").write_text(
        "\n".join(
            [
                f"# {card['name']} {card['version']}",
                "",
                f"{card['title']}. {card['description']}",
                "",
                "`segmentation_models_pytorch.from_pretrained` loads it; `geoseg.json` holds bands, scaling and classes.",
                "",
                "## Training",
                "",
                *(f"- {k.capitalize()}: {v}." for k, v in card["training"].items()),
                "",
                "## Agreement",
                "",
                f"At 30 m, {card['metrics']['reference']}, all pixels in one confusion matrix: mIoU {marks['miou']:.3f}, "
                f"overall agreement {marks['overall_accuracy']:.3f}.",
                "",
                "| Class | IoU | Precision | Recall |",
                "| --- | --- | --- | --- |",
                *rows,
                "",
                "## Limits",
                "",
                *(f"- {line}" for line in limits),
                "",
                "## Licence",
                "",
                LICENSE,
                "",
            ]
        )
    )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    for flag, kind in {"--data": "DIR", "--encoder-weights": "FILE", "--output": "OUT"}.items():
        parser.add_argument(flag, type=Path, required=True, metavar=kind)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--epochs", type=int, default=76)
    parser.add_argument("--start", type=Path, metavar="OUT", help="output of a first pass, for the second")
    args = parser.parse_args()
    torch.manual_seed(args.seed)
    names, images, labels = load_chips(args.data)
    parts = split_groups(names, labels, json.loads((args.data / "groups.json").read_text()))
    mine, val, test = parts.values()
    known = images[mine].double().numpy()
    mean, std = (
        torch.from_numpy(f(known, axis=(0, 2, 3))).float()[:, None, None] for f in (np.nanmean, np.nanstd)
    )
    model = smp.from_pretrained(str(args.start)) if args.start else build(args.encoder_weights)
    earlier = json.loads(args.start.with_suffix(".record.json").read_text())["epochs"] if args.start else 0
    model, minutes, epochs = train(model, images[mine], labels[mine], mean, std, args)
    model.save_pretrained(args.output)
    model = smp.from_pretrained(str(args.output)).to(
        memory_format=torch.channels_last
    )  # measure what is stored
    standard = ((images - mean) / std).nan_to_num(0.0)
    val_logits, test_logits = predict(model, standard[val]), predict(model, standard[test])
    print("val", val_metrics := scores(val_logits.argmax(1), labels[val]))
    print("test", metrics := scores(test_logits.argmax(1), labels[test]))
    temperature = min(
        np.geomspace(0.4, 3.0, 120),
        key=lambda t: F.cross_entropy(val_logits / t, labels[val], ignore_index=IGNORE).item(),
    )
    facts = {
        "parts": {k: [names[i] for i in v] for k, v in parts.items()},
        "minutes": minutes,
        "epochs": earlier + epochs,
        "mean": mean.flatten().tolist(),
        "std": std.flatten().tolist(),
        "temperature": round(float(temperature), 4),
        "metrics": metrics,
        "bare": val_metrics["iou"]["bare"],
    }
    args.output.with_suffix(".record.json").write_text(json.dumps(facts, indent=2) + "\n")
    write_bundle(args.output, facts)


if __name__ == "__main__":
    main()
