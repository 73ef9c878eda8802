"""The two tasks of a run as nodes of a Dask graph: lazy arrays in, lazy planes out.

The blocks are those of a run, whatever the chunks of the arrays are: a block takes the chunks that its reach
meets, and its fringes go on as edges of the graph instead of through staging.

Row by row is the order that keeps the least, about a row of blocks. Dask begins with what lacks the fewest
nodes without dependencies, which is more often a block of another corner than the neighbour of what is done.
In threads a block therefore waits for its *turn*, a node that does nothing: it follows the turn before it and
a node of its own that depends on nothing, so that each block lacks one more of them than the block before.
"""

import threading
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import product
from typing import Any

import dask
import dask.array
import numpy as np
from dask._task_spec import Task, TaskRef
from dask.highlevelgraph import HighLevelGraph, MaterializedLayer
from numpy.typing import NDArray

from geoseg.core.geometry import Span, Window
from geoseg.inference.driver import PARTS, fringe_part
from geoseg.inference.plan import SLOTS
from geoseg.inference.predict import (
    Job,
    Prediction,
    predict_block,
    settled_planes,
    settled_strangeness,
)
from geoseg.models.backends.spec import SegmenterSpec
from geoseg.scenes.arrays import ArrayScene, Numbers
from geoseg.scenes.chunks import ChunkAxis, MapPart, lazy_maps, map_parts, with_held_maps
from geoseg.scenes.scene import Scene
from geoseg.tiling.blocks import Block, BlockAxis, BlockGrid
from geoseg.tiling.outline import Outline

MOST_CHUNKS = 64
"""Chunks of an array that a block may take without a warning."""

_slots: dict[SegmenterSpec, threading.Semaphore] = {}
_slots_lock = threading.Lock()


@dataclass(frozen=True)
class _Piece:
    """The part of a chunk that a block needs."""

    plane: int
    """Number of the array: that of the plane, or the number of planes for the mask."""
    there: tuple[slice, ...]
    """Bands, rows and columns of the array of the block."""
    here: tuple[slice, ...]
    """Bands, rows and columns of the chunk."""


@dataclass(frozen=True)
class _Recipe:
    """How the numbers of a block are put together from chunks."""

    window: Window
    """The part of the scene."""
    shapes: tuple[tuple[int, ...], ...]
    """Shape of each plane, and of the mask if there is one."""
    dtypes: tuple[np.dtype[Any], ...]
    pieces: tuple[_Piece, ...]
    """In the order of the chunks."""
    masked: bool

    def numbers(self, chunks: Sequence[NDArray[Any]]) -> Numbers:
        """Return the numbers of the window."""
        arrays = [np.empty(s, t) for s, t in zip(self.shapes, self.dtypes, strict=True)]
        for piece, chunk in zip(self.pieces, chunks, strict=True):
            arrays[piece.plane][piece.there] = np.asarray(chunk)[piece.here]
        return Numbers(tuple(arrays[:-1]), arrays[-1]) if self.masked else Numbers(tuple(arrays))


