"""Train Mask R-CNN on nuclei of a microscope, with random weights, and count what it finds.

`python -m tests.benchmarks nuclei`

The image (512 x 512 px, 125 nuclei) and its masks are in the wheel of stardist (BSD 3-clause), which pip
downloads; nothing of it is kept. The left 384 columns are learned, the right 128 are checked. Neighbouring
columns of one image say that it learns, not how well it would do elsewhere.
"""

import json
import subprocess
import sys
import tempfile
import time
import zipfile
from pathlib import Path

import numpy as np
import rasterio
import yaml
from rasterio.io import MemoryFile

from tests.conftest import ROOT, write_raster

COLUMN = 384
"""First column that is checked."""

TRAINING = {
    "name": "nuclei", "task": "instances",
    "legend": {"classes": [{"id": 1, "slug": "nucleus", "title": "Nucleus", "color": "#b03a87"}]},
    "split": {"by": "given"},
    "chips": {"size": 128, "per_epoch": 42},
    "network": {
        "architecture": "MaskRCNN",
        "arguments": {"encoder_name": "resnet18", "decoder_channels": 64, "box_features": 256},
    },
    "tile": {"size": 128, "min": 128, "max": 256, "overlap": 32},
    "optimizer": {"rate": 5e-4, "warmup": 0.1},
    "fit": {"epochs": 8, "batch": 2, "device": "cpu"},
}  # fmt: skip


def read_nuclei(folder: Path) -> tuple[np.ndarray, np.ndarray]:
    """Return the image and the numbers of its nuclei from the wheel."""
    pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", str(folder), "stardist"]
    subprocess.run(pip, check=True, capture_output=True)
    (wheel,) = folder.glob("*.whl")
    found = []
    with zipfile.ZipFile(wheel) as file:
        for name in ("img2d", "mask2d"):
            content = file.read(f"stardist/data/images/{name}.tif")
            with MemoryFile(content) as memory, memory.open() as source:
                found.append(source.read(1))
    return found[0], found[1]


def write_training(folder: Path, image: np.ndarray, ids: np.ndarray) -> Path:
    """Write both parts of the image with their numbers, and the training; return its file."""
    scenes = []
    for part, cols in (("train", slice(0, COLUMN)), ("val", slice(COLUMN, None))):
        place = {"gsd": 1.0, "origin": (500_000.0 + cols.start, 4_500_000.0)}
        write_raster(folder / f"{part}.tif", image[None, :, cols], names=("grey",), scale=1 / 255, **place)
        write_raster(folder / f"{part}_ids.tif", ids[:, cols].astype(np.int32), **place)
        scenes.append({"scene": f"{part}.tif", "labels": f"{part}_ids.tif", "part": part})
    dataset = {"kind": "scenes", "folder": str(folder), "scenes": scenes}
    path = folder / "nuclei.yaml"
    path.write_text(yaml.safe_dump({**TRAINING, "dataset": dataset, "output": str(folder / "trained")}))
    return path


def main() -> None:
    from geoseg.training.callbacks import EpochDone
    from geoseg.training.prepare import prepare
    from geoseg.training.train import train

    def tell(event: object) -> None:
        if isinstance(event, EpochDone):
            print(f"| {event.epoch} | {event.row.train_loss:.2f} | {event.row.val_loss:.2f} | "
                  f"{event.row.val_ap['mask_ap']:.3f} | {event.row.val_ap['mask_ap50']:.3f} |")  # fmt: skip
            sys.stdout.flush()

    with tempfile.TemporaryDirectory() as name, rasterio.Env():
        folder = Path(name)
        prepared = prepare(write_training(folder, *read_nuclei(folder)))
        print("| epoch | loss | val loss | mask AP | mask AP50 |\n| --- | --- | --- | --- | --- |")
        start = time.process_time()
        trained = train(prepared, on_event=tell)
        assert trained is not None
        print(f"\n{time.process_time() - start:.0f} CPU seconds. Chips of the right columns:")
        show(trained.record.metrics.model_dump())
        for part in ("val", "train"):
            print(f"\nTiles of 128 px merged to a map of the {part} columns:")
            show(mapped(folder, part))


def show(scores: dict) -> None:
    """Print the scores in a line."""
    kinds = {k: {n: scores[k][n] for n in ("ap", "ap50", "ap75")} for k in ("masks", "boxes")}
    told = ("objects", "detections", "precision", "recall", "f1", "count_error", "duplicates")
    print(json.dumps({**kinds, **{k: scores[k] for k in told}, "seams": scores.get("seams")}))


def mapped(folder: Path, part: str) -> dict:
    """Return the scores of the merged map of a part."""
    from geoseg.evaluation.objects.evaluate import evaluate_objects

    pipeline = {
        "name": part, "scene": str(folder / f"{part}.tif"), "model": str(folder / "trained" / "bundle"),
        "inference": {"device": "cpu"}, "outputs": {"folder": str(folder / f"map_{part}"), "coco": True},
    }  # fmt: skip
    path = folder / f"{part}.yaml"
    path.write_text(yaml.safe_dump(pipeline))
    command = [sys.executable, "-m", "geoseg", "run", str(path)]
    made = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if made.returncode:
        raise SystemExit(made.stderr)
    instances = next((folder / f"map_{part}").rglob("instances.tif"))
    return evaluate_objects(instances, str(folder / f"{part}_ids.tif")).to_dict()
