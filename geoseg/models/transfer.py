"""Start from weights that exist: encoders, whole bundles, and how fast each part may move away from them."""

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from geoseg.core.errors import BundleError, GeosegWarning
from geoseg.core.files import sha256
from geoseg.models import pretrained
from geoseg.models.bundle import WEIGHTS, Bundle
from geoseg.models.networks.stages import depths
from geoseg.models.networks.stem import Stem, adapt_stem, fit_stem, stem_key_of

__all__ = ["Loaded", "adapt_stem", "load_encoder_weights", "parameter_groups", "start_from_bundle"]

_ENOUGH = 0.8


@dataclass(frozen=True)
class Loaded:
    """What became of weights that were loaded."""

    source: str
    """File, name or bundle that they came from."""
    matched: int
    """Tensors of the network that were filled."""
    missing: tuple[str, ...]
    """Tensors of the network that stay as they were: random in a new one."""
    unexpected: tuple[str, ...]
    """Tensors of the source that found no place."""
    sha256: str
    """Of the file; empty where there is none."""
    stem: str
    """What was done to the first layer, in words."""
    head: str = ""
    """What was done to the last layer, in words."""

    def __str__(self) -> str:
        total = self.matched + len(self.missing)
        parts = [
            f"{self.source} (sha256 {self.sha256[:12] or 'not known'})",
            f"{self.matched} of {total} tensors",
        ]
        return ", ".join([*parts, *(p for p in (self.stem, self.head) if p)])


def load_encoder_weights(
    network: nn.Module, source: str, band_names: Sequence[str], *, stem: Stem = "repeat"
) -> Loaded:
    """Load pretrained weights into a network's encoder.

    Parameters
    ----------
    network
        A network of the registry; it is changed.
    source
        A local file (.safetensors, or .pth, .pt, .bin, .ckpt with nothing but tensors), `torchgeo:NAME`, or a
        name of smp or timm (`imagenet`), which is downloaded. A file with three inputs is taken as red,
        green, blue.
    band_names
        Names of the network's bands, in order.
    stem
        How the first layer is made to fit other bands, see `adapt_stem`. Where the bands are the same, or
        are as many as those of a source that does not tell its own, its kernels are taken as they are.

    Raises
    ------
    ConfigError
        When the source is not there, is not known or cannot be downloaded, or `stem` cannot work.
    BundleError
        When less than 80 % of the encoder's tensors are in the source, by name and shape.
    """
    config: dict[str, Any] = network.config  # type: ignore[assignment]
    name = str(config["encoder_name"])
    encoder: nn.Module = network.encoder  # type: ignore[assignment]
    # SegNet's encoders are the VGGs with batch norm, which smp calls so.
    found = pretrained.find(source, f"{name}_bn" if type(network).__name__ == "SegNet" else name)
    target = encoder.state_dict()
    stem_key = stem_key_of(encoder, len(band_names))
    offered = {pretrained.bare(k): v for k, v in found.tensors.items()}
    wanted = {pretrained.bare(k): k for k in target}
    taken = {wanted[k]: v for k, v in offered.items() if k in wanted}
    words = "first layer not in the source"
    if stem_key in taken and taken[stem_key].ndim == 4:
        inputs = taken[stem_key].shape[1]
        bands = found.bands or (pretrained.RGB if inputs == 3 else ())
        taken[stem_key], words = fit_stem(taken[stem_key], bands, band_names, stem, source)
    taken = _same_shape(taken, target)
    _check_share(taken, target, found.tensors, source, name)
    unexpected = tuple(k for k in found.tensors if wanted.get(pretrained.bare(k)) not in taken)
    # Cards are shared: they name the file, not where it lay on somebody's disk.
    said = Path(source).name if Path(source).is_file() else source
    return _copy(target, taken, Loaded(said, len(taken), (), unexpected, found.sha256, words))


