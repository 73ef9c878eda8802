"""How much memory a run announces: all arrays of one worker at the same time, each at its largest."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

from geoseg.config.pipeline import Pipeline
from geoseg.core.process import GDAL_CACHE_MB
from geoseg.raster.postprocess.passes import BLOCK
from geoseg.raster.postprocess.sieve import MARGIN, widest_margin
from geoseg.raster.postprocess.steps import NO_STEPS, Steps
from geoseg.tiling.blocks import BlockGrid

# Measured with tests/benchmarks/memory.py, inductor on the sample scene: the memory of Python, GDAL, Dask and
# the backend before any pixel is read, and of a forward pass for each byte of torch's live tensors. Torch
# keeps scratch and reordered copies; OpenVINO reuses the same memory.
BASE_BYTES = {
    "torch": 1_050_000_000, "inductor": 1_300_000_000, "openvino": 450_000_000, "onnxruntime": 1_150_000_000,
}  # fmt: skip
FORWARD_FACTOR = {"torch": 1.6, "inductor": 1.6, "openvino": 1.0, "onnxruntime": 1.6}
# On a GPU: room for cuDNN's workspaces and for the fragmentation of the allocator. Not measured yet.
DEVICE_FACTOR = 1.3
DEFAULT_FORWARD_BYTES_PER_PIXEL = 1500.0
# The process that converts a network for OpenVINO: torch, OpenVINO and the trace, and copies of the weights.
CONVERSION_BYTES, CONVERSION_WEIGHTS = 1_100_000_000, 8
# Polygons are made row by row of blocks, of fewer rows where the map is noise. Measured bytes for each pixel
# of a row: 30 with one region for every 480 pixels, 70 with one for every 56, and 1000 for noise. A region
# takes 400 bytes while small ones are merged, and so does an object; one for every 50 pixels is assumed.
# Batches of features, their arrays and the spatial index take up to 100 MB; the libraries and kernels that
# trace and write them, measured on a map of 400 x 400 px, 120 MB.
POLYGON_ROWS = 1024
POLYGON_LIBRARY_BYTES = 120_000_000
FEATURE_BYTES, FEATURE_BYTES_PER_PIXEL = 100_000_000, 100
POLYGON_BYTES_PER_PIXEL = 128
REGION_BYTES_PER_PIXEL = 8
OBJECT_PIXELS, OBJECT_BYTES_PER_PIXEL = 2**24, 60
# Post-processing, in bytes a pixel: a row of blocks with their margins where the map is noise, and one wide
# window where it has large regions.
FILTER_BYTES, SIEVE_BYTES, WIDE_BYTES = 20, 90, 12
# Objects of a network that detects them: windows of them are painted, with their validity; of each object a
# row is kept in memory until the outputs are made.
PAINTED_PIXELS, PAINTED_BYTES_PER_PIXEL = 1026**2, 24
FOUND_BYTES = 250
# A detection beside its mask, as an object of Python with what is related to it.
DETECTION_BYTES = 2_000
# The picture of the scene: three bands of up to 3072 px a side, read by 256 rows; and its colours.
PICTURE_PIXELS, PICTURE_ROWS = 3072**2, 256
# Of a file without overviews up to 2048 px a side are read for a window of it.
PICTURE_WINDOW = 2048**2


@dataclass(frozen=True)
class PolygonCost:
    """Memory for making polygons, in bytes a pixel."""

    row: int = 0
    """Bytes for each pixel of a row of blocks."""
    scene: int = 0
    """Bytes for each pixel of the scene: the numbers of its regions."""
    region: int = 0
    """Bytes for each pixel of the largest region, when regions are split into objects."""

    painted: int = 0
    """Bytes for each pixel of a window in which objects are painted."""

    @classmethod
    def of(cls, pipeline: Pipeline, *, objects: bool = False) -> "PolygonCost":
        """Return the cost of the polygons that a pipeline asks for; `objects`: the network finds them."""
        if objects:
            row = POLYGON_BYTES_PER_PIXEL if pipeline.outputs.polygons else 0
            return cls(row=row, painted=PAINTED_BYTES_PER_PIXEL)
        vectorize, outputs = pipeline.vectorize, pipeline.outputs
        objects = vectorize.instances is not None and bool(outputs.polygons or outputs.instances)
        return cls(
            row=POLYGON_BYTES_PER_PIXEL if outputs.polygons else 0,
            scene=REGION_BYTES_PER_PIXEL if vectorize.minimum_area or objects else 0,
            region=OBJECT_BYTES_PER_PIXEL if objects else 0,
        )

    def without(self) -> "PolygonCost":
        """Return the cost without polygons: objects are painted all the same."""
        return PolygonCost(painted=self.painted)

    def bytes(self, shape: tuple[int, int]) -> int:
        """Return the memory for a scene of a shape (rows, columns)."""
        rows, cols = shape
        return (
            (
                POLYGON_LIBRARY_BYTES + min(FEATURE_BYTES, FEATURE_BYTES_PER_PIXEL * rows * cols)
                if self.row
                else 0
            )
            + self.row * min(rows, POLYGON_ROWS) * cols
            + self.scene * rows * cols
            + self.region * min(rows * cols, OBJECT_PIXELS)
            + self.painted * min(rows * cols, PAINTED_PIXELS)
        )


def postprocess_bytes(steps: Steps, shape: tuple[int, int]) -> int:
    """Return the memory for the post-processing of a map of a shape (rows, columns)."""

    def row(margin: int) -> int:
        """Return the pixels of a row of blocks with their margins."""
        across = -(-shape[1] // BLOCK)
        return min(shape[0], BLOCK + 2 * margin) * min(shape[1] * across, shape[1] + 2 * margin * across)

    filters = FILTER_BYTES * row(steps.margin) if steps.majority or steps.closing else 0
    if not steps.sieve:
        return filters
    most = widest_margin(steps.sieve)
    wide = _product(min(n, BLOCK + 2 * most) for n in shape)
    return max(filters, SIEVE_BYTES * row(min(MARGIN, most)) + WIDE_BYTES * wide)


@dataclass(frozen=True)
class Memory:
    """The most memory that one worker needs, in bytes."""

    base: int
    """Python and the libraries."""
    network: int
    """Weights and the working memory of a forward pass."""
    blocks: int
    """Pixels and sums of the blocks that the worker handles at once."""
    fringes: int
    """Fringes that finished blocks keep for their neighbours."""
    cache: int
    """GDAL's cache of internal tiles."""
    polygons: int
    """A row of blocks and its polygons, after the network is unloaded; the numbers of all regions when small
    ones are merged or objects are numbered; before that, post-processing."""
    picture: int
    """The picture of the scene, which is read while polygons are made."""
    conversion: int = 0
    """The process that converts the network for OpenVINO in the first run of a bundle, before any pixel."""
    device: int = 0
    """On the GPU: weights, forward passes, pixels and sums of the blocks handled at once; 0 on a CPU. Not
    part of the total."""

    @property
    def total(self) -> int:
        """Peak of the main memory."""
        predicting = self.base + self.cache + self.network + self.blocks + self.fringes
        return max(self.leading, predicting, self.base + self.conversion)

    @property
    def leading(self) -> int:
        """Peak of the process that makes the outputs."""
        return self.base + self.cache + self.polygons + self.picture


