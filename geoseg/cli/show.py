"""Facts about scenes, bundles, runs and the machine as plain values, and their layout as text."""

import os
import platform
from datetime import datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import BaseModel

import geoseg
from geoseg.config import lookup
from geoseg.config.cluster import ClusterFile
from geoseg.config.legend import LegendDocument
from geoseg.config.loader import load
from geoseg.config.lookup import Shelf
from geoseg.config.pipeline import Pipeline
from geoseg.config.scene import SceneEntry
from geoseg.config.training import Training
from geoseg.core.errors import ConfigError, SceneError
from geoseg.core.files import as_output_error
from geoseg.core.run_files import RunFile
from geoseg.inference.masks import invalid_classes
from geoseg.models.bundle import CARD, list_bundles, open_bundle
from geoseg.raster.staging import count_finished
from geoseg.runs.folder import STAGING
from geoseg.runs.record import parse_record
from geoseg.scenes.bands import SceneBand, SceneMask
from geoseg.scenes.catalog import Catalog, find_entry, resolve_scene
from geoseg.scenes.grid import crs_name
from geoseg.scenes.mosaic import Mosaic
from geoseg.scenes.opening import open_scene
from geoseg.scenes.scene import Scene
from geoseg.storage.store import Store, is_store, open_store
from geoseg.training.instances.scores import InstanceScores
from geoseg.training.record import TrainingRecord

_PACKAGES = (
    "torch", "torchvision", "segmentation-models-pytorch", "rasterio", "odc-geo", "dask", "distributed",
    "geopandas", "pyogrio", "shapely", "xarray", "pydantic", "numpy",
)  # fmt: skip


_DOCUMENTS: dict[Shelf, type[BaseModel]] = {
    Shelf.PIPELINES: Pipeline,
    Shelf.TRAININGS: Training,
    Shelf.LEGENDS: LegendDocument,
    Shelf.CLUSTERS: ClusterFile,
}


def describe(path: str, catalog_file: Path | None) -> dict[str, Any]:
    """Describe the scene, bundle, document or run folder that a path or name means."""
    if is_store(path):
        store = open_store(path)
        with as_output_error(path, "read"):
            there = store.names()
        if CARD in there:
            return bundle(path)
        if RunFile.RECORD in there or STAGING in there:
            return run_folder(store)
    if Path(path).exists() or "://" in path or path in Catalog.open(catalog_file).scenes:
        return scene(path, catalog_file)
    if path in lookup.names(Shelf.MODELS):
        return bundle(path)
    for shelf, model in _DOCUMENTS.items():
        if (file := lookup.find(shelf, path)) is not None:
            return {"document": str(file.resolve()), **load(file, model).model_dump(mode="json")}
    return scene(path, catalog_file)


def training(folder: Path, record: TrainingRecord) -> dict[str, Any]:
    """Describe the result of a training."""
    metrics = record.metrics
    left_out = {"reference", "other_parts", "confusion_matrix", "repeats", "datasets"}
    shown: dict[str, Any] = metrics.model_dump(exclude=left_out)
    if isinstance(metrics, InstanceScores):
        figures: dict[str, Any] = {
            "mask_ap": metrics.masks.ap,
            "mask_ap50": metrics.masks.ap50,
            "box_ap": metrics.boxes.ap,
            "f1": metrics.f1,
            "score_threshold": metrics.score_threshold,
        }
    else:
        keys = ("miou", "overall_accuracy", "macro_f1", "micro_f1", "rmse", "mae", "bias", "r2")
        figures = {k: shown[k] for k in keys if k in shown}
        if "overall_accuracy" in figures:
            del figures["macro_f1"]
    return {
        **({"classes": _class_scores(shown["classes"])} if "classes" in shown else {}),
        "measured_on": metrics.reference,
        **figures,
        **_spread(metrics, figures),
        **({"datasets": _of_datasets(metrics)} if metrics.datasets else {}),
        "best_epoch": record.training["best_epoch"],
        "bundle": str(folder / record.bundle.folder),
        "page": str(folder / "training.html"),
    }


def _of_datasets(metrics: Any) -> list[dict[str, Any]]:
    """Return the figures of each of several data sets."""
    told = ("miou", "overall_accuracy", "macro_f1", "rmse", "mae", "mask_ap", "f1")
    rows = []
    for name, scores in metrics.datasets.items():
        found = scores.model_dump(mode="json")
        if "masks" in found:
            found |= {"mask_ap": found["masks"]["ap"]}
        rows.append({"dataset": name, **{k: found[k] for k in told if k in found}})
    return rows


def _spread(metrics: Any, figures: dict[str, Any]) -> dict[str, Any]:
    """Describe how the figures of several trainings vary; empty for a single one."""
    repeats = getattr(metrics, "repeats", None)
    if repeats is None:
        return {}

    def words(spread: Any) -> str:
        low_high = "" if spread.ci95 is None else f"{spread.ci95[0]:.4g} to {spread.ci95[1]:.4g}"
        seeds = "" if spread.seeds_sd is None else f"seeds ± {spread.seeds_sd:.2g}"
        folds = "" if spread.folds_sd is None else f"folds ± {spread.folds_sd:.2g}"
        return ", ".join(w for w in (low_high, seeds, folds) if w)

    varies = {name: words(repeats.figures[name]) for name in figures if name in repeats.figures}
    return {"varies": varies, "interval": repeats.interval, "weights": repeats.bundle}


