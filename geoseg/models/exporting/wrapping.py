"""Put what a card says into an ONNX graph: normalisation before the network, probabilities after it."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from geoseg.models.card import Card
from geoseg.models.feeding import Clip, Log, Standardise

_PREFIX = "geoseg_"


class _Chain:
    """Nodes one after another; each takes the value of the one before."""

    def __init__(self, value: str, label: str) -> None:
        self.value, self.label = value, label
        self.nodes: list[Any] = []
        self.weights: list[Any] = []

    def then(
        self, kind: str, *constants: Any, integer: bool = False, before: bool = False, **given: Any
    ) -> "_Chain":
        """Add an operation on the value and constants; `before`: the constant is its first input."""
        from onnx import helper, numpy_helper  # noqa: PLC0415 (an extra)

        names: list[str] = []
        for constant in constants:
            names.append(f"{_PREFIX}{self.label}{len(self.nodes)}_{len(names)}")
            array = np.asarray(constant, np.int64 if integer else np.float32)
            self.weights.append(numpy_helper.from_array(array, names[-1]))
        out = f"{_PREFIX}{self.label}{len(self.nodes)}"
        inputs = [*names, self.value] if before else [self.value, *names]
        self.nodes.append(helper.make_node(kind, inputs, [out], name=out, **given))
        self.value = out
        return self


def _column(values: Sequence[float]) -> Any:
    return np.array(values, np.float32)[None, :, None, None]


def _feed(chain: _Chain, card: Card, raw_scale: float) -> None:
    scale = raw_scale if card.numbers == "raw" else 1.0
    if card.preprocess is None:
        mean, std = ([getattr(b, k) / scale for b in card.bands] for k in ("mean", "std"))
        chain.then("Sub", _column(mean)).then("Div", _column(std))
        return
    if (factor := scale * card.input_scale) != 1:
        chain.then("Mul", factor)
    for step in card.preprocess:
        if isinstance(step, Standardise):
            chain.then("Sub", _column(step.mean)).then("Div", _column(step.std))
        elif isinstance(step, Log):
            chain.then("Relu").then("Mul", step.factor).then("Add", 1.0).then("Log")
        elif isinstance(step, Clip):
            chain.then("Max", step.min).then("Min", step.max)
        else:
            chain.then("Mul", step.slope).then("Add", step.shift).then("Sigmoid")


def _answer(chain: _Chain, card: Card) -> None:
    if card.channels is not None:
        chain.then("Gather", list(card.channels), integer=True, axis=1)
    if card.calibration is not None:
        scale, shift = card.calibration.columns()
        chain.then("Mul", scale).then("Add", shift)
    elif card.output != "probabilities" and card.temperature != 1:
        chain.then("Div", card.temperature)
    single = card.output == "sigmoid" or (card.channels is not None and len(card.channels) == 1)
    if card.output == "sigmoid":
        chain.then("Sigmoid")
    if single:
        second = chain.value
        first = chain.then("Sub", 1.0, before=True).value
        _concat(chain, first, second)
    elif card.output == "logits":
        # Along the last axis softmax means the same in every version of ONNX.
        chain.then("Transpose", perm=[0, 2, 3, 1]).then("Softmax", axis=-1).then(
            "Transpose", perm=[0, 3, 1, 2]
        )
    elif card.channels is not None:
        # Divided by their sum: a convolution with ones adds channels in every version of ONNX.
        ones = np.ones((len(card.channels),) * 2 + (1, 1), np.float32)
        taken = chain.value
        total = chain.then("Conv", ones).value
        _divide(chain, taken, total)


def _concat(chain: _Chain, first: str, second: str) -> None:
    from onnx import helper  # noqa: PLC0415 (an extra)

    chain.value = f"{_PREFIX}{chain.label}both"
    chain.nodes.append(helper.make_node("Concat", [first, second], [chain.value], name=chain.value, axis=1))


def _divide(chain: _Chain, taken: str, total: str) -> None:
    from onnx import helper  # noqa: PLC0415 (an extra)

    chain.value = f"{_PREFIX}{chain.label}shares"
    chain.nodes.append(helper.make_node("Div", [taken, total], [chain.value], name=chain.value))


def wrapped(model: Any, card: Card, raw_scale: float) -> Any:
    """Return an ONNX model from numbers to probabilities around a network.

    Parameters
    ----------
    model
        The network as `onnx.ModelProto`, (N, B, rows, cols) to its answer.
    card
        How it is fed and what it answers.
    raw_scale
        What raw numbers are divided by before they enter.
    """
    import onnx  # noqa: PLC0415 (an extra)
    from onnx import TensorProto, helper  # noqa: PLC0415

    graph = model.graph
    known = {w.name for w in graph.initializer}
    (entry,) = [i for i in graph.input if i.name not in known]
    start = f"{_PREFIX}input"
    feed, answer = _Chain(start, "feed"), _Chain(graph.output[0].name, "answer")
    _feed(feed, card, raw_scale)
    _answer(answer, card)
    for node in graph.node:
        for at, name in enumerate(node.input):
            if name == entry.name:
                node.input[at] = feed.value
    dims = [d.dim_value or d.dim_param or None for d in entry.type.tensor_type.shape.dim]
    dims[1] = len(card.bands)
    nodes = [*feed.nodes, *graph.node, *answer.nodes]
    inputs = [helper.make_tensor_value_info(start, TensorProto.FLOAT, dims)]
    shape = [dims[0], len(card.classes), *dims[2:]]
    outputs = [helper.make_tensor_value_info(answer.value, TensorProto.FLOAT, shape)]
    weights = [*graph.initializer, *feed.weights, *answer.weights]
    whole = helper.make_graph(nodes, graph.name or "network", inputs, outputs, weights)
    result = helper.make_model(
        whole, opset_imports=list(model.opset_import), ir_version=model.ir_version, producer_name="geoseg"
    )
    result.functions.extend(model.functions)
    onnx.checker.check_model(result)
    return result


def fix_size(model: Any, side: int) -> None:
    """Let a wrapped model state one size of its tiles: programs take it from there, and refuse a free one."""
    for value in (*model.graph.input, *model.graph.output):
        for dimension in list(value.type.tensor_type.shape.dim)[2:]:
            dimension.Clear()
            dimension.dim_value = side
