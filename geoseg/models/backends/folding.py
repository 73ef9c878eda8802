"""Fold batch norms into the convolutions before them: fewer passes over the same numbers.

In evaluation mode a batch norm is a factor and a shift for each channel, which a convolution can include
(Jacob et al. 2018, "Quantization and Training of Neural Networks", section 3.2).
"""

import copy
from collections import Counter
from collections.abc import Callable
from typing import Any

import torch
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_weights

from geoseg.models.feeding import softmax

TOLERANCE = 1e-3
"""Largest difference of a probability from that of the network as it was trained."""


def fold_batch_norms(
    network: nn.Module, bands: int, tile: int, answer: Callable[[torch.Tensor], torch.Tensor] = softmax
) -> nn.Module:
    """Return a copy of a network with its batch norms folded, or the network itself where they cannot be.

    A forward pass finds the convolution before each norm, so that it works with any architecture. A second
    pass compares probabilities; a network whose probabilities would change is returned as it is.

    Parameters
    ----------
    network
        A network on the CPU, in evaluation mode.
    bands
        Its number of input bands.
    tile
        Side of the tile to try, in pixels.
    answer
        Turns its output into probabilities, which are compared.
    """
    x = torch.randn(1, bands, tile, tile, generator=torch.Generator().manual_seed(0))
    result = copy.deepcopy(network)
    with torch.inference_mode():
        pairs = _pairs(result, x)
        expected = answer(network(x))
    names = {module: name for name, module in result.named_modules()}
    for conv, norm in pairs:
        mean, variance = norm.running_mean, norm.running_var
        assert mean is not None and variance is not None  # noqa: S101, PT018 (they are tracked, see `_pairs`)
        conv.weight, conv.bias = fuse_conv_bn_weights(
            conv.weight, conv.bias, mean, variance, norm.eps, norm.weight, norm.bias
        )
        parent, _, name = names[norm].rpartition(".")
        setattr(result.get_submodule(parent), name, _remainder(norm))
    with torch.inference_mode():
        same = (answer(result(x)) - expected).abs().max() < TOLERANCE
    return result if same else network


def _pairs(network: nn.Module, x: torch.Tensor) -> list[tuple[nn.Conv2d, nn.BatchNorm2d]]:
    """Return the pairs of a convolution and the norm of its output in which both are called once."""
    outputs: list[tuple[torch.Tensor, nn.Conv2d]] = []
    fed: list[tuple[nn.Conv2d, nn.BatchNorm2d]] = []
    calls: Counter[nn.Module] = Counter()

    def after_conv(module: nn.Conv2d, _: Any, output: torch.Tensor) -> None:
        calls[module] += 1
        outputs.append((output, module))

    def before_norm(module: nn.BatchNorm2d, inputs: tuple[torch.Tensor, ...]) -> None:
        calls[module] += 1
        fed.extend((conv, module) for output, conv in outputs if output is inputs[0])

    hooks = []
    for module in network.modules():
        if type(module) is nn.Conv2d:
            hooks.append(module.register_forward_hook(after_conv))
        elif isinstance(module, nn.BatchNorm2d) and module.track_running_stats:
            hooks.append(module.register_forward_pre_hook(before_norm))
    network(x)
    for hook in hooks:
        hook.remove()
    return [(conv, norm) for conv, norm in fed if calls[conv] == calls[norm] == 1]


def _remainder(norm: nn.BatchNorm2d) -> nn.Module:
    """Return the modules that a folded norm leaves: norms of timm include their activation."""
    parts = [getattr(norm, name) for name in ("drop", "act") if hasattr(norm, name)]
    return nn.Sequential(*parts) if parts else nn.Identity()
