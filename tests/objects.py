"""Scenes of objects with exact truth: crowns that touch, houses, halls, and panels on them."""

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import rasterio.features
import shapely
from affine import Affine
from numpy.typing import NDArray

from tests.conftest import BAND_NAMES, UTM, write_raster

GSD, ORIGIN = 10.0, (500_000.0, 4_500_000.0)
CLASSES = ("building", "tree", "panel")
LEGEND = {
    "classes": [
        {"id": i + 1, "slug": slug, "title": slug.title(), "color": color}
        for i, (slug, color) in enumerate(zip(CLASSES, ("#c0392b", "#1b7837", "#2b7bba"), strict=True))
    ]
}
_BRIGHTNESS = np.array([[900, 1100, 2600, 2400], [500, 1000, 500, 3600], [2600, 1800, 700, 900]])
"""Reflectance x 10000 of each class in the four bands; the ground has 1800 in all."""


@dataclass(frozen=True)
class TrueObject:
    """One object: the place of its box in the scene, its mask there, and the position of its class."""

    row: int
    col: int
    mask: NDArray[np.bool_]
    kind: int

    @property
    def box(self) -> tuple[int, int, int, int]:
        """First row and column, and those behind the last."""
        return self.row, self.col, self.row + self.mask.shape[0], self.col + self.mask.shape[1]

    @property
    def here(self) -> tuple[slice, slice]:
        """Rows and columns of the box."""
        return slice(self.row, self.box[2]), slice(self.col, self.box[3])


@dataclass(frozen=True)
class ObjectScene:
    """Numbers of a scene and the objects in it; a panel overlaps the building that it lies on."""

    numbers: NDArray[np.uint16]
    """Reflectance x 10000, shape (4, rows, cols)."""
    objects: tuple[TrueObject, ...]

    @property
    def shape(self) -> tuple[int, int]:
        return self.numbers.shape[1:]

    def ids(self) -> NDArray[np.int32]:
        """Return a raster of object numbers from 1, later objects over earlier ones; 0: none."""
        ids = np.zeros(self.shape, dtype=np.int32)
        for number, one in enumerate(self.objects, start=1):
            ids[one.here][one.mask] = number
        return ids

    def kinds(self) -> NDArray[np.uint8]:
        """Return a raster of class ids, 0 where there is no object."""
        return np.array([0, *(o.kind + 1 for o in self.objects)], dtype=np.uint8)[self.ids()]


def object_scene(
    rows: int, cols: int, *, seed: int = 0, halls: int = 2, houses: int = 12, trees: int = 24, panels: int = 4
) -> ObjectScene:
    """Draw a scene: halls of up to two thirds of it, houses apart, crowns that touch, panels on buildings.

    Objects of a kind are as many as asked for, unless there is no room; crowns are cut by the scene's edges.
    """
    rng = np.random.default_rng(seed)
    found = place_objects(rows, cols, rng, halls=halls, houses=houses, trees=trees, panels=panels)
    return ObjectScene(_numbers(found, (rows, cols), rng), tuple(found))


