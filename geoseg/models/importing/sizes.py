"""The tiles that a network takes, and whether its answer depends on the whole tile."""

import math
from dataclasses import dataclass
from typing import Any

from geoseg.core.errors import BundleError
from geoseg.models.backends.graph import import_openvino

_STEPS = (1, 2, 4, 7, 8, 14, 16, 28, 32, 56, 64, 128)


@dataclass(frozen=True)
class Sizes:
    """Tile sizes of a network, in pixels."""

    divisor: int
    """Sides are multiples of it."""
    fixed: int | None = None
    """The only side that it takes."""
    is_global: bool = False
    """Whether the answer for a pixel depends on the whole tile."""

    @property
    def needs_tile(self) -> bool:
        """Whether somebody must say the size of the tiles: that of the training."""
        return self.is_global and self.fixed is None

    def tile(self, side: int | None, overlap: int | None) -> dict[str, int]:
        """Return the `tile` of a card.

        Parameters
        ----------
        side
            Size that is wanted; None: the only one, or the largest usual one.
        overlap
            Overlap that is wanted; None: an eighth of the tile, a quarter where it is the only size.

        Raises
        ------
        ValueError
            When the network does not take that size.
        """
        step = self.divisor
        size = self.fixed or int(side or -(-1024 // step) * step)
        if side is not None and self.fixed not in (None, int(side)):
            raise ValueError(f"tile is {side}, and the network takes {self.fixed} only")
        only = self.fixed is not None or self.is_global
        smallest = size if only else min(size, -(-128 // step) * step)
        shared = size // (4 if only else 8) // 2 * 2 if overlap is None else int(overlap)
        return {
            "size": size,
            "min": smallest,
            "max": size if only else 2 * size,
            "overlap": shared,
            "divisor": size if self.fixed else step,
        }


def sizes_of_graph(model: Any) -> tuple[Sizes, int, int]:
    """Return the tiles that an `openvino.Model` (N, B, rows, cols) takes, its bands and its channels.

    A size that the graph states is the only one: what it was exported for may be written into it in many
    places. Otherwise sizes are tried.

    Raises
    ------
    BundleError
        When it takes no batches of square tiles, or gives no answer for each pixel.
    """
    shape = model.input(0).get_partial_shape()
    if shape.rank.is_dynamic or len(shape) != 4 or shape[1].is_dynamic:
        raise BundleError(f"its input is {shape}; tiles of shape (N, bands, rows, cols) are needed")
    bands, sides = shape[1].get_length(), [d.get_length() for d in list(shape)[2:] if d.is_static]
    if len(set(sides)) > 1 or len(sides) == 1:
        raise BundleError(f"its input is {shape}; square tiles, or tiles of any size, are needed")
    if sides:
        channels = _channels(model, bands, sides[0], sides[0])
        if channels is None:
            raise BundleError(_NOT_EACH)
        return Sizes(sides[0], fixed=sides[0]), bands, channels
    for step in _STEPS:
        if (channels := _channels(model, bands, 33 * step, 35 * step)) is not None:
            whole = math.lcm(step, _stride(model, bands, step))
            return Sizes(whole, is_global=_is_global(model, bands, 16 * whole)), bands, channels
    raise BundleError(_NOT_EACH)


_NOT_EACH = (
    "it gives no answer for each pixel of a batch of tiles; export it with an output as large as the input, "
    "and a free batch axis"
)


def reshaped(model: Any, bands: int, rows: int, cols: int, batch: int = 2) -> Any:
    """Return a copy of a model for batches of one shape.

    Raises
    ------
    RuntimeError
        When the graph does not take them.
    """
    from openvino.passes import ConstantFolding, Manager  # noqa: PLC0415 (slow to import)

    fixed = model.clone()
    fixed.reshape([batch, bands, rows, cols])
    # Sizes that the graph computes from that of its input become known.
    manager = Manager()
    manager.register_pass(ConstantFolding())
    manager.run_passes(fixed)
    _fold_rest(fixed)
    return fixed


def _fold_rest(model: Any) -> None:
    """Compute what constant folding leaves, such as sizes that TensorFlow divides in double precision."""
    from openvino import opset13 as op  # noqa: PLC0415 (slow to import)

    ov, folded = import_openvino(), False
    for node in model.get_ordered_ops():
        inputs = [v.get_node().get_type_name() for v in node.input_values()]
        if (
            inputs
            and set(inputs) == {"Constant"}
            and node.get_type_name() != "Result"
            and _count(node.output(0)) < 64
        ):
            value = ov.Core().compile_model(ov.Model([node.output(0)], []), "CPU")([])[0]
            node.output(0).replace(op.constant(value.copy()).output(0))
            folded = True
    if folded:
        model.validate_nodes_and_infer_types()


def _channels(model: Any, bands: int, rows: int, cols: int) -> int | None:
    """Return the channels of the answer for tiles of a size; None where it is not of that size."""
    try:
        shape = reshaped(model, bands, rows, cols).output(0).get_partial_shape()
    except RuntimeError:
        return None
    if shape.is_dynamic or len(shape) != 4:
        return None
    batch, channels, *sides = (d.get_length() for d in shape)
    return channels if (batch, *sides) == (2, rows, cols) else None


def _stride(model: Any, bands: int, step: int) -> int:
    """Return how many pixels of a tile are one pixel of the coarsest features.

    Tiles that begin at a multiple of it see the same features where they overlap, though the network takes
    others, too.
    """
    side = math.lcm(step, 896)
    coarse = [
        node.output(0).get_partial_shape()[2].get_length()
        for node in reshaped(model, bands, side, side).get_ordered_ops()
        if node.get_type_name() in _SPATIAL
    ]
    rows = min((n for n in coarse if n > 1), default=side)
    return side // rows if side % rows == 0 and side // rows <= _STEPS[-1] else 1


_SPATIAL = ("Convolution", "GroupConvolution", "MaxPool", "AvgPool")


def _is_global(model: Any, bands: int, side: int) -> bool:
    """Compare what each operation reads and writes in a tile and in one of twice its side.

    One that reads more and writes as much has seen the whole tile; so has a product of matrices with longer
    sums, as in attention, and a norm over the tile.
    """
    small, large = (_steps(reshaped(model, bands, n, n)) for n in (side, 2 * side))
    if len(small) != len(large):
        return True
    return any(
        kind in _WHOLE or reach > was_reach or (read > was_read and written == was_written)
        for (_, was_read, was_written, was_reach), (kind, read, written, reach) in zip(
            small, large, strict=True
        )
    )


_WHOLE = ("MVN", "GroupNormalization")


def _steps(model: Any) -> list[tuple[str, int, int, int]]:
    """Return kind, numbers read and written, and length of the sums of each operation on real numbers."""
    steps = []
    for node in model.get_ordered_ops():
        kind = node.get_type_name()
        if (
            kind in ("Constant", "Parameter", "Result", "ShapeOf")
            or not node.output(0).get_element_type().is_real()
        ):
            continue
        read = max((_count(i) for i in node.inputs()), default=0)
        reach = node.input(0).get_partial_shape()[-1].get_length() if kind == "MatMul" else 0
        steps.append((kind, read, _count(node.output(0)), reach))
    return steps


def _count(port: Any) -> int:
    shape, count = port.get_partial_shape(), 1
    for side in () if shape.is_dynamic else shape:
        count *= side.get_length()
    return count


def bytes_per_pixel(model: Any, bands: int, side: int) -> float:
    """Return the peak of numbers that a forward pass holds at once, in bytes for each pixel of a tile.

    Each output lives from its operation to the last one that reads it.
    """
    nodes = list(reshaped(model, bands, side, side, batch=1).get_ordered_ops())
    last = {}
    for at, node in enumerate(nodes):
        for value in node.input_values():
            last[value.get_node().get_friendly_name()] = at
    now = peak = 0
    ends: dict[int, int] = {}
    for at, node in enumerate(nodes):
        if node.get_type_name() == "Constant":
            continue
        size = sum(_count(o) * o.get_element_type().size for o in node.outputs())
        now += size
        peak = max(peak, now)
        end = last.get(node.get_friendly_name(), at)
        ends[end] = ends.get(end, 0) + size
        now -= ends.pop(at, 0)
    return max(1.0, peak / side**2)
