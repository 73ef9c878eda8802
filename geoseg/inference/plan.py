"""The plan of a run: arithmetic over scene, card and options. No pixel is read, no network loaded."""

import hashlib
import json
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from importlib.metadata import version
from typing import Any

import geoseg
from geoseg.config.pipeline import Pipeline, Tiling
from geoseg.core.errors import PlanError
from geoseg.inference.memory import Memory, PolygonCost, memory_of
from geoseg.models.backends.segmenter import LIBRARIES, SegmenterSpec
from geoseg.models.bundle import Bundle
from geoseg.models.card import CardTile
from geoseg.scenes.scene import Scene
from geoseg.tiling.blocks import BlockGrid
from geoseg.tiling.grid import TileAxis, TileGrid

SLOTS = 2
"""Blocks that a worker handles at once: one is read while the other is computed."""

BLOCK_PIXELS = 1024
"""Side of an automatic block, about."""

GPU_BATCH_PIXELS = 1 << 22
"""Pixels of an automatic batch on a GPU, at most: 16 tiles of 512 px. A CPU gains nothing from batches."""


@dataclass(frozen=True)
class Plan:
    """Everything that is decided before a run starts."""

    name: str
    scene: Scene
    bundle: Bundle
    grid: TileGrid
    block: int
    """Tiles along the side of a block."""
    batch: int
    device: str
    backend: str
    precision: str
    augment: str
    probabilities: bool
    polygons: PolygonCost
    workers: int
    passes: int
    """Forward passes that a worker runs at once; does not change the bytes."""
    unread: str = "error"
    """Whether a block that cannot be read is an `error` or `nodata`."""

    @property
    def blocks(self) -> BlockGrid:
        """The blocks."""
        return BlockGrid.of(self.grid, self.block)

    @property
    def classes(self) -> int:
        """Number of classes, C."""
        return len(self.bundle.card.classes)

    def identity(self) -> dict[str, Any]:
        """Return all that decides the bytes of the map; plain JSON values."""
        identity = {
            "geoseg": geoseg.__version__,
            "backend": (self.backend, version(LIBRARIES[self.backend])),
            "scene": self.scene.identity(),
            "model": {"name": self.bundle.card.name, "sha256": self.bundle.sha256},
            "tile": self.grid.tile_shape,
            "overlap": (self.grid.rows.overlap, self.grid.cols.overlap),
            "block": self.block,
            "batch": self.batch,
            "device": self.device.split(":")[0],
            "precision": self.precision,
            "augment": self.augment,
            "probabilities": self.probabilities,
            # Left out otherwise: fingerprints stay what they were.
            **({"unread": self.unread} if self.unread != "error" else {}),
        }
        return dict(json.loads(json.dumps(identity)))

    @property
    def segmenter(self) -> SegmenterSpec:
        """What a process needs to load the network."""
        return SegmenterSpec(
            folder=self.bundle.place,
            sha256=self.bundle.sha256,
            device=self.device,
            backend=self.backend,
            precision=self.precision,
            augment=self.augment,
            passes=self.passes,
        )

    @cached_property
    def fingerprint(self) -> str:
        """Sha256 over the identity as canonical JSON."""
        return hashlib.sha256(
            json.dumps(self.identity(), sort_keys=True, separators=(",", ":")).encode()
        ).hexdigest()

    @cached_property
    def memory(self) -> Memory:
        """What one worker needs at most."""
        return memory_of(self, SLOTS)

    def summary(self) -> dict[str, Any]:
        """Return the plan for people and for `--json`."""
        height, width = self.scene.shape
        memory = asdict(self.memory)
        if self.device == "cpu":
            del memory["device"]
        return {
            "name": self.name,
            "scene": self.scene.name,
            "width": width,
            "height": height,
            "gsd_m": self.scene.gsd_m,
            "bands": [b.name for b in self.scene.bands],
            "model": self.bundle.card.name,
            "architecture": self.bundle.architecture,
            "device": self.device,
            "backend": self.backend,
            "precision": self.precision,
            "tile": list(self.grid.tile_shape),
            "overlap": [self.grid.rows.overlap, self.grid.cols.overlap],
            "tiles": self.grid.count,
            "batch": self.batch,
            "blocks": self.blocks.count,
            "network_pixels_per_pixel": round(self.grid.network_pixels_per_pixel, 3),
            "workers": self.workers,
            "forward_passes_at_once": self.passes,
            "memory_per_worker_bytes": {**memory, "total": self.memory.total},
            "fingerprint": self.fingerprint,
        }