@dataclass(frozen=True)
class Detections:
    """The objects that a network may find in a tile."""

    most: int
    """Their largest number."""
    side: float
    """Longer side of a large one, in pixels."""

    def bytes(self, tile: int, *, packed: bool = False) -> int:
        """Return the memory of those of one tile, of so many pixels; a mask has a byte for each, or a bit."""
        mask = min(tile, self.side**2)
        return int(self.most * ((mask / 8 if packed else mask) + DETECTION_BYTES))


@dataclass(frozen=True)
class Load:
    """All quantities that decide how much memory a worker needs."""

    shape: tuple[int, int]
    """Height and width of the scene in pixels."""
    blocks: BlockGrid
    side: int
    """Tiles along the side of a block."""
    batch: int
    passes: int
    """Forward passes that run at once."""
    slots: int
    """Blocks that the worker handles at once."""
    bands: int
    number_bytes: int
    """Bytes of one raw number of the scene."""
    classes: int
    """Channels whose sums are kept."""
    planes: int
    """Bytes of a pixel of the map, as its planes are decided or staged."""
    device: str
    backend: str
    weights_bytes: int
    forward_bytes_per_pixel: float | None
    """Live tensors of a forward pass, from the card; None when they were not measured."""
    polygons: PolygonCost
    postprocess: Steps = NO_STEPS
    converts: bool = False
    """Whether the network is converted for OpenVINO first."""
    beside: int = 0
    """Planes beside those of the map: the number of observations, and how far pixels are from the training
    pixels."""
    beside_bytes: int = 1
    """Bytes of a pixel of such a plane, as it is staged."""
    detections: Detections | None = None
    """What a network finds that detects objects; None of one that classifies pixels."""
    reading: Callable[[int], int] = lambda pixels: 0  # noqa: ARG005
    """Bytes for reading a window of so many pixels, beside those of its numbers."""
    resized: tuple[int, int] | None = None
    """Rows and columns to which tiles are resized for the network."""
    members: int = 1
    """Networks whose sums are kept."""


