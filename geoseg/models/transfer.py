"""Start a training from existing weights: encoders, whole bundles, and learning rates by depth."""

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from geoseg.core.errors import BundleError, GeosegWarning
from geoseg.core.files import sha256
from geoseg.models import pretrained
from geoseg.models.bundle import WEIGHTS, Bundle
from geoseg.models.detector_names import is_mask_rcnn, renamed
from geoseg.models.frames import first_frame
from geoseg.models.networks.mask_rcnn import MaskRCNN
from geoseg.models.networks.stages import depths
from geoseg.models.networks.stem import Stem, adapt_stem, fit_stem, stem_key_of

__all__ = ["LoadedWeights", "adapt_stem", "load_encoder_weights", "parameter_groups", "start_from_bundle"]

_ENOUGH = 0.8


@dataclass(frozen=True)
class LoadedWeights:
    """Account of weights that were loaded into a network."""

    source: str
    """File, name or bundle of the weights."""
    matched: int
    """Tensors of the network that were filled."""
    missing: tuple[str, ...]
    """Tensors of the network that were not filled; in a new network they are random."""
    unexpected: tuple[str, ...]
    """Tensors of the source that the network does not have."""
    sha256: str
    """Hash of the file; empty where there is none."""
    stem: str
    """How the first layer was fitted, in words."""
    head: str = ""
    """How the last layer was fitted, in words."""

    def __str__(self) -> str:
        total = self.matched + len(self.missing)
        parts = [
            f"{self.source} (sha256 {self.sha256[:12] or 'not known'})",
            f"{self.matched} of {total} tensors",
        ]
        return ", ".join([*parts, *(p for p in (self.stem, self.head) if p)])


def load_encoder_weights(
    network: nn.Module, source: str, band_names: Sequence[str], *, stem: Stem = "repeat"
) -> LoadedWeights:
    """Load pretrained weights into a network's encoder.

    Of a whole Mask R-CNN of torchvision, such as that of COCO, a network that finds objects takes all layers
    but those of the classes.

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
        How the first layer is fitted to other bands, see `adapt_stem`. Where the bands are the same, or the
        source does not name its bands and has as many, its kernels are loaded unchanged.

    Raises
    ------
    ConfigError
        When the source is missing or not known, cannot be downloaded, or `stem` needs band names that it
        does not have.
    BundleError
        When less than 80 % of the encoder's tensors are in the source, by name and shape.
    """
    config: dict[str, Any] = network.config  # type: ignore[assignment]
    name = str(config["encoder_name"])
    encoder: nn.Module = network.encoder  # type: ignore[assignment]
    # The encoders of SegNet are VGGs with batch norm, which smp calls `vgg16_bn`.
    found = pretrained.find(source, f"{name}_bn" if type(network).__name__ == "SegNet" else name)
    if isinstance(network, MaskRCNN) and is_mask_rcnn(found.tensors):
        return _load_detector(network, found, source, band_names, stem)
    target = encoder.state_dict()
    stem_key = stem_key_of(encoder, len(band_names))
    offered = {pretrained.strip_prefixes(k): v for k, v in found.tensors.items()}
    wanted = {pretrained.strip_prefixes(k): k for k in target}
    taken = first_frame({wanted[k]: v for k, v in offered.items() if k in wanted}, target)
    words = "first layer not in the source"
    if stem_key in taken and taken[stem_key].ndim == 4:
        inputs = taken[stem_key].shape[1]
        bands = found.bands or (pretrained.RGB if inputs == 3 else ())
        taken[stem_key], words = fit_stem(taken[stem_key], bands, band_names, stem, source)
    taken = _same_shape(taken, target)
    _check_share(taken, target, found.tensors, source, name)
    unexpected = tuple(k for k in found.tensors if wanted.get(pretrained.strip_prefixes(k)) not in taken)
    # Cards are shared: they name the file without its folder.
    label = Path(source).name if Path(source).is_file() else source
    return _copy(target, taken, LoadedWeights(label, len(taken), (), unexpected, found.sha256, words))


