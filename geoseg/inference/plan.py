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
from geoseg.models.bundle import Bundle
from geoseg.models.card import CardTile
from geoseg.models.segmenter import SegmenterSpec
from geoseg.raster import GDAL_CACHE_MB
from geoseg.raster.scene import Scene
from geoseg.tiling.blocks import BlockGrid
from geoseg.tiling.grid import TileAxis, TileGrid

SLOTS = 2
"""Blocks that a worker handles at once: one is read while the other is computed."""

BLOCK_PIXELS = 1024
"""Side of an automatic block, about."""

GPU_BATCH_PIXELS = 1 << 22
"""Pixels of an automatic batch on a GPU: four tiles of 1024 px. A CPU gains nothing from batches."""

# Memory of a worker, measured (tests/benchmarks/memory.py): what Python, GDAL, Dask and the backend take
# before any pixel is read, and what a forward pass takes for each byte of torch's live tensors: torch keeps
# scratch and reordered copies, OpenVINO uses the same memory again.
BASE_BYTES = {"torch": 950_000_000, "openvino": 650_000_000}
FORWARD_FACTOR = {"torch": 1.6, "openvino": 1.0}
DEFAULT_FORWARD_BYTES_PER_PIXEL = 1500.0
# Polygons come row by row of blocks. For each pixel of a row, maps with a region for every 480 pixels took
# 30 bytes and with one for every 56 pixels 70; noise, which no network that learned draws, takes 1000.
# A region takes 400 bytes while small ones are joined, an object as much; 50 pixels for each are assumed.
POLYGON_ROWS = 1024
POLYGON_BYTES_PER_PIXEL = 128
REGION_BYTES_PER_PIXEL = 8
OBJECT_PIXELS, OBJECT_BYTES_PER_PIXEL = 2**24, 60
# The picture of the scene: three bands of up to 3072 px a side, read by 256 rows of the scene; its colours.
PICTURE_PIXELS, PICTURE_ROWS = 3072**2, 256


@dataclass(frozen=True)
class PolygonCost:
    """What making polygons takes in memory, in bytes a pixel."""

    row: int = 0
    """For each pixel of a row of blocks."""
    scene: int = 0
    """For each pixel of the scene: numbers of its regions."""
    region: int = 0
    """For each pixel of the largest region, where regions are cut into objects."""

    @classmethod
    def of(cls, pipeline: Pipeline) -> "PolygonCost":
        """Return what a pipeline asks for."""
        vectorize, outputs = pipeline.vectorize, pipeline.outputs
        objects = vectorize.instances is not None and bool(outputs.polygons or outputs.instances)
        return cls(
            row=POLYGON_BYTES_PER_PIXEL if outputs.polygons else 0,
            scene=REGION_BYTES_PER_PIXEL if vectorize.minimum_area or objects else 0,
            region=OBJECT_BYTES_PER_PIXEL if objects else 0,
        )

    def bytes(self, shape: tuple[int, int]) -> int:
        """Return the memory for a scene of so many rows and columns."""
        rows, cols = shape
        return (
            self.row * min(rows, POLYGON_ROWS) * cols
            + self.scene * rows * cols
            + self.region * min(rows * cols, OBJECT_PIXELS)
        )


@dataclass(frozen=True)
class Memory:
    """What one worker needs at most, in bytes."""

    base: int
    """Libraries."""
    network: int
    """Weights and the working memory of a forward pass."""
    blocks: int
    """Pixels, batches and sums of the blocks in hand."""
    fringes: int
    """What finished blocks keep for their neighbours."""
    cache: int
    """GDAL's cache of internal tiles."""
    polygons: int
    """A row of blocks and its polygons, after the network is done; numbers of all regions where small ones
    are joined or objects numbered."""
    picture: int
    """The scene as people see it, read beside the polygons."""

    @property
    def total(self) -> int:
        """All that is held at the same time."""
        return max(self.leading, self.base + self.cache + self.network + self.blocks + self.fringes)

    @property
    def leading(self) -> int:
        """What the process that makes the outputs holds."""
        return self.base + self.cache + self.polygons + self.picture


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
            "backend": (self.backend, version(self.backend)),
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
        return _memory(self)

    def summary(self) -> dict[str, Any]:
        """Return the plan for people and for `--json`."""
        height, width = self.scene.shape
        memory = asdict(self.memory)
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
        What `auto` means on this machine: `cpu` or `cuda`, `torch` or `openvino`, and `fp32` unless asked
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
    auto_batch = 1 if device == "cpu" else max(1, GPU_BATCH_PIXELS // (height * width))
    return Plan(
        name=pipeline.name,
        scene=scene,
        bundle=bundle,
        grid=grid,
        block=max(1, round(BLOCK_PIXELS / stride)) if block == "auto" else block,
        batch=auto_batch if batch == "auto" else batch,
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


def _memory(plan: Plan) -> Memory:
    """Add up what one worker holds at the same time, each array at its largest."""
    card, grid = plan.bundle.card, plan.grid
    tile = grid.tile_shape[0] * grid.tile_shape[1]
    axes = plan.blocks.rows, plan.blocks.cols
    reach = _product(min(plan.block, a.tiles.count) * a.tiles.stride + a.tiles.overlap for a in axes)
    canvas = _product(max(len(a.canvas(i)) for i in {0, min(1, a.count - 1), a.count - 1}) for a in axes)
    core = _product(max(len(a.core(i)) for i in {0, min(1, a.count - 1), a.count - 1}) for a in axes)
    overlap = max(grid.rows.overlap, grid.cols.overlap)
    sums = 4 * plan.classes
    bands = len(plan.scene.bands)
    number = plan.scene.dtype.itemsize

    per_pixel = card.memory_bytes_per_pixel or DEFAULT_FORWARD_BYTES_PER_PIXEL
    # Each pass holds its batch as read, the live tensors, and probabilities on their way to the sums.
    batch = 2 * (bands * number + 1) + 4 * bands + per_pixel * FORWARD_FACTOR[plan.backend] + 3 * sums
    forward = plan.passes * plan.batch * tile * batch
    # Weights are held as read and as the network's own.
    network = int(forward) + 4 * plan.bundle.weights_bytes
    # A block's pixels (as read and with its reflected border), its sums, its classes and strips.
    planes = 2 + (plan.classes if plan.probabilities else 0)
    edge = sum(len(a.core(0)) * overlap * sums for a in axes)
    one = 2 * reach * (bands * number + 1) + canvas * sums + core * (2 * planes + 8) + 3 * edge
    blocks = SLOTS * one + core * planes * 3 + 3 * edge
    # Fringes of one line of blocks along the shorter side wait for the next line.
    along = min(axes, key=lambda a: a.count).tiles.length
    fringes = (along + 4 * overlap) * overlap * sums + 4 * edge
    polygons = plan.polygons.bytes(plan.scene.shape)
    rows, cols = plan.scene.shape
    seen = min(PICTURE_PIXELS, rows * cols)
    picture = 3 * number * (seen + 2 * min(PICTURE_ROWS, rows) * cols) + 4 * seen
    cache = GDAL_CACHE_MB * 1_000_000
    return Memory(BASE_BYTES[plan.backend], network, blocks, fringes, cache, polygons, picture)


def _product(values: Any) -> int:
    rows, cols = values
    return int(rows * cols)
