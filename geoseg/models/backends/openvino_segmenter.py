"""Run a network with OpenVINO, on a CPU."""

import platform
import threading
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geoseg.core.buffers import release_free_memory
from geoseg.core.errors import PlanError
from geoseg.models.backends.failures import (
    not_finite_error,
    out_of_memory_error,
    unsupported_input_error,
    wrong_output_error,
)
from geoseg.models.backends.feed import Feed
from geoseg.models.backends.graph import import_openvino
from geoseg.models.backends.openvino_answer import probabilities_in_graph
from geoseg.models.backends.openvino_mixed import part
from geoseg.models.backends.openvino_model import (
    BF16,
    FP32,
    has_bfloat16,
    load_model,
    with_shape,
)
from geoseg.models.backends.spec import SegmenterSpec, mixed_level, needs_bfloat16
from geoseg.models.bundle import Bundle
from geoseg.models.feeding import fits
from geoseg.models.symmetries import SYMMETRIES, turn, turn_back
from geoseg.tiling.arrays import HOST

_DTYPES = ("uint8", "int8", "uint16", "int16", "int32", "uint32", "float32")
"""Data types that the graph takes; numbers of other types are converted before."""


class OpenVinoSegmenter:
    """The network of a bundle in OpenVINO; normalisation and softmax are part of the graph."""

    arrays = HOST

    def __init__(self, bundle: Bundle, spec: SegmenterSpec) -> None:
        card = bundle.card
        if needs_bfloat16(spec.precision) and not has_bfloat16():
            raise PlanError(
                f"the processor of {platform.node()} has no bfloat16, with which the run was planned; use "
                "workers that have it, or --set inference.precision=fp32"
            )
        self.hint = BF16 if spec.precision == "bf16" else FP32
        self.level = mixed_level(spec.precision)
        self.network = load_model(bundle)
        self.passes = spec.passes
        self.symmetries = SYMMETRIES[spec.augment]
        self.card, self.feed = card, Feed(card)
        self._compiled: dict[tuple[Any, ...], Any] = {}
        self._spare: dict[tuple[Any, ...], list[Any]] = {}
        self._compiling = threading.Lock()
        self._mine = threading.local()

    def prepare(self, shape: tuple[int, int, int, int], dtype: np.dtype[Any]) -> None:
        """Compile the network for batches of that shape, see `Segmenter`."""
        with self._compiling:
            self._spare_for((shape, self._entry(dtype)))

    def _entry(self, dtype: np.dtype[Any]) -> str:
        """Return the data type in which numbers of a type enter the graph."""
        plain = self.hint is not BF16 and self.feed.steps is None
        return dtype.name if dtype.name in _DTYPES and plain else "float32"

    def predict(
        self,
        values: NDArray[Any],
        valid: NDArray[np.bool_],
        gain: NDArray[np.float32],
        bias: NDArray[np.float32],
    ) -> NDArray[np.float32]:
        """Return class probabilities, see `Segmenter`."""
        factor, shift, *fill = (a.reshape(1, -1, 1, 1) for a in self._linear(gain, bias))
        if self.hint is BF16 or self.feed.steps is not None:
            # The graph would normalise in bfloat16, too, in which 290 K has neighbours two kelvins away; and
            # it knows a factor and a shift only.
            values = values.astype(np.float32)
            values *= factor
            values += shift
            values = np.ascontiguousarray(self.feed.after(values), dtype=np.float32)
            factor, shift = np.ones_like(factor), np.zeros_like(shift)
        else:
            values = values.astype(self._entry(values.dtype), copy=False)
        total: NDArray[np.float32] | None = None
        for symmetry in self.symmetries:
            turned = (np.ascontiguousarray(turn(a, *symmetry)) for a in (values, valid[:, None]))
            p: NDArray[np.float32] = turn_back(self._forward(*turned, factor, shift, *fill), *symmetry)
            if len(self.symmetries) == 1:
                return p
            total = p.copy() if total is None else total + p
        assert total is not None  # noqa: S101 (there is always the identity)
        return total / np.float32(len(self.symmetries))

    def _linear(
        self, gain: NDArray[np.float32], bias: NDArray[np.float32]
    ) -> tuple[NDArray[np.float32], ...]:
        """Return factor and shift; with steps before the network, also what invalid pixels become."""
        linear = self.feed.linear(gain, bias)
        return linear if self.feed.steps is not None else linear[:2]

    def _forward(self, values: NDArray[Any], *others: NDArray[Any]) -> NDArray[np.float32]:
        shape = values.shape
        try:
            request = self._request(values)
            request.infer(dict(enumerate((values, *others))))
        except RuntimeError as error:
            if "alloc" in str(error) or "memory" in str(error):
                raise out_of_memory_error(shape) from error
            raise unsupported_input_error(shape, error) from error
        if not np.isfinite(request.output(1)):
            raise not_finite_error()
        # Memory of the request, which its next pass overwrites: a copy would cost as much as adding it.
        probabilities: NDArray[np.float32] = request.output(0)
        return probabilities

    def _request(self, values: NDArray[Any]) -> Any:
        """Return the request of this thread for batches of that shape and type."""
        key = values.shape, values.dtype.name
        mine: dict[Any, Any] = self._mine.__dict__
        if key not in mine:
            with self._compiling:
                mine[key] = self._spare_for(key).pop()
        return mine[key]

    def _spare_for(self, key: tuple[tuple[int, ...], str]) -> list[Any]:
        """Return the free requests for batches of one shape and type, at least one."""
        if key not in self._compiled:
            self._compiled[key] = self._compile(*key)
            release_free_memory()
        # All at once: OpenVINO creates no request while a pass runs in the same stream.
        spare = self._spare.setdefault(key, [])
        if not spare:
            spare += [_Request(self._compiled[key]) for _ in range(self.passes)]
        return spare

    def _compile(self, shape: tuple[int, ...], dtype: str) -> list[Any]:
        """Compile the graph from raw numbers to probabilities and their sum, for one shape of batches.

        In mixed precision these are two graphs, of which the second takes what the first gives.
        """
        ov = import_openvino()
        from openvino import opset13 as op  # noqa: PLC0415

        batch, bands, *size = shape
        network = with_shape(self.network, shape)
        output = network.output(0).get_partial_shape()
        channels = output[1].get_length() if output.is_static and len(output) == len(shape) else 0
        if output != ov.PartialShape([batch, channels, *size]) or not fits(self.card, channels):
            raise wrong_output_error(shape, output, self.card.answered)
        values = op.parameter(shape, ov.Type(np.dtype(dtype)))
        valid = op.parameter([batch, 1, *size], ov.Type.boolean)
        linear = [
            op.parameter([1, bands, 1, 1], ov.Type.f32) for _ in range(2 if self.feed.steps is None else 3)
        ]
        x = op.add(op.multiply(op.convert(values, "f32"), linear[0]), linear[1])
        x = op.select(valid, x, linear[2] if len(linear) > 2 else op.constant(np.float32(0)))
        (entry,) = network.get_parameters()
        for target in entry.output(0).get_target_inputs():
            target.replace_source_output(x.output(0))
        answer = network.get_results()[0].input_value(0)
        probabilities = probabilities_in_graph(self.card, answer)
        # Probabilities of a number that is not finite are not finite; a value is brought into its range.
        told = probabilities if self.card.target is None else answer
        total = op.reduce_sum(told, op.constant(np.arange(4)))
        graph = ov.Model([probabilities, total.output(0)], [values, valid, *linear])
        # One thread for each stream: no sum is split, so the bits do not depend on the number of cores.
        streams = {
            "NUM_STREAMS": self.passes,
            "INFERENCE_NUM_THREADS": self.passes,
            "ENABLE_CPU_PINNING": False,
        }
        parts = [(graph, self.hint)]
        if self.level is not None:
            parts = list(zip(part(graph, self.level), (FP32, BF16), strict=True))
        return [ov.Core().compile_model(g, "CPU", {**hint, **streams}) for g, hint in parts]


class _Request:
    """A forward pass through graphs that follow each other, without copies between them."""

    def __init__(self, compiled: list[Any]) -> None:
        self._requests = [c.create_infer_request() for c in compiled]
        for before, after, graph in zip(self._requests, self._requests[1:], compiled[1:], strict=False):
            for i in range(len(graph.inputs)):
                after.set_input_tensor(i, before.get_output_tensor(i))

    def infer(self, inputs: dict[int, NDArray[Any]]) -> None:
        """Compute the outputs of inputs, which are only read."""
        first, *others = self._requests
        first.infer(inputs, share_inputs=True, share_outputs=True)
        for request in others:
            request.infer(share_outputs=True)

    def output(self, number: int) -> NDArray[np.float32]:
        """Return an output, which the next pass overwrites."""
        found: NDArray[np.float32] = self._requests[-1].get_output_tensor(number).data
        return found
