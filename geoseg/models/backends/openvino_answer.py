"""The probabilities that a network's answer means, as nodes of an OpenVINO graph."""

from typing import Any

import numpy as np

from geoseg.models.card import Card
from geoseg.models.feeding import line
from geoseg.tiling.heads import REACH


def _scaled(card: Card, logits: Any) -> Any:
    """Return the scaled logits, as `geoseg.models.scaling.Scaling` computes them."""
    from openvino import opset13 as op  # noqa: PLC0415 (slow to import)

    if card.calibration is None:
        return op.divide(logits, op.constant(np.float32(card.temperature)))
    scale, shift = (op.constant(c) for c in card.calibration.columns())
    return op.add(op.multiply(logits, scale), shift)


def probabilities_in_graph(card: Card, answer: Any) -> Any:
    """Return the output of class probabilities, as `geoseg.models.feeding.probabilities` computes them.

    Parameters
    ----------
    card
        What the channels of the network mean.
    answer
        Output of the network in the graph, (N, channels, rows, cols).
    """
    from openvino import opset13 as op  # noqa: PLC0415 (slow to import)

    if card.channels is not None:
        answer = op.gather(answer, op.constant(np.array(card.channels)), op.constant(1))
    if card.target is not None:
        factor, shift = (op.constant(np.float32(v)) for v in line(card.target))
        return op.clamp(op.add(op.multiply(answer, factor), shift), -REACH, REACH).output(0)
    if card.output != "probabilities":
        answer = _scaled(card, answer)
    if card.output == "logits":
        return op.softmax(answer, 1).output(0)
    if card.output == "sigmoid":
        answer = op.sigmoid(answer).output(0)
    if card.task == "multilabel":
        return answer
    if card.answered == 1 or (card.channels is not None and len(card.channels) == 1):
        return op.concat([op.subtract(op.constant(np.float32(1)), answer), answer], 1).output(0)
    if card.channels is None:
        return answer
    return op.divide(answer, op.reduce_sum(answer, op.constant(1), keep_dims=True)).output(0)