def memory_of_ensemble(first: Load, others: Sequence[Load]) -> Memory:
    """Add up the memory of a worker that has all networks of an ensemble loaded.

    Forward passes of one backend share threads; weights add up.

    Parameters
    ----------
    first
        The load of the first network, with the sums of all.
    others
        Those of the others.
    """
    # Without blocks, which are there once.
    parts = [memory_of(first), *(memory_of(replace(load, slots=0)) for load in others)]
    forward: dict[tuple[str, int], int] = {}
    for load, memory in zip((first, *others), parts, strict=True):
        pool = load.backend, load.passes
        forward[pool] = max(forward.get(pool, 0), memory.network - 4 * load.weights_bytes)
    return replace(
        parts[0],
        base=max(m.base for m in parts),
        network=sum(forward.values()) + sum(4 * load.weights_bytes for load in (first, *others)),
        conversion=max(m.conversion for m in parts),
        device=sum(m.device for m in parts),
    )


def memory_of(load: Load) -> Memory:
    """Add up all arrays that one worker holds at the same time, each at its largest."""
    axes = load.blocks.rows, load.blocks.cols
    rows, cols = (a.tiles for a in axes)
    tile = rows.tile * cols.tile
    reach = _product(min(load.side, a.tiles.count) * a.tiles.stride + a.tiles.overlap for a in axes)
    canvas = _product(max(len(a.canvas(i)) for i in {0, min(1, a.count - 1), a.count - 1}) for a in axes)
    cores = [max(len(a.core(i)) for i in {0, min(1, a.count - 1), a.count - 1}) for a in axes]
    core = _product(cores)
    overlap = max(rows.overlap, cols.overlap)
    # Objects are not summed.
    sums = 4 * load.classes if load.detections is None else 0
    detected, merged = _objects(load)
    number = load.number_bytes

    per_pixel = load.forward_bytes_per_pixel or DEFAULT_FORWARD_BYTES_PER_PIXEL
    # Each pass holds its batch as read, the live tensors, and the probabilities before they are summed.
    read = load.bands * number + 1
    around = 2 * read + 4 * load.bands + 3 * sums
    fed = tile if load.resized is None else _product(load.resized)
    if load.resized is not None:
        # Numbers and probabilities between the two sizes, one axis resized after the other.
        around += 8 * (load.bands + 1) + 2 * sums
    passed = per_pixel * FORWARD_FACTOR[load.backend]
    forward = load.passes * load.batch * (tile * around + fed * passed)
    # Weights are in memory twice: as read, and in the network.
    network = int(forward) + 4 * load.weights_bytes
    # A block's pixels, and buffers of that size kept for the next block; sums, classes and strips.
    planes = load.planes + load.beside * load.beside_bytes
    edge = sum(n * overlap * sums for n in cores)
    # A block of a single tile on a CPU keeps only its strips and fringe, of one network.
    held = 0 if load.side == 1 and load.device == "cpu" and load.members == 1 else canvas * sums
    one = 2 * reach * read + load.reading(reach) + held + core * (2 * planes + 8) + 3 * edge
    one += detected
    blocks = load.slots * one + core * planes * 3 + 3 * edge
    # Fringes of one line of blocks along the shorter side wait for the next line.
    along = min(axes, key=lambda a: a.count).tiles.length
    fringes = (along + 4 * overlap) * overlap * sums + 4 * edge
    height, width = load.shape
    seen = min(PICTURE_PIXELS, height * width)
    picture = 3 * number * (seen + 2 * min(PICTURE_ROWS, height) * width) + 4 * seen
    picture += load.reading(min(max(PICTURE_WINDOW, PICTURE_ROWS * width), height * width))
    device = 0
    if load.device != "cpu":
        passing = tile * (around - read) + fed * per_pixel * DEVICE_FACTOR
        device = int(load.passes * load.batch * passing) + load.weights_bytes
        device += load.slots * (reach * read + canvas * sums + core * (planes + 8))
    return Memory(
        base=BASE_BYTES[load.backend],
        network=network,
        blocks=blocks,
        fringes=fringes,
        cache=GDAL_CACHE_MB * 1_000_000,
        polygons=max(
            load.polygons.bytes(load.shape) + merged, postprocess_bytes(load.postprocess, load.shape)
        ),
        picture=picture,
        conversion=CONVERSION_BYTES + CONVERSION_WEIGHTS * load.weights_bytes if load.converts else 0,
        device=device,
    )


def _objects(load: Load) -> tuple[int, int]:
    """Return the memory of the detections of a block, and of those that are merged."""
    if load.detections is None:
        return 0, 0
    axes = load.blocks.rows, load.blocks.cols
    rows, cols = (a.tiles for a in axes)
    tiles, tile = _product(min(load.side, a.count) for a in (rows, cols)), rows.tile * cols.tile
    # As masks, and packed while they are written.
    block = tiles * (load.detections.bytes(tile) + load.detections.bytes(tile, packed=True))
    # Those along the edge of a strip of blocks are open, and of those that come; of each object a row stays.
    opened = 2 * max(rows.count, cols.count) + 4 * tiles
    table = FOUND_BYTES * rows.count * cols.count * load.detections.most
    return block, opened * load.detections.bytes(tile, packed=True) + table


def _product(values: Iterable[int]) -> int:
    rows, cols = values
    return int(rows * cols)
