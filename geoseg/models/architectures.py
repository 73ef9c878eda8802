"""Architectures by name.

A name is the `_model_class` of a bundle's `config.json`: the class name in segmentation_models_pytorch.
"""

from typing import Any

import segmentation_models_pytorch as smp
from torch import nn

from geoseg.core.errors import BundleError, did_you_mean, one_line

SMP = (
    "Unet", "UnetPlusPlus", "MAnet", "Linknet", "FPN", "PSPNet", "PAN", "DeepLabV3", "DeepLabV3Plus",
    "UPerNet", "Segformer", "DPT",
)  # fmt: skip


def build(config: dict[str, Any]) -> nn.Module:
    """Make a network without weights.

    Parameters
    ----------
    config
        `_model_class` and the arguments of its constructor, as smp's `save_pretrained` writes them. Entries
        that begin with an underscore and `encoder_weights` are left out: nothing is ever downloaded.

    Raises
    ------
    BundleError
        When the architecture or its arguments are unknown.
    """
    name = str(config.get("_model_class"))
    if name not in SMP:
        raise BundleError(
            f"architecture {name!r} is not known{did_you_mean(name, SMP)}; known: {', '.join(SMP)}"
        )
    arguments = {k: v for k, v in config.items() if not k.startswith("_") and k != "encoder_weights"}
    try:
        network: nn.Module = getattr(smp, name)(encoder_weights=None, **arguments)
    except (TypeError, ValueError, KeyError, RuntimeError) as error:
        raise BundleError(
            f"architecture {name} cannot be built from config.json: {one_line(error)}"
        ) from error
    return network