def lazy_planes(
    scenes: Sequence[Scene],
    job: Job,
    blocks: BlockGrid,
    token: str,
    *,
    resources: dict[str, int] | None,
    turns: bool,
    turned: tuple[bool, bool],
    outline: Outline | None = None,
) -> tuple["Planes", int]:
    """Return the lazy planes of scenes on one grid, and the most chunks of an array that a block takes.

    Parameters
    ----------
    scenes
        The scene of each date: with arrays of Dask, whose chunks tasks take, or of files, which they read.
    job
        What their tasks share; its scene is one of them.
    blocks
        The blocks of one of them.
    token
        Part of the names of the tasks.
    resources
        Resources of Dask that a prediction asks for.
    turns
        Whether blocks begin one after the other: where all threads share a memory. Workers of a cluster would
        gather where turns are.
    turned
        Whether rows, or columns, of the planes will be turned round.
    outline
        The outline of an area of interest in pixels of a scene of files: pixels outside have no class.
    """
    steps = (*(("begin", "turn") if turns else ()), "predict", *PARTS, "settle")
    names = {step: f"geoseg-{step}-{token}" for step in steps}
    layers: dict[str, dict[Any, Any]] = {name: {} for name in names.values()}
    most = 0
    arrays: list[Any] = []
    for date, scene in enumerate(scenes):
        if not isinstance(scene, ArrayScene):
            arrays += lazy_maps(scene)
            job = replace(job, scene=scene.with_class_maps({}))
            for block in blocks:
                near = block if outline is None else replace(block, outline=outline.near(block.core))
                parts, keys = map_parts(scene, block.reach)
                _add_tasks(layers, names, (date, near, blocks), job.near(block), parts, keys)
            continue
        job = replace(job, scene=scene.without_numbers())
        arrays += scene.numbers.arrays
        chunks = [(a.name, [ChunkAxis.of(sizes) for sizes in a.chunks]) for a in scene.numbers.arrays]
        for block in blocks:
            recipe, keys = _recipe(scene, block, chunks)
            most = max(most, *Counter(piece.plane for piece in recipe.pieces).values())
            _add_tasks(layers, names, (date, block, blocks), job, recipe, keys)
    with dask.annotate(**({"resources": resources} if resources else {})):
        graph = HighLevelGraph.from_collections(
            names["predict"], layers[names["predict"]], dependencies=arrays
        )
    more = {n: MaterializedLayer(layers[n]) for n in names.values() if n != names["predict"]}
    depends: dict[str, set[str]] = {names[part]: {names["predict"]} for part in PARTS}
    depends[names["settle"]] = {names["predict"], *(names[part] for part in PARTS)}
    if turns:
        depends |= {names["begin"]: set(), names["turn"]: {names["begin"]}}
        depends[names["predict"]] = {*graph.dependencies[names["predict"]], names["turn"]}
    whole = HighLevelGraph({**graph.layers, **more}, {**graph.dependencies, **depends})
    return Planes(whole, names["settle"], token, blocks, len(scenes), turned), most


def _recipe(
    scene: ArrayScene, block: Block, chunks: list[tuple[str, list[ChunkAxis]]]
) -> tuple[_Recipe, list[Any]]:
    """Return how the numbers of a block are put together, and the keys of the chunks."""
    window = scene.context(block.reach)
    numbers = scene.numbers
    pieces: list[_Piece] = []
    keys: list[Any] = []
    for number, (array, (name, axes)) in enumerate(zip(numbers.arrays, chunks, strict=True)):
        spans = [*(Span(0, n) for n in array.shape[:-2]), window.rows, window.cols]
        for parts in product(*(axis.meeting(span) for axis, span in zip(axes, spans, strict=True))):
            indexes, there, here = zip(*parts, strict=True)
            pieces.append(_Piece(number, there, here))
            keys.append((name, *indexes))
    shapes = tuple((*a.shape[:-2], *window.shape) for a in numbers.arrays)
    dtypes = tuple(np.dtype(a.dtype) for a in numbers.arrays)
    return _Recipe(window, shapes, dtypes, tuple(pieces), numbers.mask is not None), keys


def _add_tasks(
    layers: dict[str, dict[Any, Any]],
    names: dict[str, str],
    where: tuple[int, Block, BlockGrid],
    job: Job,
    recipe: _Recipe | tuple[MapPart, ...],
    keys: list[Any],
) -> None:
    """Add the tasks of a block: its turn, its prediction, the parts of its fringe, and its settled planes."""
    date, block, blocks = where

    def add(step: str, task: Any, *arguments: Any) -> Any:
        key = (names[step], date, block.row, block.col)
        layers[names[step]][key] = Task(key, task, *arguments)
        return TaskRef(key)

    turn = None
    if "turn" in names:
        before = next(reversed(layers[names["turn"]]), None)
        turn = add("turn", _follow, add("begin", _follow), *(() if before is None else (TaskRef(before),)))
    prediction = add("predict", _predict, turn, job, block, recipe, *(TaskRef(k) for k in keys))
    for part, (down, right) in PARTS.items():
        if block.row + down < blocks.rows.count and block.col + right < blocks.cols.count:
            add(part, fringe_part, prediction, part)
    fringes = [
        TaskRef((names[part], date, block.row - down, block.col - right))
        if block.row >= down and block.col >= right
        else None
        for part, (down, right) in PARTS.items()
    ]
    add("settle", _settle, job, block, prediction, *fringes)


def _follow(*before: None) -> None:
    """Do nothing; the graph tells what comes before."""


