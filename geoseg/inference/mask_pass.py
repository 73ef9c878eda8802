"""The pass of a network over a scene that finds what is masked before the map is made."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from geoseg.config.pipeline import Outputs, PostProcess, Tiling, Vectorize
from geoseg.core.geometry import Window
from geoseg.inference.masks import ModelMask, Needed, area_of
from geoseg.inference.memory import Memory
from geoseg.inference.plan import SLOTS, Execution, Plan, make_plan
from geoseg.models.bundle import Bundle
from geoseg.raster.staged_map import StagedMap
from geoseg.raster.staging import Staging, crs_wkt
from geoseg.scenes.class_masks import ClassMask
from geoseg.scenes.scene import Scene
from geoseg.storage.store import Store

_PART_BYTES, _WIDENED_BYTES, _STAGED_BYTES = 4, 32, 6
"""Bytes for each pixel of the part of a mask that a block reads, more where its classes are widened, and for
each pixel of a staged block that is decoded."""


@dataclass(frozen=True)
class MaskPass:
    """One pass: a plan of its own, whose blocks are staged beside those of the map.

    Masks of one plan, of other classes of one network for example, share their blocks.
    """

    mask: ModelMask
    plan: Plan
    """Without outputs."""

    def identity(self) -> dict[str, Any]:
        """Return what decides the masked pixels, as plain JSON values."""
        return {**self.mask.identity(), "fingerprint": self.plan.fingerprint}

    def staging(self, store: Store) -> Staging:
        """Return its finished blocks."""
        scene = self.plan.scene
        return Staging(
            store=store.resolved(),
            fingerprint=self.plan.fingerprint,
            crs=crs_wkt(scene.geobox.crs),
            transform=tuple(scene.geobox.transform)[:6],
            bands=("class", "confidence [%]"),
            prefix=f"mask-{self.plan.fingerprint[:16]}-",
        )

    def class_mask(self, store: Store) -> ClassMask:
        """Return the mask that reads its finished blocks."""
        return self.mask.class_mask(StagedMap(self.staging(store), self.plan.blocks, self.plan.scene.window))


def mask_passes(
    plan: Plan, masks: Sequence[ModelMask], execution: Callable[[Bundle], Execution]
) -> tuple[MaskPass, ...]:
    """Plan the passes of masks: of all of each scene, or of what the blocks of an area of interest need.

    Parameters
    ----------
    plan
        The plan of the map.
    masks
        Its masks.
    execution
        Where and how the network of a bundle runs.
    """
    needed = None if plan.aoi is None else needed_windows(plan)
    widest = max((m.dilate for m in masks), default=0)
    found = []
    for mask in masks:
        windows = None if needed is None else needed.get(mask.member, [])
        if windows == []:
            continue
        scene, target = mask.scene, plan.scene.members[mask.member].whole
        area = None if windows is None else area_of(mask, target, windows, widest)
        pipeline = plan.pipeline.model_copy(
            update={
                "model": mask.bundle.place,
                "scene": scene.name,
                "aoi": None,
                "bbox": None,
                "gsd": "auto",
                "tiling": Tiling(block=plan.pipeline.tiling.block),
                "inference": plan.pipeline.inference.model_copy(
                    update={"augment": "none", "thresholds": "none", "otherwise": "likeliest"}
                ),
                "postprocess": PostProcess(),
                "vectorize": Vectorize(),
                "outputs": Outputs(folder=str(plan.folder), confidence=False, polygons=()),
            }
        )
        part = scene if area is None else scene.cut(area.window)
        own = make_plan(pipeline, part, mask.bundle, plan.folder, execution(mask.bundle), area)
        found.append(MaskPass(mask, own))
    return tuple(found)


def needed_windows(plan: Plan) -> Needed:
    """Return the windows of the scene, or of the members of a mosaic, that the blocks of a plan read."""
    needed: Needed = {}
    for strip in plan.blocks.strips():
        for block in strip:
            for member, part in plan.scene.member_windows(block.reach):
                needed.setdefault(member, []).append(part)
    return needed


def masked_scene(scene: Scene, passes: Iterable[MaskPass], store: Store) -> Scene:
    """Return a scene that is masked by the finished blocks of passes."""
    found: dict[int, list[ClassMask]] = {}
    for one in passes:
        found.setdefault(one.mask.member, []).append(one.class_mask(store))
    return scene.with_class_masks(found) if found else scene


def memory_with(own: Memory, plan: Plan, passes: Sequence[MaskPass]) -> Memory:
    """Return the memory of a worker whose networks, of the map and of its masks, are all loaded.

    Forward passes of one backend share threads, and blocks share the slots of the worker; weights and fringes
    add up, since passes over several scenes run side by side.

    Parameters
    ----------
    own
        The memory of the network of the map alone.
    plan, passes
        The plan, and the passes of its masks.
    """
    others = {(p.plan.bundle.sha256, p.plan.backend, p.plan.device): p.plan for p in passes}
    memories = [p.memory for p in others.values()]
    forward: dict[tuple[str, int], int] = {}
    weights = 0
    for one, memory in ((plan, own), *zip(others.values(), memories, strict=True)):
        pool, held = (one.backend, one.passes), 4 * one.bundle.weights_bytes
        forward[pool] = max(forward.get(pool, 0), memory.network - held)
        weights += held
    return replace(
        own,
        base=max(m.base for m in (own, *memories)),
        network=weights + sum(forward.values()),
        blocks=max(m.blocks for m in (own, *memories)) + SLOTS * max(_read_bytes(plan, p) for p in passes),
        fringes=own.fringes + max(p.plan.memory.fringes for p in passes),
        conversion=max(m.conversion for m in (own, *memories)),
        device=own.device + sum(m.device for m in memories),
    )


def _read_bytes(plan: Plan, one: MaskPass) -> int:
    """Return the memory for reading the part of a mask that a block of the map needs."""
    axes = plan.blocks.rows, plan.blocks.cols
    height, width = (min(plan.block, a.tiles.count) * a.tiles.stride + a.tiles.overlap for a in axes)
    target = plan.scene.members[one.mask.member].whole
    part = one.mask.class_mask(None).part(target, Window.of(0, 0, height, width).clip(tuple(target.shape)))
    each = _PART_BYTES + (_WIDENED_BYTES if one.mask.dilate else 0)
    blocks = one.plan.blocks
    core = max(len(blocks.rows.core(i)) for i in range(min(2, blocks.rows.count)))
    core *= max(len(blocks.cols.core(i)) for i in range(min(2, blocks.cols.count)))
    return each * part.shape[0] * part.shape[1] + _STAGED_BYTES * core


def summary_of(passes: Sequence[MaskPass]) -> list[dict[str, Any]]:
    """Return the passes for people and for `--json`: one line for each network and list of classes."""
    return [
        {
            "model": mask.bundle.card.name,
            "classes": mask.slugs,
            **({"dilate": mask.dilate} if mask.dilate else {}),
            "scenes": len(plans),
            "gsd_m": mask.scene.gsd_m,
            "tile": list(plans[0].grid.tile_shape),
            "tiles": sum(p.blocks.tiles for p in plans),
            "blocks": sum(p.blocks.count for p in plans),
            "backend": plans[0].backend,
            "sha256": mask.bundle.sha256,
        }
        for mask, plans in alike(passes)
    ]


def alike(passes: Sequence[MaskPass]) -> list[tuple[ModelMask, list[Plan]]]:
    """Return the plans of passes that mask the same classes of one network, such as over all members."""
    groups: dict[tuple[Any, ...], tuple[ModelMask, list[Plan]]] = {}
    for one in passes:
        mask = one.mask
        key = mask.bundle.sha256, mask.invalid, mask.dilate
        groups.setdefault(key, (mask, []))[1].append(one.plan)
    return list(groups.values())
