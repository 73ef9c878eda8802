"""The plan of a run: arithmetic over scene, card and options. No pixel is read, no network loaded."""

import hashlib
import json
import warnings
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

import geoseg
from geoseg.config.cluster import Cluster
from geoseg.config.pipeline import Pipeline, PostProcess, Tiling
from geoseg.core.errors import ConfigError, GeosegWarning, PlanError
from geoseg.inference.detection import Detection
from geoseg.inference.heads import DOES, head_of
from geoseg.inference.memory import (
    Detections,
    Load,
    Memory,
    PolygonCost,
    memory_of,
    memory_of_ensemble,
)
from geoseg.inference.retry import RetryPolicy
from geoseg.inference.thresholds import resolve_thresholds
from geoseg.models.backends.spec import SegmenterSpec, library_version
from geoseg.models.bundle import Bundle
from geoseg.models.card import Card, CardDetection, CardTile
from geoseg.models.ensemble import Ensemble, Member, members_of
from geoseg.models.strangeness import Gauge, gauge_of, not_measured
from geoseg.raster.area import pixel_area_m2
from geoseg.raster.postprocess.steps import Steps, resolve_steps
from geoseg.scenes.aoi import Aoi
from geoseg.scenes.grid import crs_name
from geoseg.scenes.scene import Scene
from geoseg.tiling.blocks import BlockGrid
from geoseg.tiling.grid import TileAxis, TileGrid
from geoseg.tiling.heads import Head, ValueHead
from geoseg.tiling.thresholds import Thresholds
from geoseg.vector.recipe import Recipe, resolve_recipe

if TYPE_CHECKING:
    from geoseg.inference.mask_pass import MaskPass

SLOTS = 2
"""Blocks that a worker handles at once: one is read while the other is computed."""

BLOCK_PIXELS = 1024
"""Approximate side of an automatic block, in pixels."""

GPU_BATCH_PIXELS = 1 << 22
"""Most pixels of an automatic batch on a GPU: 16 tiles of 512 px. A CPU gains nothing from batches."""


INSIDE = "inside"
"""What the identity of a run says of tiles that are shifted back into a picture."""


@dataclass(frozen=True)
class Execution:
    """Where and how the network runs, with every `auto` of the pipeline resolved."""

    cluster: Cluster
    device: str
    """`cpu`, `cuda` or `cuda:N`."""
    backend: str
    precision: str
    workers: int
    """Worker processes."""
    passes: int
    """Forward passes that a worker runs at once."""
    converts: bool = False
    """Whether the network is converted for OpenVINO first."""


@dataclass(frozen=True)
class PlannedNetwork:
    """A network of a plan, and how it runs."""

    member: Member
    device: str
    backend: str
    precision: str
    batch: int
    passes: int
    """Forward passes that a worker runs at once; they do not change the bytes."""
    converts: bool = False
    """Whether the network is converted for OpenVINO first, which takes memory but changes no byte."""

    def segmenter(self, augment: str) -> SegmenterSpec:
        """Return the specification from which a process loads it."""
        bundle = self.member.bundle
        return SegmenterSpec(
            folder=bundle.place,
            sha256=bundle.sha256,
            device=self.device,
            backend=self.backend,
            precision=self.precision,
            augment=augment,
            passes=self.passes,
            trust=bundle.trusted,
        )

    def identity(self) -> dict[str, Any]:
        """Return what decides its answers."""
        return {
            "name": self.member.bundle.card.name,
            "sha256": self.member.bundle.sha256,
            "backend": (self.backend, library_version(self.backend)),
            "batch": self.batch,
            "device": self.device.split(":")[0],
            "precision": self.precision,
        }


