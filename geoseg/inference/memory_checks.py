"""Whether a plan fits into the memory of its workers, and which smaller plan would."""

from dataclasses import replace
from typing import Any

from geoseg.config.pipeline import Tiling
from geoseg.inference.plan import SLOTS, Plan, grid_of


def check_memory(plan: Plan, tiling: Tiling, available: int, origin: str = "are free") -> str | None:
    """Return a message when the plan does not fit into memory, else None.

    Parameters
    ----------
    plan
        The plan.
    tiling
        The tiling options of the pipeline, for advice on what would fit.
    available
        Memory in bytes that all workers share.
    origin
        End of the clause "but N GB ...": where the number comes from, for the message.
    """
    needed = plan.memory.total * plan.workers
    if needed <= available:
        return None
    height, width = plan.grid.tile_shape
    return (
        f"the run needs {needed / 1e9:.2f} GB of memory (workers: {plan.workers}, tile: {height} x {width}), "
        f"but {available / 1e9:.2f} GB {origin}; {_advice(plan, tiling, available)}"
    )


def check_device_memory(plan: Plan, free: int | None) -> str | None:
    """Return a message when a batch does not fit into the free memory of the GPU, else None.

    Parameters
    ----------
    plan
        The plan.
    free
        Free memory of the GPU in bytes; None when it is unknown.
    """
    if free is None or plan.memory.device <= free:
        return None
    batch = plan.batch
    while batch > 1 and _with_batch(plan, batch).memory.device > free:
        batch //= 2
    needed = f"a batch of {plan.batch} takes about {plan.memory.device / 1e9:.1f} GB"
    fits = _with_batch(plan, batch).memory.device <= free
    return f"{needed} on the GPU, of which {free / 1e9:.1f} GB are free; " + (
        f"batches are halved until they fit; --set inference.batch={batch} does so from the start"
        if fits
        else "not even one tile may fit; a smaller one needs less: --set tiling.tile=256"
    )


def _advice(plan: Plan, tiling: Tiling, available: int) -> str:
    """Return the options that make a plan fit; small changes are tried first."""
    card = plan.bundle.card.tile
    current = 0 if plan.bundle.card.resize else max(plan.grid.tile_shape)
    smaller = range(current // card.divisor * card.divisor - card.divisor, card.min - 1, -card.divisor)
    few = {"tiling.block": 1, "inference.batch": 1}
    tries: list[tuple[dict[str, Any], Plan]] = [
        ({"outputs.polygons": "[]"}, replace(plan, polygons=plan.polygons.without())),
        (few, _with_small_blocks(plan)),
    ]
    for tile in smaller:
        overlap = tiling.overlap if tiling.overlap == "auto" else min(tiling.overlap, tile // 4 * 2)
        grid = grid_of(plan.scene, Tiling(tile=tile, overlap=overlap), plan.bundle.card)
        changes: dict[str, Any] = {"tiling.tile": tile, **few}
        if overlap != tiling.overlap:
            changes["tiling.overlap"] = overlap
        tries.append((changes, _with_small_blocks(replace(plan, grid=grid))))
    for changes, attempt in tries:
        if attempt.memory.total * plan.workers <= available:
            return "this would fit: " + " ".join(f"--set {k}={v}" for k, v in changes.items())
    return "no smaller tile fits either; free some memory or use fewer workers"


def _with_small_blocks(plan: Plan) -> Plan:
    """Return a plan with blocks and batches of one tile, of its masks, too."""
    masks = tuple(replace(m, plan=replace(m.plan, block=1, batch=1)) for m in plan.masks)
    return replace(_with_batch(plan, 1), block=1, masks=masks)


def _with_batch(plan: Plan, batch: int) -> Plan:
    """Return a plan with batches of at most so many tiles."""
    others = tuple(replace(o, batch=min(o.batch, batch)) for o in plan.others)
    return replace(plan, batch=min(plan.batch, batch), others=others)


def fit_passes(plan: Plan, available: int) -> Plan:
    """Return the plan with as many concurrent forward passes as have work and fit into memory."""
    for passes in range(max(map(_most_passes, (plan, *(m.plan for m in plan.masks)))), 1, -1):
        attempt = _with_passes(plan, passes)
        if attempt.memory.total * plan.workers <= available:
            return attempt
    return _with_passes(plan, 1)


def _most_passes(plan: Plan) -> int:
    """Return how many forward passes have work at the same time."""
    return min(plan.passes, SLOTS * -(-(plan.block**2) // plan.batch))


def _with_passes(plan: Plan, passes: int) -> Plan:
    """Return a plan that runs at most so many forward passes at once, and its masks as many."""
    masks = (replace(m, plan=replace(m.plan, passes=min(passes, _most_passes(m.plan)))) for m in plan.masks)
    most = min(passes, _most_passes(plan))
    others = tuple(replace(o, passes=min(o.passes, passes)) for o in plan.others)
    return replace(plan, passes=most, masks=tuple(masks), others=others)
