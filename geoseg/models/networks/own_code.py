"""Networks that are a user's own code: a class of an importable package, `package.module:Class`.

Importing it runs that code as the user, so nothing here imports it before someone said that it is trusted.
Its class is called as those of geoseg: `Class(in_channels=..., classes=..., **arguments)`; it takes tiles (N,
bands, H, W) and answers logits (N, classes, H, W).
"""

import importlib
import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from geoseg.core.errors import BundleError, one_line

if TYPE_CHECKING:
    from torch import nn

_NAME = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*", re.ASCII)
_CONFIG = "geoseg_config"
"""Attribute of a network that was built here: its configuration, as `config.json` has it."""


def is_own_code(name: object) -> bool:
    """Return whether the name of an architecture is that of a class of a user's own.

    Examples
    --------
    >>> is_own_code("my_package.module:MyNet"), is_own_code("Unet")
    (True, False)
    """
    return isinstance(name, str) and _NAME.fullmatch(name) is not None


def not_trusted(name: str) -> str:
    """Return why a network is not built, and what to do, in words."""
    return (
        f"the network is Python code, {name[:80]}, which could do all that you may; give --trust (in Python "
        "trust=True) if you trust who wrote it"
    )


def build_own_code(name: str, arguments: Mapping[str, Any]) -> "nn.Module":
    """Import a class and build the network; the caller has seen to it that it is trusted.

    Raises
    ------
    BundleError
        When there is no such module or class, or it cannot be built.
    """
    from torch import nn  # noqa: PLC0415

    module, _, attribute = name.partition(":")
    try:
        _find_here()
        made = getattr(importlib.import_module(module), attribute)(**arguments)
    except ModuleNotFoundError as error:
        raise BundleError(
            f"architecture {name}: there is no module {error.name} here; install its package on this "
            "machine, or name its folder in PYTHONPATH"
        ) from error
    except Exception as error:  # code of others may raise anything
        what = f"{type(error).__name__}: {one_line(error)}"
        raise BundleError(f"architecture {name} cannot be built: {what[:160]}") from error
    if not isinstance(made, nn.Module):
        raise BundleError(f"architecture {name} gives a {type(made).__name__}, and not a torch.nn.Module")
    setattr(made, _CONFIG, {"_model_class": name, **arguments})
    return made


def own_config(network: object) -> dict[str, Any] | None:
    """Return the configuration of a network of own code, None of one of geoseg's."""
    found: dict[str, Any] | None = getattr(network, _CONFIG, None)
    return found


def check_answer(network: "nn.Module", bands: int, classes: int, side: int) -> None:
    """Hold a network to what it must answer: logits of each class for each pixel of a tile.

    Raises
    ------
    BundleError
        When it answers something else, or fails.
    """
    import torch  # noqa: PLC0415

    name = (own_config(network) or {}).get("_model_class", type(network).__name__)
    try:
        with torch.inference_mode():
            answer = network.eval()(torch.zeros(1, bands, side, side))
    except Exception as error:
        what = f"{type(error).__name__}: {one_line(error)}"
        raise BundleError(
            f"architecture {name} fails for a tile of {side} x {side} px: {what[:160]}"
        ) from error
    expected, got = (1, classes, side, side), tuple(getattr(answer, "shape", ()))
    if got != expected:
        shown = got or type(answer).__name__
        raise BundleError(
            f"architecture {name} answers {shown} for {(1, bands, side, side)}; logits of {expected} are "
            "needed"
        )


def _find_here() -> None:
    """Let modules in the current folder be found after all others, as `python -m geoseg` finds them."""
    here = str(Path.cwd())
    if here not in sys.path and "" not in sys.path:
        sys.path.append(here)