@dataclass(frozen=True, repr=False)
class Plan:
    """Everything that is decided before a run starts."""

    pipeline: Pipeline
    """The document, with one scene."""
    scene: Scene
    """The scene, its bands in network order."""
    bundle: Bundle
    """The model; of an ensemble what its networks have in common."""
    folder: Path | str
    """The run folder: a path, or a URI."""
    cluster: Cluster
    """The cluster that runs the tasks, without `auto`."""
    recipe: Recipe
    """How polygons are made, in class ids and pixels."""
    postprocess: Steps
    """What is done to the class map first, in class ids and pixels."""
    thresholds: Thresholds | None
    """The rule by which a pixel gets its class; None: the most probable one."""
    grid: TileGrid
    block: int
    """Tiles along the side of a block."""
    batch: int
    device: str
    backend: str
    precision: str
    polygons: PolygonCost
    workers: int
    passes: int
    """Forward passes that a worker runs at once; they do not change the bytes."""
    converts: bool = False
    """Whether the network is converted for OpenVINO first, which takes memory but changes no byte."""
    warnings: tuple[str, ...] = ()
    """Warnings of the checks of the input."""
    ask_workers_for_memory: bool = False
    """Whether each worker must report that its machine has the announced memory."""
    aoi: Aoi | None = None
    """The area of interest, of which the scene is the part; None: all of the scene is mapped."""
    masks: "tuple[MaskPass, ...]" = ()
    """The passes of other networks that mask the scene first."""
    check_masked: bool = False
    """Whether the numbers of the scene, unlike the training pixels, are checked again when it is masked."""
    others: tuple[PlannedNetwork, ...] = ()
    """The networks of an ensemble after the first, of which the plan itself says how it runs."""

    def __repr__(self) -> str:
        height, width = self.scene.shape
        tiles = f"{self.blocks.tiles} tiles of {' x '.join(map(str, self.grid.tile_shape))}"
        return (
            f"<Plan {self.name}: {self.scene.name}, {width} x {height} px, {tiles} "
            f"in {self.blocks.count} blocks, {self.bundle.card.name} on {self.device}, up to "
            f"{self.memory.total / 1e9:.1f} GB for each of {self.workers} workers>"
        )

    @property
    def name(self) -> str:
        """Name of the run."""
        return self.pipeline.name

    @property
    def retry(self) -> RetryPolicy:
        """How windows that cannot be read are retried."""
        reading = self.pipeline.reading
        return RetryPolicy(reading.tries, reading.wait, nodata=reading.failed == "nodata")

    @property
    def probabilities(self) -> bool:
        """Whether the probability of every class is staged and written, in percent."""
        return self.pipeline.outputs.probabilities

    @property
    def strangeness(self) -> bool:
        """Whether how far each pixel is from the training pixels is staged."""
        outputs = self.pipeline.outputs
        return outputs.strangeness or (outputs.doubt and self.gauge is not None)

    @cached_property
    def gauge(self) -> Gauge | None:
        """What pixels are held to; None when the card does not say how the training pixels vary."""
        return gauge_of(self.bundle.card)

    @property
    def detection(self) -> Detection | None:
        """How objects are found; None when the network classifies pixels."""
        card = self.bundle.card.detection
        return None if card is None else Detection(self.pipeline.objects.reach, card.per_tile)

    @cached_property
    def blocks(self) -> BlockGrid:
        """The grid of blocks, of which an area of interest needs some."""
        outline = None if self.aoi is None else self.aoi.outline
        return BlockGrid.of(self.grid, self.block, outline, objects=self.detection is not None)

    @cached_property
    def head(self) -> Head:
        """What the network predicts for each pixel."""
        return head_of(
            self.bundle.card,
            every=self.probabilities,
            thresholds=self.thresholds,
            members=1 + len(self.others),
            disagreement=self.pipeline.outputs.disagreement,
        )

    @property
    def networks(self) -> tuple[PlannedNetwork, ...]:
        """The networks: one, or those of an ensemble in its order."""
        first = PlannedNetwork(
            members_of(self.bundle)[0],
            self.device,
            self.backend,
            self.precision,
            self.batch,
            self.passes,
            self.converts,
        )
        return first, *self.others

    def identity(self) -> dict[str, Any]:
        """Return everything that decides the bytes of the map, as plain JSON values."""
        identity = {
            "geoseg": geoseg.__version__,
            "backend": (self.backend, library_version(self.backend)),
            "scene": self.scene.identity(),
            "model": {"name": self.bundle.card.name, "sha256": self.bundle.sha256},
            "tile": self.grid.tile_shape,
            "overlap": (self.grid.rows.overlap, self.grid.cols.overlap),
            "block": self.block,
            "batch": self.batch,
            "device": self.device.split(":")[0],
            "precision": self.precision,
            "augment": self.pipeline.inference.augment,
            "probabilities": self.probabilities,
            # Only when it is set, so that older fingerprints stay valid.
            **({"strangeness": True} if self.strangeness else {}),
            **({"unread": "nodata"} if self.retry.nodata else {}),
            **({"members": [n.identity() for n in self.networks]} if self.others else {}),
            **({"disagreement": True} if self.pipeline.outputs.disagreement else {}),
            **({"aoi": self.aoi.sha256} if self.aoi is not None else {}),
            **({"masks": [m.identity() for m in self.masks]} if self.masks else {}),
            **({"thresholds": asdict(self.thresholds)} if self.thresholds is not None else {}),
            **({"postprocess": asdict(self.postprocess)} if self.postprocess else {}),
            **({"objects": self.pipeline.objects.model_dump()} if self.detection is not None else {}),
            **({"tiles": INSIDE} if self.grid.inside else {}),
        }
        return dict(json.loads(json.dumps(identity)))

    def _thresholds_in_words(self) -> str:
        """Return the thresholds for people."""
        asked, card = self.pipeline.inference, self.bundle.card
        shares = asked.thresholds if isinstance(asked.thresholds, dict) else card.thresholds
        listed = ", ".join(f"{slug} {share:g}" for slug, share in shares.items())
        return f"{listed}; otherwise {asked.otherwise}"

    @property
    def segmenter(self) -> SegmenterSpec:
        """The specification from which a process loads the network, of an ensemble the first one."""
        return self.segmenters[0]

    @property
    def segmenters(self) -> tuple[SegmenterSpec, ...]:
        """The specification of each network."""
        return tuple(n.segmenter(self.pipeline.inference.augment) for n in self.networks)

    @cached_property
    def fingerprint(self) -> str:
        """Sha256 over the identity as canonical JSON."""
        return hashlib.sha256(
            json.dumps(self.identity(), sort_keys=True, separators=(",", ":")).encode()
        ).hexdigest()

    @cached_property
    def memory(self) -> Memory:
        """The most memory that one worker needs, with the networks of masks."""
        first, *others = (self._load(n) for n in self.networks)
        own = memory_of_ensemble(first, others) if others else memory_of(first)
        if not self.masks:
            return own
        from geoseg.inference.mask_pass import memory_with  # noqa: PLC0415 (whose passes are plans)

        return memory_with(own, self, self.masks)

    def _load(self, network: PlannedNetwork) -> Load:
        """Return what decides the memory of a worker that runs one of the networks."""
        bundle, bands = network.member.bundle, len(self.scene.bands)
        if self.others:
            # Beside those that all networks see, a copy of those that one of them sees.
            bands += max(len(n.member.bands) for n in self.networks)
        return Load(
            shape=self.scene.shape,
            # Of any area of interest: its blocks are some of these.
            blocks=BlockGrid.of(self.grid, self.block),
            side=self.block,
            batch=network.batch,
            passes=network.passes,
            slots=SLOTS,
            bands=bands,
            number_bytes=self.scene.dtype.itemsize,
            classes=self.head.channels,
            planes=self.head.pixel_bytes,
            device=network.device,
            backend=network.backend,
            weights_bytes=bundle.weights_bytes,
            forward_bytes_per_pixel=bundle.card.memory_bytes_per_pixel,
            polygons=self.polygons,
            postprocess=self.postprocess,
            converts=network.converts,
            beside=self.scene.counts_observations + (self.gauge is not None),
            beside_bytes=np.dtype(self.head.staged_dtype).itemsize,
            detections=_detections(bundle.card.detection),
            reading=self.scene.reading_bytes,
            resized=bundle.card.resize,
            members=len(self.networks),
        )

    @cached_property
    def pixels(self) -> int:
        """Number of pixels that are mapped."""
        height, width = self.scene.shape
        return height * width if self.aoi is None else self.aoi.outline.count((height, width))

    def summary(self) -> dict[str, Any]:
        """Return the plan for people and for `--json`."""
        height, width = self.scene.shape
        predicted = self.blocks.tiles * self.grid.tile_shape[0] * self.grid.tile_shape[1]
        memory = asdict(self.memory)
        if self.device == "cpu":
            del memory["device"]
        masks: dict[str, Any] = {}
        if self.masks:
            from geoseg.inference.mask_pass import summary_of  # noqa: PLC0415 (as in `memory`)

            masks["masks"] = summary_of(self.masks)
        return {
            "name": self.name,
            "scene": self.scene.name,
            **({} if self.aoi is None else {"aoi": self.aoi.source}),
            "width": width,
            "height": height,
            "gsd_m": self.scene.gsd_m,
            "bands": [b.name for b in self.scene.bands],
            "model": self.bundle.card.name,
            **_what(self.bundle.card),
            "architecture": self.bundle.architecture,
            **({"members": [_member(n) for n in self.networks]} if self.others else {}),
            **masks,
            "device": self.device,
            "backend": self.backend,
            "precision": self.precision,
            "tile": list(self.grid.tile_shape),
            "overlap": [self.grid.rows.overlap, self.grid.cols.overlap],
            "tiles": self.blocks.tiles,
            "batch": self.batch,
            **({} if self.detection is None else {"detections_per_tile": self.detection.per_tile}),
            "blocks": self.blocks.count,
            **({} if self.thresholds is None else {"thresholds": self._thresholds_in_words()}),
            **(
                {"postprocess": self.postprocess.in_words(self.bundle.card.legend)}
                if self.postprocess
                else {}
            ),
            "network_pixels_per_pixel": round(predicted / self.pixels, 3),
            "workers": self.workers,
            "forward_passes_at_once": self.passes,
            "memory_per_worker_bytes": {**memory, "total": self.memory.total},
            "fingerprint": self.fingerprint,
        }


