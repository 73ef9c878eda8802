"""The stage of an encoder that each of its parameters belongs to."""

from typing import Any

import torch
from torch import nn

from geoseg.models.networks.architectures import empty_tile, without_content
from geoseg.models.networks.mask_rcnn import MaskRCNN


def depths(network: nn.Module) -> dict[str, int]:
    """Return the stage of each parameter of an encoder: 0 for the stem, then in the order of execution.

    A stage consists of the modules under one numbered name: `layer3` of a ResNet, `blocks.4` of a
    transformer, a convolution of VGG. A forward pass without content finds their order, which is not that of
    their definition: a Mix Transformer defines all its embeddings before its first block.

    Parameters
    ----------
    network
        A network of the registry.

    Returns
    -------
    depths
        By the parameter's name within the network (`encoder.layer1.0.conv1.weight`). Stages that never
        run, because they lie below `encoder_depth`, count as the last.
    """
    empty = without_content(network)
    if not isinstance(getattr(empty, "encoder", None), nn.Module):
        return {}  # code of a user's own
    modules: dict[str, nn.Module] = dict(empty.encoder.named_modules())
    stages = _stages(_order(empty, modules), modules)
    last = max(stages.values(), default=0)
    found = {}
    for name, _ in empty.encoder.named_parameters():
        owner = name.rpartition(".")[0]
        # A module that is not called itself uses its parameters, like position embeddings, before its parts.
        has_parts = not owner or any(ran.startswith(f"{owner}.") for ran in stages)
        found[f"encoder.{name}"] = stages.get(owner, 0 if has_parts else last)
    return found


def _order(empty: Any, modules: dict[str, nn.Module]) -> list[str]:
    """Return the names of the modules with parameters of their own, in the order of execution."""
    ran: list[str] = []
    hooks = [
        module.register_forward_pre_hook(lambda *_, name=name: ran.append(name))
        for name, module in modules.items()
        if next(module.parameters(recurse=False), None) is not None
    ]
    with torch.no_grad():
        # What a detector does after its encoder depends on numbers, which a pass without content lacks.
        (empty.encoder if isinstance(empty, MaskRCNN) else empty)(empty_tile(empty, 8))
    for hook in hooks:
        hook.remove()
    return ran


def _stages(ran: list[str], modules: dict[str, nn.Module]) -> dict[str, int]:
    """Return the number of each module's stage; a norm outside all stages belongs to the stage before it."""
    whole = {
        _numbered(name) for name in ran if any(p.ndim > 1 for p in modules[name].parameters(recurse=False))
    }
    numbers: dict[str, int] = {}
    stages: dict[str, int] = {}
    current = 0
    for name in ran:
        key = _numbered(name)
        if key in whole:
            current = numbers.setdefault(key, len(numbers))
        stages[name] = current
    return stages


def _numbered(name: str) -> str:
    """Return a module's name up to its first part that ends with a number."""
    parts = name.split(".")
    end = next((i for i, part in enumerate(parts) if part[-1:].isdigit()), len(parts))
    return ".".join(parts[: end + 1])
