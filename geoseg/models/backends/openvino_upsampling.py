"""Fuse an upsampling with the convolution after it: fewer multiplications, no large image between them.

A nearest-neighbour upsampling by two repeats every pixel 2 x 2 times, so a 3 x 3 convolution after it takes
36 multiplications for each pixel and pair of channels. With the weights of the same source pixel added up
beforehand, it is a transposed convolution of stride 2 with 4 x 4 weights, which takes 16 (Shi et al. 2016,
"Is the deconvolution layer the same as a convolutional layer?", arXiv:1609.07009). Channels that are
concatenated to the upsampled ones, as in a U-Net, are convolved separately, and the results added.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

_WHOLE = ([1, 1], [1, 1], [1, 1], [1, 1])
"""Strides, padding before and after, and dilations of a 3 x 3 convolution that keeps the size."""


def fuse_upsampling(model: Any) -> int:
    """Replace every upsampling by two and its convolution in an `openvino.Model` of fixed shape.

    The result is the same but for rounding. Other kinds of upsampling stay as they are.

    Returns
    -------
    replaced
        Number of convolutions.
    """
    replaced = 0
    for node in model.get_ordered_ops():
        if _keeps_size(node):
            fused = _fused(node)
            if fused is not None:
                node.output(0).replace(fused.output(0))
                replaced += 1
    return replaced


def _keeps_size(node: Any) -> bool:
    """Return whether a node is a 3 x 3 convolution with known weights and an output as large as its input."""
    if node.get_type_name() != "Convolution":
        return False
    weights, given = node.input_value(1).get_node(), node.get_attributes()
    return (
        weights.get_type_name() == "Constant"
        and list(weights.shape[2:]) == [3, 3]
        and given["auto_pad"] == "explicit"
        and tuple(list(given[k]) for k in ("strides", "pads_begin", "pads_end", "dilations")) == _WHOLE
    )


def _fused(convolution: Any) -> Any | None:
    """Return the output of a fused convolution; None if there is no upsampling before the convolution."""
    from openvino import opset13 as op  # noqa: PLC0415

    weights = convolution.input_value(1).get_node().data
    results, others, weights_of_others = [], [], []
    first = 0
    for part in _parts(convolution.input_value(0)):
        channels = part.shape[1]
        mine = weights[:, first : first + channels]
        first += channels
        small = _before_doubling(part)
        if small is None:
            others.append(part)
            weights_of_others.append(mine)
        else:
            widened = op.constant(_widened(mine))
            results.append(
                op.convolution_backprop_data(small, widened, [2, 2], pads_begin=[1, 1], pads_end=[1, 1])
            )
    if not results:
        return None
    if others:
        image = op.concat(others, 1) if len(others) > 1 else others[0]
        kernel = op.constant(np.ascontiguousarray(np.concatenate(weights_of_others, axis=1)))
        results.insert(0, op.convolution(image, kernel, *_WHOLE))
    total = results[0]
    for result in results[1:]:
        total = op.add(total, result)
    return total


def _parts(output: Any) -> list[Any]:
    """Return the outputs that are concatenated to an output along the channels, or the output alone."""
    node = output.get_node()
    if node.get_type_name() != "Concat" or node.get_attributes()["axis"] != 1:
        return [output]
    return list(node.input_values())


def _before_doubling(output: Any) -> Any | None:
    """Return the input of an upsampling by two; None if the output is not of such an upsampling."""
    node = output.get_node()
    if node.get_type_name() != "Interpolate":
        return None
    given, small = node.get_attributes(), node.input_value(0)
    nearest = [given[k] for k in ("mode", "coordinate_transformation_mode", "nearest_mode")]
    padded = any(given["pads_begin"]) or any(given["pads_end"])
    doubled = [*small.shape[:2], *(2 * n for n in small.shape[2:])]
    if nearest != ["nearest", "asymmetric", "floor"] or padded or doubled != list(output.shape):
        return None
    return small


def _widened(weights: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return weights (out, in, 3, 3) as weights of the transposed convolution, (in, out, 4, 4)."""
    wide = np.zeros((*weights.shape[:2], 4, 4), weights.dtype)
    for row in (0, 1):
        for col in (0, 1):
            wide[:, :, row : row + 3, col : col + 3] += weights
    # A transposed convolution spreads a pixel, a convolution gathers pixels: the weights are rotated by 180°.
    return np.ascontiguousarray(wide[:, :, ::-1, ::-1].swapaxes(0, 1))