def _load_detector(
    network: MaskRCNN, found: pretrained.Pretrained, source: str, band_names: Sequence[str], stem: Stem
) -> LoadedWeights:
    """Load a whole network that finds objects, but the layers that are of its own classes."""
    target, offered = network.state_dict(), renamed(found.tensors)
    stem_key = f"encoder.{stem_key_of(network.encoder, len(band_names))}"
    taken, words = dict(offered), "first layer not in the source"
    if stem_key in taken:
        bands = found.bands or (pretrained.RGB if taken[stem_key].shape[1] == 3 else ())
        taken[stem_key], words = fit_stem(taken[stem_key], bands, band_names, stem, source)
    # Rows of classes with other names mean nothing here, even where they are as many.
    own = {key for key, *_ in _heads(network)}
    taken = {k: v for k, v in _same_shape(taken, target).items() if k not in own}
    inside = {k: v for k, v in target.items() if k.startswith("encoder.")}
    _check_share(taken, inside, offered, source, type(network).__name__)
    unexpected = tuple(k for k in offered if k not in taken)
    label = Path(source).name if Path(source).is_file() else source
    head = "pyramid, proposals and heads, but the layers of the classes"
    return _copy(target, taken, LoadedWeights(label, len(taken), (), unexpected, found.sha256, words, head))


def start_from_bundle(
    network: nn.Module, bundle: Bundle, class_slugs: Sequence[str], band_names: Sequence[str]
) -> LoadedWeights:
    """Load all weights of a bundle that fit.

    The first layer is mapped by band name where the bands differ. In the last layer, channels of classes with
    the same slug are loaded, whatever their order; channels of new classes stay as they are.

    Parameters
    ----------
    network
        The network to start with; it is changed.
    bundle
        The bundle with the weights.
    class_slugs
        Slugs of the network's classes, in channel order; of a regression the name of its target.
    band_names
        Names of its bands, in order.

    Raises
    ------
    BundleError
        When less than 80 % of the encoder's tensors are in the bundle, by name and shape.
    """
    offered = bundle.weights()
    target, taken, source = network.state_dict(), dict(offered), str(bundle.folder)
    encoder: nn.Module = network.encoder  # type: ignore[assignment]
    stem_key = f"encoder.{stem_key_of(encoder, len(band_names))}"
    words = "first layer not in the bundle"
    if stem_key in taken:
        bands = [b.common_name for b in bundle.card.bands]
        taken[stem_key], words = fit_stem(taken[stem_key], bands, band_names, "bands", source)
    old = {name: i for i, name in enumerate(bundle.card.names)}
    kept = [(new, old[slug]) for new, slug in enumerate(class_slugs) if slug in old]
    for key, each, first in _heads(network):
        if key in taken and taken[key].shape[1:] == target[key].shape[1:]:
            rows = target[key].clone()
            rows[: first * each] = taken[key][: first * each]
            for new, before in kept:
                here, there = ((first + i) * each for i in (new, before))
                rows[here : here + each] = taken[key][there : there + each]
            taken[key] = rows
    taken = _same_shape(taken, target)
    inside = {k: v for k, v in target.items() if k.startswith("encoder.")}
    _check_share(taken, inside, offered, source, str(bundle.architecture))
    unexpected = tuple(k for k in offered if k not in taken)
    label = f"{bundle.card.name} {bundle.card.version}"
    head = f"channels of {len(kept)} of {len(class_slugs)} classes kept"
    return _copy(
        target,
        taken,
        LoadedWeights(label, len(taken), (), unexpected, sha256(bundle.folder / WEIGHTS), words, head),
    )


def _heads(network: nn.Module) -> list[tuple[str, int, int]]:
    """Return the tensors with rows for each class: name, rows of a class, and classes before the first.

    Networks that find objects have a background before the first class, and four offsets of its box.
    """
    if isinstance(network, MaskRCNN):
        layers_of = {
            "box_predictor.cls_score": 1,
            "box_predictor.bbox_pred": 4,
            "mask_predictor.mask_fcn_logits": 1,
        }
        return [(f"roi_heads.{n}.{p}", each, 1) for n, each in layers_of.items() for p in ("weight", "bias")]
    head: nn.Module = network.segmentation_head  # type: ignore[assignment]
    layers = [n for n, m in head.named_modules() if isinstance(m, nn.Conv2d)]
    return [(f"segmentation_head.{layers[-1]}.{part}", 1, 0) for part in ("weight", "bias")]


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
    # Older files have no count of batches.
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


def _copy(target: Mapping[str, Tensor], taken: Mapping[str, Tensor], loaded: LoadedWeights) -> LoadedWeights:
    """Copy tensors into the network; return the account with the tensors that were not filled."""
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
    return LoadedWeights(**{**vars(loaded), "missing": missing})


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
        Learning rate of the last encoder stage, as a multiple of `rate`.
    layer_decay
        Factor between the rates of an encoder stage and of the stage after it, down to the stem; see
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
