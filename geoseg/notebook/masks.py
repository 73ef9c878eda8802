"""Masks from models for lazy scenes: the map of another network as a lazy array."""

from dataclasses import replace
from typing import Any

import numpy as np
from dask.base import tokenize
from numpy.typing import NDArray

import geoseg
from geoseg.config.pipeline import Inference, Reading, Tiling
from geoseg.inference.masks import ModelMask, check_masks, model_masks
from geoseg.inference.plan import automatic_batch, automatic_block, grid_of
from geoseg.inference.predict import Job
from geoseg.inference.retry import RetryPolicy
from geoseg.models.backends.auto import device_for
from geoseg.notebook.graph import lazy_planes
from geoseg.notebook.place import choose_place
from geoseg.scenes.chunks import LazyMap
from geoseg.scenes.class_masks import ClassMask
from geoseg.scenes.scene import Scene
from geoseg.tiling.blocks import BlockGrid

RETRY = RetryPolicy(Reading().tries, Reading().wait)
"""As of a run."""


def masked_lazily(scene: Scene) -> Scene:
    """Return a scene with the masks from models that its entry asks for, to be computed when they are needed.

    A sample of the scene is read for each network, and what is unlike its training pixels is told.

    Raises
    ------
    GeosegError
        When a bundle, a class or a band is missing; see `geoseg.inference.masks.model_masks`.
    """
    masks = model_masks(scene)
    if not masks:
        return scene
    check_masks(masks, "warn", "warn", RETRY)
    found: dict[int, list[ClassMask]] = {}
    for mask in masks:
        found.setdefault(mask.member, []).append(mask.class_mask(LazyMap(_class_map(mask))))
    return scene.with_class_masks(found)


def _class_map(mask: ModelMask) -> Any:
    """Return the lazy class map of a mask, shape (rows, cols), uint8."""
    bundle = mask.bundle
    scene = replace(mask.scene.with_absolute_paths(), entry=None)
    grid = grid_of(scene, Tiling(), bundle.card)
    side = automatic_block(grid)
    # As in a run, where the network of the map may have another precision.
    inference = Inference(device=device_for(bundle, "auto"), precision="fp32")
    place = choose_place(inference, bundle, scene.shape[0] * scene.shape[1], lazy=True)
    job = Job(
        scene=scene,
        segmenter=place.segmenter,
        legend=bundle.card.legend,
        grid=grid,
        batch=automatic_batch(grid, side, place.segmenter.device),
        probabilities=False,
        retry=RETRY,
    )
    facts = scene.identity(), bundle.sha256, str(place.segmenter), side, job.batch
    token = tokenize(geoseg.__version__, *facts)
    blocks, turned = BlockGrid.of(grid, side), (False, False)
    planes, _ = lazy_planes(
        [scene], job, blocks, f"mask-{token}", resources=place.resources, turns=place.here, turned=turned
    )
    return planes.array("class", _classes, "u1")


def _classes(planes: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return np.asarray(planes[0])
