"""Fit the first layer of a network to other bands."""

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn

from geoseg.core.bands import common_name, may_be
from geoseg.core.errors import ConfigError

Stem = Literal["repeat", "bands"]


def adapt_stem(
    weight: Tensor, source_bands: Sequence[str], target_bands: Sequence[str], mode: Stem
) -> Tensor:
    """Return the kernels of a first convolution for other bands.

    The kernels are multiplied by old over new number of bands, so that activations keep their size.

    Parameters
    ----------
    weight
        Shape (O, I, kh, kw).
    source_bands
        Common names of its I inputs; `repeat` does not use them.
    target_bands
        Common names of the N new inputs.
    mode
        `repeat`: every band gets the mean kernel. `bands`: a band gets the kernel of the band with its name,
        or the mean kernel.

    Returns
    -------
    weight
        Shape (O, N, kh, kw).
    """
    mean = weight.mean(dim=1)
    kernels = [mean] * len(target_bands)
    if mode == "bands":
        sources = [_source_of(band, source_bands) for band in target_bands]
        kernels = [mean if i is None else weight[:, i] for i in sources]
    return torch.stack(kernels, dim=1) * (weight.shape[1] / len(target_bands))


def _source_of(band: str, source_bands: Sequence[str]) -> int | None:
    """Return the place of the band with a name, else of one that may be it: Landsat's nir08 is a nir."""
    near = [i for i, name in enumerate(source_bands) if name == band or may_be(band, name)]
    return min(near, key=lambda i: source_bands[i] != band, default=None)


def fit_stem(
    weight: Tensor, source_bands: Sequence[str], target_bands: Sequence[str], mode: Stem, source: str
) -> tuple[Tensor, str]:
    """Return the kernels of a first layer for other bands, and in words how they were made.

    Parameters as of `adapt_stem`; `source` names the weights in errors.

    Raises
    ------
    ConfigError
        When the source does not name its bands, and `mode` is `bands`.
    """
    old, new = [common_name(b) for b in source_bands], [common_name(b) for b in target_bands]
    if old == new:
        return weight, "first layer as it was: the same bands"
    if not old and weight.shape[1] == len(new):
        return weight, "first layer as it was: as many bands, taken in their order"
    if len(old) != weight.shape[1] and mode == "bands":
        raise ConfigError(
            f"{source}: does not tell its {weight.shape[1]} bands, so they cannot be mapped by name; use "
            "stem: repeat"
        )
    fitted = adapt_stem(weight, old, new, mode)
    if mode == "repeat":
        return fitted, f"mean kernel of {weight.shape[1]} bands repeated for {len(new)}"
    mapped = [b for b in new if _source_of(b, old) is not None]
    return (
        fitted,
        f"kernels of {', '.join(mapped) or 'no band'} by name, the mean for {len(new) - len(mapped)}",
    )


def stem_key_of(encoder: nn.Module, bands: int) -> str:
    """Return the name of the first convolution's weight within an encoder."""
    layers = encoder.named_modules()
    return next((f"{n}.weight" for n, m in layers if isinstance(m, nn.Conv2d) and m.in_channels == bands), "")