def scene(name: str, catalog_file: Path | None) -> dict[str, Any]:
    """Describe a scene."""
    _, base = find_entry(name, catalog_file)
    opened = resolve_scene(name, Path(name).stem, None, None, catalog_file)
    entry = opened.entry
    geobox = opened.geobox
    left, bottom, right, top = geobox.extent.boundingbox if geobox.crs else geobox.boundingbox
    ground = {
        "crs": crs_name(geobox.crs),
        "gsd_m": opened.gsd_m,
        "extent": [round(v, 9) for v in (left, bottom, right, top)],
    }
    facts: dict[str, Any] = {"scene": name}
    for key in _TOLD:
        if (value := getattr(entry, key)) not in {None, ""}:
            facts[key] = value.isoformat() if isinstance(value, datetime) else value
    return {
        **facts,
        "width": opened.shape[1],
        "height": opened.shape[0],
        # Of a photograph they mean nothing: null in JSON, and left out of the text.
        **(dict.fromkeys(ground) if opened.is_photograph else ground),
        "bands": [_band(b, opened) for b in opened.bands],
        **_mosaic(opened),
        "masks": [_mask(opened, m) for m in opened.masks] or None,
        "model_masks": _model_masks(opened) or None,
        "haze": [round(h, 5) for h in opened.haze] or None,
        "base": str(base.resolve()),
    }


_TOLD = (
    "title", "description", "license", "source", "product", "level", "baseline", "platform", "datetime",
    "cloud_cover", "item",
)  # fmt: skip
"""Facts of an entry that are shown where it has them."""


def _band(b: SceneBand, scene: Scene) -> dict[str, Any]:
    size = {} if scene.is_photograph else {"resolution": abs(b.source.geobox.resolution.x)}
    return {
        "name": b.name, "common_name": b.common_name, "wavelength_um": b.wavelength_um, "dtype": str(b.dtype),
        **size, "scale": b.scale, "offset": b.offset, "nodata": b.nodata,
        "file": Path(b.source.path).name,
    }  # fmt: skip


def _mask(opened: Scene, mask: SceneMask) -> dict[str, Any]:
    """Describe a quality band, and the share of a sample of the scene that it masks."""
    seen = [mask.valid_in(opened.whole, opened.in_whole(w)) for w in opened.sample_windows()]
    share = 1 - np.concatenate([v.ravel() for v in seen]).mean()
    bits = [[i for i in range(pattern.bit_length()) if pattern >> i & 1] for pattern in mask.invalid_bits]
    return {
        "file": Path(mask.source.path).name,
        "band": mask.index,
        "invalid_values": list(mask.invalid_values) or None,
        "invalid_bits": [b[0] if len(b) == 1 else b for b in bits] or None,
        "masks_percent": round(100 * float(share), 2),
    }


def _model_masks(opened: Scene) -> list[dict[str, Any]]:
    """Describe the masks that other networks would make, each once for all members of a mosaic."""
    rows = []
    for mask in dict.fromkeys(mask for _, mask in opened.model_masks):
        found = open_bundle(mask.model)
        classes = found.card.legend.by_id()
        rows.append(
            {
                "model": found.card.name,
                "version": found.card.version,
                "invalid": [classes[i].slug for i in invalid_classes(mask.invalid, found.card)],
                "dilate": mask.dilate,
                "bands": [b.common_name for b in found.card.bands],
                "sha256": found.sha256,
            }
        )
    return rows


def _mosaic(opened: Scene) -> dict[str, Any]:
    if not isinstance(opened, Mosaic):
        return {}
    rows = [
        {
            "name": m.name,
            "width": m.shape[1],
            "height": m.shape[0],
            "crs": crs_name(m.geobox.crs),
            "datetime": None if m.acquired is None else m.acquired.isoformat(),
            "files": len(m.sources),
        }
        for m in opened.members
    ]
    return {"method": opened.method, "members": rows}


def catalog(catalog_file: Path | None) -> list[dict[str, Any]]:
    """List the scenes of a catalog."""
    if catalog_file is not None and not catalog_file.exists():
        raise ConfigError(f"{catalog_file}: no such file; say where the catalog is with --catalog")
    return [
        {
            "name": name,
            "title": entry.title,
            "catalog": str(path),
            "files": _files_of(name, entry, path.parent, catalog_file),
        }
        for name, (entry, path) in Catalog.open(catalog_file).scenes.items()
    ]


def _files_of(name: str, entry: SceneEntry, base: Path, catalog_file: Path | None) -> str:
    # The haze is found in pixels, which takes seconds for each scene.
    plain = entry.radiometry.model_copy(update={"dark_object": None})
    try:
        open_scene(entry.model_copy(update={"radiometry": plain}), name, base, catalog=catalog_file)
    except SceneError as error:
        return f"missing: {error}"
    return "found"


