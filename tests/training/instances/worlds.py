"""A training of objects, small enough for the suite."""

from pathlib import Path

import yaml

from geoseg.training.prepare import PreparedTraining, prepare
from tests.objects import LEGEND, object_scene, write_polygons, write_scene


def document(folder: Path, **changes) -> dict:
    """Write two scenes with polygons; return a training that learns from one and checks on the other."""
    scenes = []
    for name, part, seed in (("a", "train", 0), ("b", "val", 1)):
        scene = object_scene(128, 128, seed=seed, halls=1, houses=10, trees=18, panels=0)
        origin = (500_000.0 + 10_000 * seed, 4_500_000.0)
        write_scene(folder / f"{name}.tif", scene, origin)
        write_polygons(folder / f"{name}.geojson", scene, origin)
        scenes.append(
            {"scene": f"{name}.tif", "labels": f"{name}.geojson", "attribute": "class", "part": part}
        )
    return {
        "name": "objects", "task": "instances", "seed": 0,
        "legend": {"classes": LEGEND["classes"][:2]},
        "dataset": {"kind": "scenes", "folder": str(folder), "scenes": scenes},
        "split": {"by": "given"},
        "chips": {"size": 64, "per_epoch": 12, "balance": 0.3},
        "network": {
            "architecture": "MaskRCNN",
            "arguments": {"encoder_name": "resnet18", "decoder_channels": 32, "box_features": 128},
        },
        "optimizer": {"rate": 1e-3, "warmup": 0.2},
        "fit": {"epochs": 2, "batch": 4, "device": "cpu"},
        "detection": {"per_tile": 60},
        "output": str(folder / "out"), **changes,
    }  # fmt: skip


def written(folder: Path, values: dict) -> Path:
    """Write a training document."""
    path = folder / "training.yaml"
    path.write_text(yaml.safe_dump(values))
    return path


def prepared_from(folder: Path, values: dict | None = None) -> PreparedTraining:
    """Prepare a training; default: that of `document`."""
    return prepare(written(folder, values or document(folder)))