def _member(network: PlannedNetwork) -> dict[str, Any]:
    """Return a network of an ensemble for people and for `--json`."""
    bundle = network.member.bundle
    return {
        "model": f"{bundle.card.name} {bundle.card.version}",
        "architecture": bundle.architecture,
        "bands": [b.common_name for b in bundle.card.bands],
        "device": network.device,
        "backend": network.backend,
        "precision": network.precision,
        "sha256": bundle.sha256,
    }


def _what(card: Card) -> dict[str, Any]:
    """Return what a network predicts, where it is no class map."""
    if card.target is not None:
        head = ValueHead(card.target.min, card.target.max)
        return {"values": f"{card.target.label}, {head.low:g} to {head.high:g} in steps of {head.step:.3g}"}
    if card.task == "multilabel":
        pairs = zip(card.classes, card.limits, strict=True)
        return {"labels": {c.slug: f"from {limit:g} on" for c, limit in pairs}}
    return {}


def make_plan(
    pipeline: Pipeline,
    scene: Scene,
    bundle: Bundle,
    folder: Path | str,
    execution: Execution,
    aoi: Aoi | None = None,
    others: Sequence[Execution] = (),
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
    folder
        The run folder, or its URI.
    execution
        Where and how the network runs.
    aoi
        The area of interest, of which the scene is the part.
    others
        Where and how the networks of an ensemble after the first run.

    Raises
    ------
    PlanError
        When tile or overlap do not fit the network.
    ConfigError
        When the requested polygons cannot be made from this scene.
    """
    _check_task(pipeline, bundle)
    recipe = _recipe(pipeline, scene, bundle)
    steps = resolve_steps(pipeline.postprocess, bundle.card.legend, _pixel_m2(scene))
    grid = grid_of(scene, pipeline.tiling, bundle.card)
    _warn_of_large_objects(bundle, grid)
    batch, block = pipeline.inference.batch, pipeline.tiling.block
    side = automatic_block(grid) if block == "auto" else block

    def batch_on(device: str) -> int:
        return automatic_batch(grid, side, device) if batch == "auto" else batch

    return Plan(
        pipeline=pipeline,
        scene=scene,
        bundle=bundle,
        folder=folder,
        cluster=execution.cluster,
        recipe=recipe,
        postprocess=steps,
        thresholds=resolve_thresholds(pipeline.inference, bundle.card),
        grid=grid,
        block=side,
        batch=batch_on(execution.device),
        device=execution.device,
        backend=execution.backend,
        precision=execution.precision,
        polygons=PolygonCost.of(pipeline, objects=bundle.card.task == "instances"),
        workers=execution.workers,
        passes=execution.passes,
        converts=execution.converts,
        aoi=aoi,
        others=tuple(
            PlannedNetwork(m, e.device, e.backend, e.precision, batch_on(e.device), e.passes, e.converts)
            for m, e in zip(members_of(bundle)[1:], others, strict=True)
        ),
    )


def _detections(card: CardDetection | None) -> Detections | None:
    return None if card is None else Detections(card.per_tile, card.object_px.p99)


def automatic_block(grid: TileGrid) -> int:
    """Return the tiles along the side of a block that make about `BLOCK_PIXELS`."""
    return max(1, round(BLOCK_PIXELS / min(grid.rows.stride, grid.cols.stride)))


def automatic_batch(grid: TileGrid, side: int, device: str) -> int:
    """Return the tiles of a forward pass; a batch larger than a block would be padded with empty tiles."""
    height, width = grid.tile_shape
    return 1 if device == "cpu" else max(1, min(GPU_BATCH_PIXELS // (height * width), side**2))


def _check_task(pipeline: Pipeline, bundle: Bundle) -> None:
    """Raise a ConfigError when a pipeline asks for what a network does not answer."""
    vectorize, outputs, name = pipeline.vectorize, pipeline.outputs, bundle.card.name
    task = bundle.card.task
    asked = {"postprocess": pipeline.postprocess != PostProcess()}
    of_pixels = {
        "vectorize.instances": vectorize.instances is not None,
        "vectorize.dissolve": vectorize.dissolve,
        "outputs.probabilities": outputs.probabilities,
        "inference.augment": pipeline.inference.augment != "none",
    }
    if task == "instances":
        asked |= of_pixels | {"outputs.strangeness": outputs.strangeness, "outputs.doubt": outputs.doubt}
    if task != "classes" and (key := next((k for k, yes in asked.items() if yes), None)):
        raise ConfigError(f"{key}: {name} {DOES[task]}; leave it out")
    if outputs.coco and task != "instances":
        raise ConfigError(f"outputs.coco: is for models that find objects; {name} {DOES[task]}; leave it out")
    if outputs.strangeness and isinstance(bundle, Ensemble):
        raise ConfigError(
            "outputs.strangeness: is of the training pixels of one network; run a network of the ensemble by "
            "itself, or leave it out"
        )
    if outputs.strangeness and gauge_of(bundle.card) is None:
        raise ConfigError(f"outputs.strangeness: {not_measured(bundle.card)}")
    if outputs.disagreement and not isinstance(bundle, Ensemble):
        raise ConfigError(
            "outputs.disagreement: is of the networks of an ensemble, and there is one; list several: "
            "model: [a, b]"
        )
    if outputs.doubt and task != "classes" and gauge_of(bundle.card) is None:
        # Without a class there is no confidence.
        raise ConfigError(f"outputs.doubt: {not_measured(bundle.card)}")
    if task == "classes" and outputs.instances and vectorize.instances is None:
        raise ConfigError("outputs.instances needs vectorize.instances, which says what an object is")


def _warn_of_large_objects(bundle: Bundle, grid: TileGrid) -> None:
    """Warn when one in a hundred of the training objects or more are larger than the overlap of tiles."""
    found, overlaps = bundle.card.detection, [a.overlap for a in (grid.rows, grid.cols) if a.count > 1]
    if found is not None and overlaps and found.object_px.p99 > min(overlaps):
        fate = "such objects are joined from parts" if min(overlaps) else "objects stay cut between tiles"
        warnings.warn(
            f"one in a hundred objects is longer than {found.object_px.p99:.0f} px, and tiles overlap by "
            f"{min(overlaps)} px: {fate}; a larger tiling.overlap shows more of them whole",
            GeosegWarning,
            stacklevel=2,
        )


def _pixel_m2(scene: Scene) -> float | None:
    """Return the area of a pixel in the middle of a scene, None without a CRS."""
    areas = pixel_area_m2(scene.geobox)
    return None if areas is None else float(areas[len(areas) // 2])


def _recipe(pipeline: Pipeline, scene: Scene, bundle: Bundle) -> Recipe:
    pixel = _pixel_m2(scene)
    gsd = None if pixel is None else scene.gsd_m
    crs, placed = scene.geobox.crs, {"geojson", "pmtiles"}.intersection(pipeline.outputs.polygons)
    # The engineering CRS of a survey has no way to longitude and latitude.
    local = crs is not None and crs.proj.geodetic_crs is None
    if placed and (crs is None or local):
        lacking = f"the CRS of the scene ({crs_name(crs)}) has none" if local else "the scene has no CRS"
        need = "need" if len(placed) > 1 else "needs"
        raise ConfigError(
            f"outputs.polygons: {' and '.join(sorted(placed))} {need} a place on the earth, but {lacking}; "
            "write gpkg, parquet or fgb"
        )
    if local and pipeline.vectorize.crs is not None:
        raise ConfigError(
            f"vectorize.crs: the CRS of the scene ({crs_name(crs)}) has no place on the earth to come from; "
            "leave it out"
        )
    finds_objects = bundle.card.task == "instances"
    return resolve_recipe(pipeline.vectorize, bundle.card.legend, gsd, pixel, finds_objects=finds_objects)


def grid_of(scene: Scene, tiling: Tiling, card: Card) -> TileGrid:
    """Lay out the tiles of a scene; of a part, those of the whole. Errors as `make_grid`.

    Of a scene without a CRS, a picture, the tiles lie inside it: its map is then made of its own pixels, and
    not of their mirror image. Other scenes keep their grid, so that their maps stay the same byte for byte.
    """
    shape: tuple[int, int] = tuple(scene.whole.shape)
    if card.resize is not None:
        return whole_grid(shape, tiling).cut(scene.window)
    return make_grid(shape, tiling, card.tile, inside=scene.geobox.crs is None).cut(scene.window)


def whole_grid(shape: tuple[int, int], tiling: Tiling) -> TileGrid:
    """Return the grid of a single tile, for a network that takes whole pictures in one size.

    Raises
    ------
    PlanError
        When the pipeline asks for tiles.
    """
    if tiling.tile != "auto" or tiling.overlap != "auto":
        raise PlanError(
            "tiling: the network takes whole pictures, which are resized (resize in its card); leave out "
            "tile and overlap"
        )
    return TileGrid(*(TileAxis(n, n, 0) for n in shape))


def make_grid(shape: tuple[int, int], tiling: Tiling, card: CardTile, *, inside: bool = False) -> TileGrid:
    """Lay out the tiles: sizes from the card unless the pipeline gives them, shrunk to the scene.

    Along an axis that one tile covers, it begins where the scene begins and there is no overlap.

    Parameters
    ----------
    shape
        Height and width of the scene in pixels.
    tiling
        The tiling options of the pipeline.
    card
        The tile sizes that the network takes.
    inside
        Whether the tiles lie inside the scene where it is longer than a tile.

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
    # A stride that is a multiple of the divisor aligns the network's internal grids in all tiles. Where the
    # divisor is the one size that the network takes, it says nothing of these grids.
    step = card.divisor if card.divisor < tile else 2
    fitting = tile // 2 // step * step // 2 * 2
    overlap = min(card.overlap, fitting) if tiling.overlap == "auto" else tiling.overlap
    if 2 * overlap > tile:
        raise PlanError(
            f"tiling.overlap: {overlap} is more than half of the tile ({tile}); use at most {tile // 4 * 2}"
        )
    # A scene that one tile covers needs no overlap, and then none of it is mirrored beyond its rims.
    longer = [n > tile for n in shape]
    axes = [
        TileAxis(n, tile, overlap if many else 0, inside=inside and many)
        for n, many in zip(shape, longer, strict=True)
    ]
    return TileGrid(*(axis.shrink(card.divisor, card.min) for axis in axes))
