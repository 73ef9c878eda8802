"""Masks from models: what another network finds in a scene, before the network of the map sees it.

A mask is a pass of the same engine over the whole scene, with its own grid of tiles. Its finished blocks stay
in staging, where the blocks of the map read them as they read a quality band: so each tile goes through each
network once, and no answer depends on how the blocks of the map are cut.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

import numpy as np
import shapely
from odc.geo.geobox import GeoBox

from geoseg.config.pipeline import Level
from geoseg.config.scene import ModelMaskEntry, Radiometry
from geoseg.core.errors import ConfigError, SceneError, did_you_mean, listed
from geoseg.core.geometry import Window
from geoseg.inference import checks
from geoseg.inference.retry import ONCE, RetryPolicy
from geoseg.models.bundle import Bundle, open_bundle
from geoseg.models.card import Card
from geoseg.scenes.aoi import Aoi
from geoseg.scenes.class_masks import ClassMap, ClassMask
from geoseg.scenes.grid import common_grid, resized
from geoseg.scenes.opening import open_scene
from geoseg.scenes.scene import Scene
from geoseg.tiling.outline import Outline

Needed = dict[int, list[Window]]
"""Windows of the scenes that a mosaic is made of, by their place among its members."""


@dataclass(frozen=True)
class ModelMask:
    """What a network masks of a scene, or of a member of a mosaic."""

    key: str
    """Its name among the masks of the scene."""
    member: int
    """Place of the masked scene among `Scene.members`."""
    scene: Scene
    """What the network sees: the whole scene, bands in its order, without masks of the scene."""
    bundle: Bundle
    invalid: tuple[int, ...]
    """Ids of the classes that are nodata."""
    dilate: int
    """Pixels of its map by which they are widened."""

    def class_mask(self, classes: ClassMap | None) -> ClassMask:
        """Return the mask, with its map or without."""
        return ClassMask(self.key, self.scene.geobox, self.invalid, self.dilate, classes)

    @property
    def slugs(self) -> list[str]:
        """The classes that are nodata."""
        by_id = self.bundle.card.legend.by_id()
        return [by_id[i].slug for i in self.invalid]

    def identity(self) -> dict[str, Any]:
        """Return what decides its pixels, beside the map of the network."""
        return {
            "model": {"name": self.bundle.card.name, "sha256": self.bundle.sha256},
            "invalid": list(self.invalid),
            **({"dilate": self.dilate} if self.dilate else {}),
        }


def model_masks(scene: Scene) -> tuple[ModelMask, ...]:
    """Open the bundles of the masks that the entry of a scene asks for, and what their networks see.

    Parameters
    ----------
    scene
        The whole scene.

    Raises
    ------
    BundleError
        When a bundle is missing or damaged.
    ConfigError
        When a class is not among those of its bundle, or all of them would be masked.
    SceneError
        When the scene lacks a band of the network.
    """
    bundle_at = cache(open_bundle)
    return tuple(
        _model_mask(f"mask-{number}", place, scene.members[place], entry, bundle_at(entry.model))
        for number, (place, entry) in enumerate(scene.model_masks)
    )


def _model_mask(key: str, place: int, scene: Scene, entry: ModelMaskEntry, bundle: Bundle) -> ModelMask:
    card = bundle.card
    if card.task != "classes":
        raise ConfigError(
            f"mask: {card.name} is of task {card.task}, and a mask needs a class for each pixel"
        )
    invalid = invalid_classes(entry.invalid, card)
    return ModelMask(key, place, _seen_by(card, scene, entry.gsd), bundle, invalid, entry.dilate)


def invalid_classes(names: Sequence[str | int], card: Card) -> tuple[int, ...]:
    """Return the ids of classes that are named by slug or id, ascending.

    Raises
    ------
    ConfigError
        When there is no such class, or no other one is left.
    """
    classes = card.legend.by_id()
    slugs = {c.slug: i for i, c in classes.items()}
    known = listed([f"{c.slug} ({i})" for i, c in classes.items()])
    for name in names:
        if name not in slugs and name not in classes:
            raise ConfigError(
                f"mask: {card.name} has no class {name!r}{did_you_mean(str(name), slugs)}; it has {known}"
            )
    found = tuple(sorted({slugs[n] if isinstance(n, str) else n for n in names}))
    if len(found) == len(classes):
        raise ConfigError(f"mask: invalid names every class of {card.name}, so all would be masked ({known})")
    return found


def _seen_by(card: Card, scene: Scene, gsd: float | None) -> Scene:
    """Return the scene that a network sees: another choice of bands of the same entry, on the same ground."""
    assert scene.entry is not None  # noqa: S101 (it asks for the mask)
    changes: dict[str, Any] = {"mask": None}
    if card.level == "toa":
        # It knows haze, which is taken off for networks that know the ground.
        changes["radiometry"] = Radiometry()
    entry = scene.entry.model_copy(update=changes)
    try:
        opened = open_scene(entry, scene.name, scene.base, [b.common_name for b in card.bands])
        common_grid([scene.bands[0].source, *(b.source for b in opened.bands)], None)
    except SceneError as error:
        raise SceneError(f"mask {card.name}: {error}") from None
    return replace(opened, geobox=_grid(card, scene, gsd), declared_gsd_m=scene.declared_gsd_m)


def _grid(card: Card, scene: Scene, gsd: float | None) -> GeoBox:
    """Return the grid on which a network looks at a scene: that of the scene if its pixels fit."""
    native = scene.gsd_m
    if native is None or scene.geobox.crs is None:
        return scene.geobox
    if card.gsd_m is None:
        return scene.geobox if gsd is None else resized(scene.geobox, native, gsd, scene.name)
    low, high = card.gsd_m.min, card.gsd_m.max
    more = checks.GSD_TOLERANCE
    if gsd is None and low * (1 - more) <= native <= high * (1 + more):
        return scene.geobox
    return resized(scene.geobox, native, gsd or min(max(native, low), high), scene.name)


def check_masks(
    masks: Sequence[ModelMask],
    level: Level,
    gsd: Level,
    retry: RetryPolicy = ONCE,
    looked_at: tuple[GeoBox, Window] | None = None,
) -> None:
    """Hold what the networks of masks see to what they know, as before a run.

    Of a mosaic the pixels of the first member are looked at, as all have numbers of one meaning.

    Parameters
    ----------
    masks
        The masks.
    level, gsd
        What to do when the numbers, or the GSD, are unlike the training pixels.
    retry
        How often to read.
    looked_at
        The window of a grid that is looked at before a run; None: all of each scene.

    Raises
    ------
    PlanError
        When a check fails and its level is error.
    """
    seen = set()
    for mask in masks:
        card = mask.bundle.card
        checks.check_gsd(mask.scene, card, gsd)
        checks.check_level(mask.scene, card, level)
        if mask.bundle.sha256 not in seen:
            seen.add(mask.bundle.sha256)
            part = None if looked_at is None else mask.class_mask(None).part(*looked_at)
            checks.check_statistics(mask.scene if part is None else mask.scene.cut(part), card, level, retry)


def area_of(mask: ModelMask, target: GeoBox, windows: Sequence[Window], dilate: int) -> Aoi:
    """Return the part of a mask that windows of its scene need, as an area of interest.

    Parameters
    ----------
    mask
        The mask.
    target
        The grid of the windows.
    windows
        The windows, in pixels of the scene.
    dilate
        Pixels of the map by which classes are widened at most, by this mask or another one of the same map.
    """
    found = replace(mask.class_mask(None), dilate=dilate)
    parts = [found.part(target, w) for w in windows]
    boxes = [shapely.box(p.cols.start, p.rows.start, p.cols.stop, p.rows.stop) for p in parts]
    area = shapely.multipolygons(shapely.get_parts(shapely.normalize(shapely.union_all(boxes))))
    west, north, east, south = map(int, shapely.bounds(area))
    window = Window.of(north, west, south - north, east - west)
    rings = shapely.get_rings(shapely.get_parts(area))
    outline = Outline.of(shapely.get_coordinates(ring) - (west, north) for ring in rings)
    known: Any = shapely.to_wkb(area, byte_order=1)
    geobox = mask.scene.geobox

    def on_ground(xy: Any) -> Any:
        return np.column_stack(geobox.transform @ (xy[:, 0], xy[:, 1]))

    place: Any = shapely.transform(area, on_ground)
    return Aoi("what the map needs", place, window, outline, hashlib.sha256(known).hexdigest())