def _predict(
    _turn: None, job: Job, block: Block, recipe: _Recipe | tuple[MapPart, ...], *chunks: NDArray[Any]
) -> Prediction:
    """Predict a block; as many at once as in a run, whatever the scheduler's threads are."""
    with _slot(job.segmenter):
        if not isinstance(recipe, _Recipe):
            return predict_block(replace(job, scene=with_held_maps(job.scene, recipe, chunks)), block)
        assert isinstance(job.scene, ArrayScene)  # noqa: S101 (`lazy_planes` has put it there)
        scene = job.scene.holding(recipe.window, recipe.numbers(chunks))
        return predict_block(replace(job, scene=scene), block)


def _settle(
    job: Job, block: Block, prediction: Prediction, from_north: Any, from_west: Any, from_northwest: Any
) -> NDArray[np.uint8]:
    planes = settled_planes(job, block, prediction, (from_north, from_west, from_northwest))
    levels = settled_strangeness(prediction, planes[0] == job.head.nodata)
    return planes if levels is None else np.concatenate([planes, levels[np.newaxis]])


def _slot(spec: SegmenterSpec) -> threading.Semaphore:
    with _slots_lock:
        return _slots.setdefault(spec, threading.Semaphore(SLOTS))


@dataclass(frozen=True)
class Planes:
    """The settled blocks of one or more dates in a graph."""

    graph: HighLevelGraph
    settled: str
    """Name of the tasks that return planes: class, confidence and, on request, each class in per cent."""
    token: str
    blocks: BlockGrid
    dates: int
    turned: tuple[bool, bool]
    """Whether rows, or columns, will be turned round."""

    def array(self, output: str, function: Any, dtype: Any, layers: int = 0, *, timed: bool = False) -> Any:
        """Return a lazy array of an output, dims ([time], [layers], rows, cols).

        Chunks are as large as the cores of blocks, and all but the last of one size, as zarr needs them: the
        core of the first block is smaller by the margin around the scene, so that a chunk is made of up to
        four blocks.

        Parameters
        ----------
        output
            Name of the output.
        function
            Makes it from the planes of a block.
        dtype
            Data type of its numbers.
        layers
            Length of a first axis of the output; 0: it has none.
        timed
            Whether there is an axis of dates.
        """
        name = f"geoseg-{output}-{self.token}"
        axes = self.blocks.rows, self.blocks.cols
        cores = [ChunkAxis.of(len(axis.core(i)) for i in range(axis.count)) for axis in axes]
        sizes = [_even(axis, turned=turned) for axis, turned in zip(axes, self.turned, strict=True)]
        places = [
            [core.meeting(span) for span in ChunkAxis.of(size).spans()]
            for core, size in zip(cores, sizes, strict=True)
        ]
        layer = {}
        for date, (r, rows), (c, cols) in product(range(self.dates), *map(enumerate, places)):
            key = (name, *((date,) if timed else ()), *((0,) if layers else ()), r, c)
            shape = (*((1,) if timed else ()), *((layers,) if layers else ()), sizes[0][r], sizes[1][c])
            met = list(product(rows, cols))
            parts = tuple(((t0, t1), (h0, h1)) for (_, t0, h0), (_, t1, h1) in met)
            settled = (TaskRef((self.settled, date, i, j)) for (i, _, _), (j, _, _) in met)
            layer[key] = Task(key, _together, function, shape, np.dtype(dtype), parts, *settled)
        chunks = (
            *(((1,) * self.dates,) if timed else ()),
            *(((layers,),) if layers else ()),
            *sizes,
        )
        graph = HighLevelGraph(
            {**self.graph.layers, name: MaterializedLayer(layer)},
            {**self.graph.dependencies, name: {self.settled}},
        )
        return dask.array.Array(graph, name, chunks, dtype=dtype)


def _even(axis: BlockAxis, *, turned: bool) -> tuple[int, ...]:
    """Return the sizes of chunks along an axis, all but the last alike, which comes first when turned."""
    length = axis.tiles.length
    side = axis.size * axis.tiles.stride if axis.count > 1 else length
    sizes = [min(side, length - start) for start in range(0, length, side)]
    return tuple(reversed(sizes)) if turned else tuple(sizes)


def _together(
    function: Any, shape: tuple[int, ...], dtype: np.dtype[Any], parts: Any, *settled: NDArray[np.uint8]
) -> NDArray[Any]:
    """Return a chunk of an output from the parts of settled blocks that it consists of."""
    out = np.empty(shape, dtype)
    for (there, here), planes in zip(parts, settled, strict=True):
        out[..., *there] = function(planes[:, *here])
    return out