def place_objects(
    rows: int, cols: int, rng: np.random.Generator, *, halls: int, houses: int, trees: int, panels: int
) -> list[TrueObject]:
    """Return the objects of a scene as `object_scene` draws it."""
    taken = np.zeros((rows, cols), dtype=bool)
    found: list[TrueObject] = []

    def put(mask: NDArray[np.bool_], kind: int, gap: int, beyond: int = 0) -> None:
        height, width = mask.shape
        for _ in range(40):
            row = int(rng.integers(-beyond, max(1 - beyond, rows - height + beyond + 1)))
            col = int(rng.integers(-beyond, max(1 - beyond, cols - width + beyond + 1)))
            top, left = max(row, 0), max(col, 0)
            part = mask[top - row : rows - row, left - col : cols - col]
            if not part.any():
                continue
            around = taken[
                max(top - gap, 0) : top + part.shape[0] + gap, max(left - gap, 0) : left + part.shape[1] + gap
            ]
            here = np.s_[top : top + part.shape[0], left : left + part.shape[1]]
            if around.any() if gap else (taken[here] & part).any():
                continue
            taken[here] |= part
            found.append(_tight(top, left, part, kind))
            return

    for _ in range(halls):
        long, short = int(rng.integers(rows // 3, 2 * rows // 3)), int(rng.integers(rows // 10, rows // 6))
        put(np.ones((long, short) if rng.random() < 0.5 else (short, long), dtype=bool), 0, 2)
    for _ in range(houses):
        put(np.ones(tuple(rng.integers(9, 22, 2)), dtype=bool), 0, 2)
    buildings = len(found)
    for _ in range(trees):
        put(_disc(int(rng.integers(5, 11))), 1, 0, beyond=4)
    for one in found[: min(buildings, panels)]:
        height, width = (n // 2 for n in one.mask.shape)
        side = np.ones((max(5, min(height, 9)), max(5, min(width, 9))), dtype=bool)
        found.append(TrueObject(one.row + 2, one.col + 2, side, 2))
    return found


def _disc(radius: int) -> NDArray[np.bool_]:
    y, x = np.mgrid[-radius : radius + 1, -radius : radius + 1]
    return y**2 + x**2 <= radius**2 + radius / 2


def _tight(row: int, col: int, mask: NDArray[np.bool_], kind: int) -> TrueObject:
    rows, cols = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    inside = mask[rows[0] : rows[-1] + 1, cols[0] : cols[-1] + 1].copy()
    return TrueObject(row + int(rows[0]), col + int(cols[0]), inside, kind)


def _numbers(
    objects: list[TrueObject], shape: tuple[int, int], rng: np.random.Generator
) -> NDArray[np.uint16]:
    """Paint objects, each of its own brightness and with a dark rim, so that touching ones can be parted."""
    values = np.full((4, *shape), 1800.0)
    for one in objects:
        core = one.mask.copy()
        core[1:] &= one.mask[:-1]
        core[:-1] &= one.mask[1:]
        core[:, 1:] &= one.mask[:, :-1]
        core[:, :-1] &= one.mask[:, 1:]
        core[[0, -1]] = core[:, [0, -1]] = False
        shade = rng.uniform(0.85, 1.15) * np.where(core, 1.0, 0.5)
        painted = values[:, *one.here]
        painted[:, one.mask] = (_BRIGHTNESS[one.kind][:, None, None] * shade)[:, one.mask]
    return np.rint((values + rng.normal(0, 60, values.shape)).clip(1, 10_000)).astype(np.uint16)


def write_scene(path: Path, scene: ObjectScene, origin: tuple[float, float] = ORIGIN) -> Path:
    """Write the numbers as a GeoTIFF of blue, green, red and near infrared."""
    return write_raster(path, scene.numbers, names=BAND_NAMES, scale=0.0001, gsd=GSD, origin=origin)


def write_polygons(path: Path, scene: ObjectScene, origin: tuple[float, float] = ORIGIN) -> Path:
    """Write one polygon for each object, with the slug of its class in the column `class`."""
    grid = Affine(GSD, 0, origin[0], 0, -GSD, origin[1])
    features = []
    for one in scene.objects:
        place = grid @ Affine.translation(one.col, one.row)
        parts = rasterio.features.shapes(one.mask.astype(np.uint8), one.mask, transform=place)
        outline = shapely.union_all([shapely.geometry.shape(s) for s, _ in parts])
        features.append(
            {
                "type": "Feature",
                "properties": {"class": CLASSES[one.kind]},
                "geometry": shapely.geometry.mapping(outline),
            }
        )
    crs = {"type": "name", "properties": {"name": f"urn:ogc:def:crs:{UTM.replace(':', '::')}"}}
    path.write_text(json.dumps({"type": "FeatureCollection", "crs": crs, "features": features}))
    return path


def write_ids(folder: Path, scene: ObjectScene, name: str = "ids") -> tuple[Path, Path]:
    """Write the rasters of object numbers and of classes."""
    return (
        write_raster(folder / f"{name}.tif", scene.ids(), gsd=GSD, origin=ORIGIN),
        write_raster(folder / f"{name}_classes.tif", scene.kinds(), gsd=GSD, origin=ORIGIN),
    )


def write_coco(path: Path, image: str, scene: ObjectScene) -> Path:
    """Write the objects as COCO JSON, masks as uncompressed run lengths."""
    annotations = []
    for number, one in enumerate(scene.objects, start=1):
        whole = np.zeros(scene.shape, dtype=bool)
        whole[one.here] = one.mask
        flat = whole.ravel(order="F")
        edges = np.flatnonzero(np.diff(flat)) + 1
        counts = np.diff([0, *edges, flat.size]).tolist()
        annotations.append(
            {
                "id": number,
                "image_id": 1,
                "category_id": one.kind + 1,
                "iscrowd": 0,
                "area": int(one.mask.sum()),
                "bbox": [one.col, one.row, one.mask.shape[1], one.mask.shape[0]],
                "segmentation": {
                    "size": list(scene.shape),
                    "counts": counts if not flat[0] else [0, *counts],
                },
            }
        )
    rows, cols = scene.shape
    path.write_text(
        json.dumps(
            {
                "images": [{"id": 1, "file_name": image, "height": rows, "width": cols}],
                "categories": [{"id": i + 1, "name": slug} for i, slug in enumerate(CLASSES)],
                "annotations": annotations,
            }
        )
    )
    return path


def object_bundle(folder: Path, *, seed: int = 0, **card_changes):
    """Write a bundle with a small network of random weights that finds objects of `CLASSES` in four bands."""
    import torch

    from geoseg.models.bundle import save_bundle
    from geoseg.models.card import Card
    from geoseg.models.networks.architectures import build

    torch.manual_seed(seed)
    network = build(
        {
            "_model_class": "MaskRCNN", "encoder_name": "resnet18", "in_channels": 4, "classes": len(CLASSES),
            "decoder_channels": 16, "box_features": 32, "anchor_sizes": (8, 16, 32, 64, 128),
            "detections": 40, "proposals": 60,
        }
    )  # fmt: skip
    bands = [{"name": n, "common_name": n, "mean": 0.18, "std": 0.1} for n in BAND_NAMES]
    fields = {
        "name": "toy-objects", "version": "1", "title": "Toy objects", "task": "instances", "bands": bands,
        "gsd_m": {"min": 10, "max": 10}, "classes": LEGEND["classes"],
        "tile": {"size": 64, "min": 64, "max": 128, "overlap": 32, "divisor": 32},
        "detection": {"score_threshold": 0.2, "per_tile": 40, "object_px": {"median": 12, "p99": 40}},
        "weights_sha256": "0" * 64,
    }  # fmt: skip
    return save_bundle(network, Card.model_validate({**fields, **card_changes}), folder)
