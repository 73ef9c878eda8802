"""Part an OpenVINO graph in two: the first resolutions of a network in float32, the rest in bfloat16.

Rounding to bfloat16 does most harm in the first layers, which see the numbers of the scene, and these are
cheap; the decoder is expensive and bears it. Two graphs that share tensors hold on any version of OpenVINO,
unlike marks on the nodes of one graph, which its fusions may lose.
"""

import math
from collections.abc import Iterable
from typing import Any

_SHRINKING = ("Convolution", "GroupConvolution", "MaxPool", "AvgPool")


def resolutions(model: Any) -> int:
    """Return how many times a network of fixed shape halves the resolution, one after the other.

    Parameters
    ----------
    model
        An `openvino.Model` with an input (N, B, rows, cols).
    """
    return len(_entries(model))


def part(model: Any, level: int) -> tuple[Any, Any]:
    """Part a graph where the resolution is halved for the `level` + 1st time.

    Parameters
    ----------
    model
        An `openvino.Model` of fixed shape; it stays as it is.
    level
        Halvings after which the first part ends: 0 keeps what works at full resolution, 1 also at one half.

    Returns
    -------
    first, rest
        The outputs of the first, all that the rest needs of it, are the inputs of the rest, in order.

    Raises
    ------
    ValueError
        When the network does not halve the resolution so often.
    """
    from openvino import Model  # noqa: PLC0415 (slow to import)
    from openvino import opset13 as op  # noqa: PLC0415

    entries = _entries(model)
    if level >= len(entries):
        raise ValueError(f"the network halves the resolution {len(entries)} times, not more than {level}")
    first = _with_ancestors(entries[level])
    cuts = [
        (node.get_friendly_name(), output.get_index())
        for node in model.get_ordered_ops()
        if node.get_friendly_name() in first and node.get_type_name() != "Constant"
        for output in node.outputs()
        if any(_is_beyond(target.get_node(), first) for target in output.get_target_inputs())
    ]
    head, tail = model.clone(), model.clone()
    of_head, of_tail = ({n.get_friendly_name(): n for n in m.get_ordered_ops()} for m in (head, tail))
    entry = []
    for name, index in cuts:
        output = of_tail[name].output(index)
        parameter = op.parameter(output.shape, output.element_type)
        entry.append(parameter)
        for target in list(output.get_target_inputs()):
            if _is_beyond(target.get_node(), first):
                target.replace_source_output(parameter.output(0))
    ends = [of_head[name].output(index) for name, index in cuts]
    results = [r.input_value(0) for r in tail.get_results()]
    return Model(ends, head.get_parameters()), Model(results, entry)


def _entries(model: Any) -> list[list[Any]]:
    """Return the inputs of all layers that halve the resolution, by the resolution that they take."""
    rows = next(p.shape[2] for p in model.get_parameters() if len(p.shape) == 4 and p.shape[2] > 1)
    found: dict[int, list[Any]] = {}
    for node in model.get_ordered_ops():
        if node.get_type_name() not in _SHRINKING:
            continue
        taken, given = node.input_value(0), node.output(0)
        # Padding before a stride adds a few rows; a pooling over the whole image is no stage of its own.
        if taken.shape[2] >= 2 * given.shape[2] - 2 and given.shape[2] > 1 and list(_strides(node)) == [2, 2]:
            found.setdefault(round(math.log2(rows / taken.shape[2])), []).append(taken)
    levels = sorted(found)
    whole = [found[n] for n in levels]
    return whole[: next((i for i, n in enumerate(levels) if n != i), len(levels))]


def _strides(node: Any) -> Any:
    return node.get_attributes().get("strides", (1, 1))


def _with_ancestors(outputs: Iterable[Any]) -> set[str]:
    """Return the names of the nodes that outputs come from, and of all before them."""
    seen: set[str] = set()
    todo = [o.get_node() for o in outputs]
    while todo:
        node = todo.pop()
        if (name := node.get_friendly_name()) not in seen:
            seen.add(name)
            todo += [i.get_node() for i in node.input_values()]
    return seen


def _is_beyond(node: Any, first: set[str]) -> bool:
    return node.get_friendly_name() not in first and node.get_type_name() != "Result"