def make_plan(
    pipeline: Pipeline,
    scene: Scene,
    bundle: Bundle,
    *,
    device: str,
    backend: str,
    precision: str,
    workers: int,
    passes: int,
) -> Plan:
    """Decide everything about a run.

    Parameters
    ----------
    pipeline
        The document.
    scene
        The scene, its bands in network order.
    bundle
        The model bundle.
    device, backend, precision
        What `auto` means on this machine: `cpu` or `cuda`, a backend, and `fp32` unless asked
        otherwise.
    workers
        Number of worker processes.
    passes
        Forward passes that each worker runs at once.

    Raises
    ------
    PlanError
        When tile or overlap do not fit the network.
    """
    grid = make_grid(scene.shape, pipeline.tiling, bundle.card.tile)
    stride = min(grid.rows.stride, grid.cols.stride)
    height, width = grid.tile_shape
    batch, block = pipeline.inference.batch, pipeline.tiling.block
    side = max(1, round(BLOCK_PIXELS / stride)) if block == "auto" else block
    # A batch does not go beyond a block: it would be filled up with empty tiles.
    together = 1 if device == "cpu" else max(1, min(GPU_BATCH_PIXELS // (height * width), side**2))
    return Plan(
        name=pipeline.name,
        scene=scene,
        bundle=bundle,
        grid=grid,
        block=side,
        batch=together if batch == "auto" else batch,
        device=device,
        backend=backend,
        precision=precision,
        augment=pipeline.inference.augment,
        probabilities=pipeline.outputs.probabilities,
        polygons=PolygonCost.of(pipeline),
        workers=workers,
        passes=passes,
        unread=pipeline.reading.failed,
    )


def make_grid(shape: tuple[int, int], tiling: Tiling, card: CardTile) -> TileGrid:
    """Lay the tiles: sizes from the card unless the pipeline says otherwise, shrunk to the scene.

    Parameters
    ----------
    shape
        Height and width of the scene in pixels.
    tiling
        What the pipeline asks for.
    card
        What the network was measured with.

    Raises
    ------
    PlanError
        When the sizes do not fit the network.
    """
    tile = card.size if tiling.tile == "auto" else tiling.tile
    if not card.min <= tile <= card.max or tile % card.divisor:
        raise PlanError(
            f"tiling.tile: {tile} does not fit the network: it takes multiples of {card.divisor} from "
            f"{card.min} to {card.max}"
        )
    # A stride of whole divisors keeps the network's internal grids of all tiles in step.
    fitting = tile // 2 // card.divisor * card.divisor // 2 * 2
    overlap = min(card.overlap, fitting) if tiling.overlap == "auto" else tiling.overlap
    if 2 * overlap > tile:
        raise PlanError(
            f"tiling.overlap: {overlap} is more than half of the tile ({tile}); use at most {tile // 4 * 2}"
        )
    rows, cols = (TileAxis(n, tile, overlap).shrink(card.divisor, card.min) for n in shape)
    return TileGrid(rows, cols)


def check_memory(plan: Plan, tiling: Tiling, available: int, origin: str = "are free") -> str | None:
    """Return one line when the plan does not fit into memory, else None.

    Parameters
    ----------
    plan
        The plan.
    tiling
        What the pipeline asks for, to say what would fit.
    available
        Memory in bytes that all workers share.
    origin
        Why it is so much, for the message.
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
    """Return one line when a batch does not fit into what is free on the GPU, else None.

    Parameters
    ----------
    plan
        The plan.
    free
        Bytes; None where nobody knows.
    """
    if free is None or plan.memory.device <= free:
        return None
    batch = plan.batch
    while batch > 1 and replace(plan, batch=batch).memory.device > free:
        batch //= 2
    needed = f"a batch of {plan.batch} takes about {plan.memory.device / 1e9:.1f} GB"
    fits = replace(plan, batch=batch).memory.device <= free
    return f"{needed} on the GPU, of which {free / 1e9:.1f} GB are free; " + (
        f"batches are halved until they fit; --set inference.batch={batch} does so from the start"
        if fits
        else "not even one tile may fit; a smaller one needs less: --set tiling.tile=256"
    )


def _advice(plan: Plan, tiling: Tiling, available: int) -> str:
    """Return what would make a plan fit: the smallest change of the pipeline first."""
    card = plan.bundle.card.tile
    current = max(plan.grid.tile_shape)
    smaller = range(current // card.divisor * card.divisor - card.divisor, card.min - 1, -card.divisor)
    few = {"tiling.block": 1, "inference.batch": 1}
    tries: list[tuple[dict[str, Any], Plan]] = [
        ({"outputs.polygons": "[]"}, replace(plan, polygons=PolygonCost())),
        (few, replace(plan, block=1, batch=1)),
    ]
    for tile in smaller:
        overlap = tiling.overlap if tiling.overlap == "auto" else min(tiling.overlap, tile // 4 * 2)
        grid = make_grid(plan.scene.shape, Tiling(tile=tile, overlap=overlap), card)
        changes: dict[str, Any] = {"tiling.tile": tile, **few}
        if overlap != tiling.overlap:
            changes["tiling.overlap"] = overlap
        tries.append((changes, replace(plan, grid=grid, block=1, batch=1)))
    for changes, attempt in tries:
        if attempt.memory.total * plan.workers <= available:
            return "this would fit: " + " ".join(f"--set {k}={v}" for k, v in changes.items())
    return "no smaller tile fits either; free some memory or use fewer workers"


def fewer_passes(plan: Plan, available: int) -> Plan:
    """Return the plan with as many forward passes at once as have work and fit into memory, at least one."""
    most = min(plan.passes, SLOTS * -(-(plan.block**2) // plan.batch))
    for passes in range(most, 1, -1):
        attempt = replace(plan, passes=passes)
        if attempt.memory.total * plan.workers <= available:
            return attempt
    return replace(plan, passes=1)
