"""Weights of a bundle: their names, shapes and types are held to the network before anything is read."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file

from geoseg.core.errors import BundleError, one_line
from geoseg.models.networks.architectures import without_content

_KINDS = {
    **dict.fromkeys(("F64", "F32", "F16", "BF16"), "floating-point"),
    **dict.fromkeys(("I64", "I32", "I16", "I8", "U8"), "integer"),
    "BOOL": "boolean",
}
"""Kinds of numbers by the type that a safetensors header names; of one kind any may be loaded."""

_MOST_COMPUTED = 2**30
"""Bytes that a network may hold beside its weights, such as tables of relative positions."""


def read_weights(
    path: Path, config: Mapping[str, Any], source: Path, *, trust: bool = False
) -> dict[str, torch.Tensor]:
    """Read the weights of a network.

    The network is built without content first, and names, shapes and types are compared with the header of
    the file. So a small file with a large configuration costs nothing.

    Parameters
    ----------
    path
        A safetensors file.
    config
        The network's configuration, see `geoseg.models.networks.architectures.build`.
    source
        The file that the configuration was read from, for messages.
    trust
        Whether code that is not geoseg's may be imported.

    Raises
    ------
    BundleError
        When the network cannot be built, or the file is damaged or holds other tensors.
    """
    try:
        empty = without_content(dict(config), trust=trust)
    except BundleError as error:
        raise BundleError(f"{source}: {error}") from error
    wanted = {name: (tuple(t.shape), _kind(t)) for name, t in empty.state_dict().items()}
    computed = sum(b.nbytes for n, b in empty.named_buffers() if n not in wanted)
    if computed > _MOST_COMPUTED:
        raise BundleError(
            f"{source}: the network holds tables of {computed / 1e9:.1f} GB; take a smaller img_size"
        )
    try:
        with safe_open(path, framework="pt") as file:
            slices = {name: file.get_slice(name) for name in file.keys()}  # noqa: SIM118 (it is no mapping)
            found = {n: (tuple(s.get_shape()), _KINDS.get(s.get_dtype(), "other")) for n, s in slices.items()}
        if problem := _difference(wanted, found):
            raise BundleError(f"{path}: does not fit {source.name}: {problem}")
        return dict(load_file(path))
    except (SafetensorError, OSError) as error:
        raise BundleError(f"{path}: does not fit {source.name}: {one_line(error)[:160]}") from error


def _kind(tensor: torch.Tensor) -> str:
    if tensor.dtype == torch.bool:
        return "boolean"
    return "floating-point" if tensor.is_floating_point() else "integer"


def _difference(
    wanted: Mapping[str, tuple[tuple[int, ...], str]], found: Mapping[str, tuple[tuple[int, ...], str]]
) -> str:
    """Return the first difference of names, shapes and kinds, in words; empty where there is none."""
    for name, (shape, kind) in wanted.items():
        if name not in found:
            return f"it lacks {name} of {shape}"
        if found[name][0] != shape:
            return f"{name} is {str(found[name][0])[:60]} in the file and {shape} in the network"
        if found[name][1] != kind:
            return f"{name} holds {found[name][1]} numbers, not {kind} ones"
    extra = next((n for n in found if n not in wanted), None)
    return "" if extra is None else f"the network has no {ascii(extra)[:80]}"