def start_from_bundle(
    network: nn.Module, bundle: Bundle, class_slugs: Sequence[str], band_names: Sequence[str]
) -> Loaded:
    """Load all weights of a bundle that fit.

    The first layer is mapped by band name where the bands differ. In the last one, channels of classes with
    the same slug are kept, wherever they stand; those of new classes stay as they are.

    Parameters
    ----------
    network
        The network to start with; it is changed.
    bundle
        Where its weights come from.
    class_slugs
        Slugs of the network's classes, in channel order.
    band_names
        Names of its bands, in order.

    Raises
    ------
    BundleError
        When less than 80 % of the encoder's tensors are in the bundle, by name and shape.
    """
    offered = load_file(bundle.folder / WEIGHTS)
    target, taken, source = network.state_dict(), dict(offered), str(bundle.folder)
    encoder: nn.Module = network.encoder  # type: ignore[assignment]
    stem_key = f"encoder.{stem_key_of(encoder, len(band_names))}"
    words = "first layer not in the bundle"
    if stem_key in taken:
        bands = [b.common_name for b in bundle.card.bands]
        taken[stem_key], words = fit_stem(taken[stem_key], bands, band_names, "bands", source)
    old = {c.slug: i for i, c in enumerate(bundle.card.classes)}
    kept = [(new, old[slug]) for new, slug in enumerate(class_slugs) if slug in old]
    for key in _head_keys(network):
        if key in taken and taken[key].shape[1:] == target[key].shape[1:]:
            rows = target[key].clone()
            for new, before in kept:
                rows[new] = taken[key][before]
            taken[key] = rows
    taken = _same_shape(taken, target)
    inside = {k: v for k, v in target.items() if k.startswith("encoder.")}
    _check_share(taken, inside, offered, source, str(bundle.architecture))
    unexpected = tuple(k for k in offered if k not in taken)
    said = f"{bundle.card.name} {bundle.card.version}"
    head = f"channels of {len(kept)} of {len(class_slugs)} classes kept"
    return _copy(
        target,
        taken,
        Loaded(said, len(taken), (), unexpected, sha256(bundle.folder / WEIGHTS), words, head),
    )


def _head_keys(network: nn.Module) -> list[str]:
    """Return the names of the last convolution's weight and bias within a network."""
    head: nn.Module = network.segmentation_head  # type: ignore[assignment]
    layers = [n for n, m in head.named_modules() if isinstance(m, nn.Conv2d)]
    return [f"segmentation_head.{layers[-1]}.{part}" for part in ("weight", "bias")]


def _same_shape(taken: Mapping[str, Tensor], target: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {k: v for k, v in taken.items() if k in target and v.shape == target[k].shape}


def _check_share(
    taken: Mapping[str, Tensor],
    target: Mapping[str, Tensor],
    offered: Mapping[str, Tensor],
    source: str,
    architecture: str,
) -> None:
    """Refuse weights of another architecture."""
    # Older files do not count batches.
    counted = [k for k in target if not k.endswith("num_batches_tracked")]
    fits = sum(k in taken for k in counted)
    if fits < _ENOUGH * len(counted):
        here = next(f"{k} {tuple(target[k].shape)}" for k in counted if k not in taken)
        there = next((f"{k} {tuple(v.shape)}" for k, v in offered.items() if k not in taken), "nothing")
        raise BundleError(
            f"{source}: only {fits} of the encoder's {len(counted)} tensors are in it by name and shape; the "
            f"encoder ({architecture}) lacks for example {here}, the source has for example {there}; give "
            "weights of the same architecture"
        )


def _copy(target: Mapping[str, Tensor], taken: Mapping[str, Tensor], loaded: Loaded) -> Loaded:
    """Write the tensors into the network and return the account, with what stays as it was."""
    with torch.no_grad():
        for key, value in taken.items():
            target[key].copy_(value)
    missing = tuple(k for k in target if k not in taken and not k.endswith("num_batches_tracked"))
    if missing:
        warnings.warn(
            f"{loaded.source}: {len(missing)} tensors of the network are not in it and stay as they were, "
            f"for example {missing[0]}",
            GeosegWarning,
            stacklevel=3,
        )
    return Loaded(**{**vars(loaded), "missing": missing})


def parameter_groups(
    network: nn.Module,
    rate: float,
    *,
    encoder_rate: float = 1.0,
    layer_decay: float = 1.0,
    weight_decay: float = 0.0,
) -> list[dict[str, Any]]:
    """Return groups of parameters for an optimiser of torch, with learning rates by depth.

    Layer-wise decay after Bao, Dong, Piao, Wei (2022), "BEiT: BERT Pre-Training of Image Transformers", ICLR.

    Parameters
    ----------
    network
        A network of the registry.
    rate
        Learning rate of decoder and head.
    encoder_rate
        That of the encoder's last stage, as a multiple of `rate`.
    layer_decay
        Each encoder stage learns this much slower than the one behind it, down to the stem; see
        `geoseg.models.networks.stages`.
    weight_decay
        Weight decay of weights; norms and biases, which are vectors, have none.

    Returns
    -------
    groups
        Each `{name, params, lr, weight_decay}`; every parameter is in exactly one.
    """
    depth = depths(network)
    last = max(depth.values(), default=0)
    groups: dict[str, dict[str, Any]] = {}
    for name, parameter in network.named_parameters():
        stage = depth.get(name)
        label = "decoder" if stage is None else f"encoder {stage}"
        own = rate if stage is None else rate * encoder_rate * layer_decay ** (last - stage)
        decay = weight_decay if parameter.ndim > 1 else 0.0
        label += "" if parameter.ndim > 1 else ", norm and bias"
        group = groups.setdefault(label, {"name": label, "params": [], "lr": own, "weight_decay": decay})
        group["params"].append(parameter)
    return list(groups.values())