def bundle(place: Path | str) -> dict[str, Any]:
    """Describe a bundle."""
    opened = open_bundle(place)
    card = opened.card
    return {
        "model": card.name,
        "version": card.version,
        "folder": opened.place,
        "title": card.title,
        "description": card.description,
        "architecture": opened.architecture,
        "weights_mb": round(opened.weights_bytes / 1e6, 2),
        "bands": [b.name for b in card.bands],
        "gsd_m": None if card.gsd_m is None else f"{card.gsd_m.min:g} to {card.gsd_m.max:g}",
        "tile": card.tile.model_dump(),
        "task": card.task,
        "detection": {} if card.detection is None else card.detection.model_dump(),
        "resize": card.resize,
        "classes": [f"{c.id} {c.title}" for c in card.classes],
        "target": {} if card.target is None else card.target.model_dump(),
        "numbers": card.numbers,
        "output": card.output,
        "temperature": card.temperature,
        **({} if card.calibration is None else {"calibration": card.calibration.model_dump(mode="json")}),
        "strangeness": "not measured" if card.strangeness is None else card.strangeness.model_dump(),
        "thresholds": card.thresholds,
        "origin": {} if card.origin is None else card.origin.model_dump(exclude_none=True),
        "metrics": _figures(card.metrics),
        "limitations": list(card.limitations),
        "license": card.license,
        "training": card.training,
        "sha256": opened.sha256,
    }


def _figures(metrics: dict[str, Any]) -> dict[str, Any]:
    """Return the scores that people compare, without confusion matrix and the other parts of the data."""
    kept = {
        k: v
        for k, v in metrics.items()
        if k not in {"confusion_matrix", "other_parts", "repeats", "datasets"}
    }
    if repeats := metrics.get("repeats"):
        varies = {k: v for k, v in repeats["figures"].items() if "/" not in k}
        kept["varies"] = {k: {n: v[n] for n in ("ci95", "seeds_sd", "folds_sd")} for k, v in varies.items()}
    if "classes" in kept:
        kept["classes"] = _class_scores(kept["classes"])
    return kept


def _class_scores(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the scores of each class, without its pixels."""
    told = ("slug", "title", "iou", "mask_ap", "box_ap", "f1", "precision", "recall", "objects",
            "expected_calibration_error")  # fmt: skip
    return [{k: row[k] for k in told if k in row} for row in rows]


def bundles(folder: Path | None) -> list[dict[str, Any]]:
    """List the bundles in a folder, or all that are found by name."""
    found = list_bundles(folder)
    if not found:
        where = "configs/models here, of the user or of geoseg" if folder is None else folder
        raise ConfigError(f"{where}: holds no bundle; say where they lie with --folder")
    return [_bundle_row(path) for path in found]


def _bundle_row(path: Path) -> dict[str, Any]:
    opened = open_bundle(path)
    return {
        "name": path.name,
        "title": opened.card.title,
        "architecture": opened.architecture,
        "bands": len(opened.card.bands),
        "classes": len(opened.card.classes),
        "mb": round(opened.weights_bytes / 1e6, 1),
        "folder": str(path),
    }


def run_folder(store: Store) -> dict[str, Any]:
    """Describe a run folder, finished or not."""
    with as_output_error(store.at(), "read"):
        finished, staged = store.read(RunFile.RECORD), store.child(STAGING).names()
    if finished is None:
        return {"run": store.at(), "state": "unfinished", "finished_blocks": count_finished(staged)}
    record = parse_record(finished, store.at(RunFile.RECORD))
    kept = {
        "name", "finished", "command", "fingerprint", "classes", "pixels", "area_m2", "strangeness",
        "objects", "seconds", "memory_bytes", "warnings",
    }  # fmt: skip
    told = None if record.values is None else record.values.model_dump(mode="json", exclude={"histogram"})
    of_classes, doubt = record.task == "classes", record.doubt
    return {
        "run": store.at(),
        "state": "finished",
        **({} if of_classes else {"task": record.task}),
        "width": record.plan.width,
        "height": record.plan.height,
        **record.model_dump(mode="json", include=kept),
        **({} if told is None else {"values": told}),
        **({} if doubt is None else {"doubt": doubt.model_dump(mode="json")}),
        "outputs": {name: file.bytes for name, file in record.outputs.items()},
    }


def environment() -> dict[str, Any]:
    """Describe the machine and the libraries."""
    import rasterio
    import torch

    versions = {"geoseg": geoseg.__version__, "python": platform.python_version()}
    for package in _PACKAGES:
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            versions[package] = "missing"
    cuda = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
    with rasterio.Env() as env:
        drivers = env.drivers()
    return {
        "versions": versions,
        "system": platform.platform(),
        "cpus": len(os.sched_getaffinity(0)),
        "device": "cuda" if cuda else "cpu",
        "gpus": cuda or "none",
        "gdal": rasterio.__gdal_version__,
        "gdal_drivers": {d: d in drivers for d in ("GTiff", "COG", "VRT", "JP2OpenJPEG")},
    }
