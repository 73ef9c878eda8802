"""What the cases begin with: a small scene, a bundle, labelled chips, valid documents and a finished run."""

import functools
import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from geoseg.core.errors import OutputError
from tests.conftest import BAND_NAMES, make_bundle, reflectance, write_raster

PIPELINE: dict[str, Any] = {
    "name": "fuzz",
    "scene": {
        "uri": "scene.tif",
        "bands": {"blue": 1, "green": 2, "red": 3, "nir": 4},
        "scale": 0.0001,
        "nodata": 0,
    },
    "model": "toy",
    "tiling": {"tile": 64, "overlap": 16, "block": 1},
    "inference": {"device": "cpu", "backend": "torch", "augment": "none"},
    "checks": {"statistics": "warn", "gsd": "warn"},
    "reading": {"tries": 1, "wait": 0},
    "outputs": {"folder": "out", "polygons": ["gpkg"]},
    "cluster": "local",
}
CATALOG: dict[str, Any] = {
    "scenes": {"fuzz": {**PIPELINE["scene"], "title": "A scene", "datetime": "2024-06-01"}},
    "datasets": {
        "chips": {"kind": "chips", "folder": "chips", "bands": list(BAND_NAMES), "scale": 0.0001, "gsd": 10}
    },
}
LEGEND: dict[str, Any] = {
    "classes": [
        {
            "id": i + 1,
            "slug": f"class-{i + 1}",
            "title": f"Class {i + 1}",
            "color": f"#{i}0{i}0{i}0",
            "codes": [10 * i + 10],
        }
        for i in range(3)
    ],
    "ignore": [0],
}
TRAINING: dict[str, Any] = {
    "name": "fuzz",
    "dataset": "chips",
    "bands": list(BAND_NAMES),
    "legend": LEGEND,
    "gsd": {"min": 10, "max": 10},
    "tile": {"size": 64, "min": 64, "max": 64, "overlap": 16},
    "output": "trained",
    "split": {"by": "file", "val": 0.3, "test": 0.3, "tries": 5},
    "chips": {"size": 32},
    "network": {
        "architecture": "Unet",
        "arguments": {"encoder_name": "resnet18", "encoder_depth": 3, "decoder_channels": [8, 8, 8]},
    },
    "loss": [{"kind": "cross-entropy"}],
    "optimizer": {"kind": "adamw", "rate": 0.01},
    "fit": {"epochs": 1, "batch": 2},
}
CLUSTERS: tuple[dict[str, Any], ...] = (
    {"kind": "local", "workers": 2},
    {"kind": "address", "address": "tcp://127.0.0.1:1", "cores": 1, "memory": "4GB", "wait": 0},
    {"kind": "ssh", "hosts": ["node1"], "cores": 2, "memory": "4GB", "interface": "lo"},
    {"kind": "slurm", "jobs": 2, "cores": 2, "memory": "4GB", "walltime": "01:00:00", "interface": "lo"},
    {"kind": "kubernetes", "image": "x", "cores": 1, "memory": "4GB"},
)  # fmt: skip


class World:
    """A folder with what the cases begin with, and the work folder of the present case."""

    def __init__(self, folder: Path, bundle: Path | None = None) -> None:
        self.folder = folder
        self.valid = folder / "valid"
        self.valid.mkdir(parents=True)
        self.work = folder
        write_raster(self.valid / "scene.tif", reflectance(80, 72), names=BAND_NAMES, scale=0.0001)
        for i in range(6):
            write_raster(self.valid / f"chips/images/c{i}.tif", reflectance(32, 32, i))
            labels = (np.indices((32, 32)).sum(0) // 12 % 3 * 10 + 10).astype(np.uint8)
            write_raster(self.valid / f"chips/labels/c{i}.tif", labels)
        write_raster(
            self.valid / "labels.tif", (np.indices((80, 72)).sum(0) // 40 % 3 * 10 + 10).astype(np.uint8)
        )
        if bundle is None:
            make_bundle(self.valid / "toy", memory_bytes_per_pixel=400.0)
        else:
            (self.valid / "toy").symlink_to(bundle.absolute())
        os.mkfifo(self.valid / "pipe")

    def fill(self) -> None:
        """Put what is valid into the work folder."""
        from tests.fuzz.values import as_yaml

        for path in self.valid.iterdir():
            (self.work / path.name).symlink_to(path)
        (self.work / "base.yaml").write_bytes(as_yaml(PIPELINE))
        (self.work / "data_catalog.yaml").write_bytes(as_yaml(CATALOG))

    @functools.cached_property
    def run(self) -> Path:
        """A finished run; the first that asks for it makes it, in the work folder that is there."""
        from geoseg.cli.app import app

        done = CliRunner().invoke(app, ["run", "base.yaml", "-q"])
        assert done.exit_code == 0, done.stderr
        shutil.move(self.work / "out", self.folder / "run")
        return self.folder / "run"

    @functools.cached_property
    def staged(self) -> Path:
        """The folder of a run whose blocks are done and whose files were never made."""
        from geoseg.cli.app import app
        from geoseg.runs import outputs

        def stop(*_: object) -> None:
            raise OutputError("stopped")

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(outputs, "write_maps", stop)
            done = CliRunner().invoke(app, ["run", "base.yaml", "-q"])
        assert done.stderr == "error: stopped\n"
        shutil.move(self.work / "out", self.folder / "staged")
        return self.folder / "staged"
